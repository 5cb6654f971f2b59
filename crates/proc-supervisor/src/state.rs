//! The words for what a service is doing and what is wanted of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an instance, or a service as a whole, is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Wanted, and waiting for a dependency.
    Pending,
    /// Its hooks run, or it is spawned and has not yet stayed up long enough to count.
    Starting,
    /// It has a live process that counts as started.
    Running,
    /// It is being ended: hooks, signals, or the rest of its tree.
    Stopping,
    /// Down, because that is what was asked.
    Stopped,
    /// Ended by itself and not to be restarted.
    Exited,
    /// Ended, and the next start waits for its delay.
    Backoff,
    /// Given up.
    Failed,
    /// Waits for its next scheduled time.
    Scheduled,
    /// Its shim was lost; a replacement is taking over.
    Unattended,
}

impl State {
    /// Every state, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
        Self::Exited,
        Self::Backoff,
        Self::Failed,
        Self::Scheduled,
        Self::Unattended,
    ];

    /// Returns the state's name as in the JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Exited => "exited",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
            Self::Scheduled => "scheduled",
            Self::Unattended => "unattended",
        }
    }

    /// Returns whether nothing runs and nothing is about to run by itself.
    #[must_use]
    pub const fn is_down(self) -> bool {
        matches!(self, Self::Stopped | Self::Exited | Self::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no state.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is not a state")]
pub struct UnknownState(String);

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// What is wanted of a service: a level, not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It should be up.
    Up,
    /// It should be down.
    Down,
}

impl fmt::Display for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}
