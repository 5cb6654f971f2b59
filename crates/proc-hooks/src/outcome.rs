//! How hooks and phases ended.

use std::fmt;
use std::time::Duration;

use proc_core::ProcessEnd;
use serde::{Serialize, Serializer};

use crate::hook::{Mode, OnFailure};
use crate::phase::Phase;

/// The most bytes of a hook's output that are kept: the last ones.
pub const MAX_OUTPUT: usize = 16 * 1024;

/// The most characters that [`HookOutcome::last_line`] returns.
const LAST_LINE: usize = 200;

/// How the last attempt of a hook ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HookEnd {
    /// The command ended by itself.
    Ended(ProcessEnd),
    /// The time was over; the whole tree was ended.
    TimedOut,
    /// It was not wanted any more; the whole tree was ended.
    Cancelled,
    /// The command could not be started, or its end could not be known.
    NotRun {
        /// Why.
        reason: String,
    },
}

impl HookEnd {
    /// Tells whether the command ended by itself with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        matches!(self, HookEnd::Ended(end) if end.success())
    }
}

impl fmt::Display for HookEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookEnd::Ended(end) => end.fmt(f),
            HookEnd::TimedOut => f.write_str("timed out"),
            HookEnd::Cancelled => f.write_str("was cancelled"),
            HookEnd::NotRun { reason } => write!(f, "did not run: {reason}"),
        }
    }
}

/// How one hook went, all its attempts together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookOutcome {
    /// The name of the hook.
    pub name: String,
    /// When it ran.
    pub phase: Phase,
    /// Whether the phase waited for it.
    pub mode: Mode,
    /// What a failure meant.
    pub on_failure: OnFailure,
    /// How often it ran.
    pub attempts: u32,
    /// How the last attempt ended.
    pub end: HookEnd,
    /// The last bytes the last attempt printed, at most [`MAX_OUTPUT`]; as text in JSON.
    #[serde(serialize_with = "as_text")]
    pub output: Vec<u8>,
    /// How many bytes came before those.
    pub dropped_bytes: u64,
    /// How long it took, pauses between attempts included; milliseconds in JSON.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

impl HookOutcome {
    /// Tells whether the hook succeeded, at last.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end.success()
    }

    /// Returns the last line it printed that is not empty, its first 200 characters.
    #[must_use]
    pub fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.output);
        let last = text.lines().rev().map(str::trim).find(|l| !l.is_empty())?;
        Some(last.chars().take(LAST_LINE).collect())
    }

    /// Tells whether its failure is a failure of the phase.
    #[must_use]
    pub fn fails_phase(&self) -> bool {
        !self.success() && self.on_failure != OnFailure::Ignore && self.mode == Mode::Blocking
    }
}

impl fmt::Display for HookOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hook `{}` {}", self.phase, self.name, self.end)?;
        if self.attempts > 1 {
            write!(f, " after {} attempts", self.attempts)?;
        }
        Ok(())
    }
}

/// How a phase went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhaseOutcome {
    /// The phase.
    pub phase: Phase,
    /// The blocking hooks that ran, in order; after one that fails the phase there is no other.
    pub outcomes: Vec<HookOutcome>,
    /// The names of the asynchronous hooks that were started; their outcomes come later.
    pub started: Vec<String>,
}

impl PhaseOutcome {
    /// Returns the hook that failed the phase.
    #[must_use]
    pub fn failure(&self) -> Option<&HookOutcome> {
        self.outcomes.iter().find(|outcome| outcome.fails_phase())
    }

    /// Tells whether no hook failed the phase.
    #[must_use]
    pub fn success(&self) -> bool {
        self.failure().is_none()
    }
}

impl fmt::Display for PhaseOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failure() {
            None => write!(f, "{} hooks succeeded", self.phase),
            Some(outcome) => {
                write!(
                    f,
                    "{} hooks failed: `{}` {}",
                    self.phase, outcome.name, outcome.end
                )
            }
        }
    }
}

fn as_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
