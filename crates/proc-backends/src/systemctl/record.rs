//! What is remembered of an instance for the next supervisor.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proc_core::{Identity, ProcessEnd, Signal};
use proc_store::Record;
use serde::{Deserialize, Serialize};

use super::target::Target;
use crate::status::{Exit, LogOffsets, Started};

/// One instance's record, `systemctl/<instance>/record.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceRecord {
    pub(crate) target: Target,
    pub(crate) log: proc_output::LogOptions,
    pub(crate) run: u64,
    /// systemd's name of the run.
    pub(crate) invocation: String,
    pub(crate) started: Option<StartedRecord>,
    pub(crate) exit: Option<ExitRecord>,
}

impl Record for InstanceRecord {
    const FORMAT: u32 = 1;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartedRecord {
    identity: Identity,
    started_ms: u64,
    downgrades: Vec<String>,
}

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
