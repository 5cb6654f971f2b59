//! Detectors: is a service that somebody else started alive, and how do we know.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_core::{Identity, Liveness};
use serde::{Deserialize, Serialize};

use crate::check::{ProbeContext, exec};

/// The most bytes of a PID file that are read.
const MAX_PID_FILE: u64 = 64 * 1024;
/// The largest pid Linux gives.
const MAX_PID: u32 = 4_194_304;

/// A way to see whether a service lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Detector {
    /// The process of this number lives and is no zombie.
    Pid {
        /// The number.
        pid: u32,
    },
    /// The process a file names lives. An identity record in the file is compared.
    #[serde(rename = "pidfile")]
    PidFile {
        /// The file, relative to the service's directory.
        path: PathBuf,
    },
    /// A command, run by `/bin/sh -c`, ends with code 0.
    Command {
        /// The command line.
        command: String,
    },
}

/// What a detector found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// Whether the service lives.
    pub alive: bool,
    /// Its pid, where the detector knows it.
    pub pid: Option<u32>,
    /// The detector: `pidfile:/run/x.pid`, `cmd:pgrep x`, `pid:12`.
    pub detector: String,
    /// What was seen.
    pub reason: String,
}

impl Detector {
    /// Looks once, for at most `limit`; the tree of a command is ended then.
    pub async fn detect(&self, context: &ProbeContext, limit: Duration) -> Detection {
        let (alive, pid, reason) = match self {
            Detector::Pid { pid } => by_pid(*pid),
            Detector::PidFile { path } => by_file(&context.cwd.join(path)),
            Detector::Command { command } => {
                let verdict = exec(command, context, limit).await;
                (verdict.passed, None, verdict.reason)
            }
        };
        Detection {
            alive,
            pid,
            detector: self.to_string(),
            reason,
        }
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Detector::Pid { pid } => write!(f, "pid:{pid}"),
            Detector::PidFile { path } => write!(f, "pidfile:{}", path.display()),
            Detector::Command { command } => write!(f, "cmd:{}", command.escape_debug()),
        }
    }
}

type Found = (bool, Option<u32>, String);

fn by_pid(pid: u32) -> Found {
    match Identity::of(pid) {
        Ok(identity) => by_identity(&identity),
        Err(error) => (false, None, error.to_string()),
    }
}

fn by_identity(identity: &Identity) -> Found {
    match identity.liveness() {
        Liveness::Alive { reason } => (true, Some(identity.pid), reason),
        Liveness::Dead { reason } | Liveness::Unknown { reason } => (false, None, reason),
    }
}

/// Reads the plain form (a number) and forms whose later lines hold JSON: an identity record, alone
/// or under `identity`, is compared.
fn by_file(path: &Path) -> Found {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => return (false, None, format!("cannot read it: {error}")),
    };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().trim();
    let Some(pid) = first.parse().ok().filter(|pid| (1..=MAX_PID).contains(pid)) else {
        return (false, None, "its first line is no pid".to_owned());
    };
    match lines.find_map(identity_in) {
        Some(identity) if identity.pid != pid => (
            false,
            None,
            format!("its record names pid {}, not {pid}", identity.pid),
        ),
        Some(identity) => by_identity(&identity),
        None => by_pid(pid),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_PID_FILE)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn identity_in(line: &str) -> Option<Identity> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let record = value.get("identity").unwrap_or(&value);
    serde_json::from_value(record.clone()).ok()
}
