//! What every manager's backend remembers of an instance for the next supervisor: one JSON file in a directory of its own.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proc_core::{Identity, ProcessEnd, Signal};
use proc_store::record::{read_json, write_json};
use proc_store::{Disk, Read, Record};
use serde::{Deserialize, Serialize};

use crate::error::{AdoptError, OperateError};
use crate::status::{Exit, LogOffsets, Started};

/// The file's name in the instance's directory.
const FILE: &str = "record.json";

/// Writes the record of an instance, and makes its directory where that is missing.
pub(crate) fn write_record(dir: &Path, record: &impl Record) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    write_json(&Disk::default(), &dir.join(FILE), record)
        .map_err(|error| io::Error::new(error.io().kind(), error.to_string()))
}

/// Reads what an earlier supervisor has left of an instance; `None` where that is nothing. What cannot be read is set aside.
pub(crate) fn read_record<T: Record>(dir: &Path) -> Result<Option<T>, AdoptError> {
    let path = dir.join(FILE);
    match read_json(&Disk::default(), &path) {
        Ok(Read::Value(record)) => Ok(Some(record)),
        Ok(Read::Absent) => Ok(None),
        Ok(Read::SetAside(aside)) => Err(AdoptError::Unreadable {
            path,
            reason: aside.reason.clone(),
            kept: aside.aside.clone(),
        }),
        Err(source) => Err(AdoptError::Io { path, source }),
    }
}

/// Removes everything that is remembered of an instance.
pub(crate) fn remove_record(instance: &str, dir: &Path) -> Result<(), OperateError> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(OperateError::Failed {
            instance: instance.to_owned(),
            operation: "forget",
            source,
        }),
        _ => Ok(()),
    }
}

/// Returns the names of the instances that have a record in this directory of directories, in order.
pub(crate) fn recorded(all: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(all) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join(FILE).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// How a run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartedRecord {
    identity: Identity,
    started_ms: u64,
    downgrades: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    code: Option<i32>,
    signal: Option<i32>,
    core_dumped: bool,
    unknown: Option<String>,
    at_ms: u64,
    runtime_us: u64,
    oom: Option<bool>,
    log: u64,
}

fn ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl StartedRecord {
    pub(crate) fn new(started: &Started) -> Self {
        Self {
            identity: started.identity.clone(),
            started_ms: ms(started.started_at),
            downgrades: started.downgrades.clone(),
        }
    }

    pub(crate) fn started(self, run: u64) -> Started {
        Started {
            run,
            pid: self.identity.pid,
            pgid: self.identity.pid,
            started_at: UNIX_EPOCH + Duration::from_millis(self.started_ms),
            identity: self.identity,
            downgrades: self.downgrades,
        }
    }
}

impl ExitRecord {
    pub(crate) fn new(exit: &Exit) -> Self {
        Self {
            code: exit.end.and_then(ProcessEnd::code),
            signal: exit.end.and_then(ProcessEnd::signal).map(Signal::raw),
            core_dumped: exit.end.is_some_and(ProcessEnd::core_dumped),
            unknown: exit.unknown.clone(),
            at_ms: ms(exit.at),
            runtime_us: u64::try_from(exit.runtime.as_micros()).unwrap_or(u64::MAX),
            oom: exit.oom,
            log: exit.log.stdout,
        }
    }

    pub(crate) fn exit(self, run: u64) -> Exit {
        let signaled = self.signal.and_then(Signal::from_raw);
        let core_dumped = self.core_dumped;
        let signaled = signaled.map(|signal| ProcessEnd::Signaled {
            signal,
            core_dumped,
        });
        Exit {
            run,
            end: self.code.map(ProcessEnd::Exited).or(signaled),
            unknown: self.unknown,
            at: UNIX_EPOCH + Duration::from_millis(self.at_ms),
            runtime: Duration::from_micros(self.runtime_us),
            oom: self.oom,
            log: LogOffsets {
                stdout: self.log,
                stderr: 0,
            },
        }
    }
}
