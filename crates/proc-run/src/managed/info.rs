//! What is known about a managed process.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::run::as_millis;

/// The name of a managed process: a number that one manager gives once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Id(pub(crate) u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a managed process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It runs.
    Running,
    /// It ended by itself, with whatever code.
    Exited,
    /// A signal ended it.
    Killed,
    /// It could not be started, or its end could not be known.
    Failed,
}

/// A snapshot of a managed process; serialises as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Its id.
    pub id: Id,
    /// The program.
    pub program: String,
    /// The arguments.
    pub args: Vec<String>,
    /// Its pid, while it runs and after; `None` if it was never started.
    pub pid: Option<u32>,
    /// What it is doing.
    pub status: Status,
    /// Whether it outlives its manager.
    pub detached: bool,
    /// When it was started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// Its exit code; `None` while it runs and if a signal ended it.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Whether its time was over.
    pub timed_out: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it ran, at the end; milliseconds in JSON.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

impl Info {
    /// Tells whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status == Status::Running
    }

    /// Returns the code a shell would report, once it has ended.
    #[must_use]
    pub fn shell_code(&self) -> Option<i32> {
        self.exit_code
            .or_else(|| self.signal.map(|signal| 128 + signal))
    }
}

pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
