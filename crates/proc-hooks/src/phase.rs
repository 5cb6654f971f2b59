//! When a hook runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One of the four moments of a service's life at which hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the process is started; a failure aborts the start.
    PreStart,
    /// After the process has started; a failure is reported.
    PostStart,
    /// Before the stop sequence; a failure is reported and the stop goes on.
    PreStop,
    /// After the process tree is gone; a failure is reported.
    PostStop,
}

impl Phase {
    /// Every phase, in the order of a service's life.
    pub const ALL: [Phase; 4] = [
        Phase::PreStart,
        Phase::PostStart,
        Phase::PreStop,
        Phase::PostStop,
    ];

    /// Returns the name used in configs, events and `PROC_HOOK_PHASE`: `pre_start` and so on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::PreStart => "pre_start",
            Phase::PostStart => "post_start",
            Phase::PreStop => "pre_stop",
            Phase::PostStop => "post_stop",
        }
    }

    /// Tells whether a failed hook of this phase aborts what the service was about to do.
    #[must_use]
    pub fn failure_aborts(self) -> bool {
        self == Phase::PreStart
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a phase could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "unknown hook phase `{0}`, expected one of `pre_start`, `post_start`, `pre_stop`, `post_stop`"
)]
pub struct UnknownPhase(pub String);

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim().replace('-', "_").to_ascii_lowercase();
        Phase::ALL
            .into_iter()
            .find(|phase| phase.as_str() == wanted)
            .ok_or_else(|| UnknownPhase(text.to_owned()))
    }
}
