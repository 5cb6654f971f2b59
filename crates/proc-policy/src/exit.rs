//! What is known about an exit, and what kind of exit that makes it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The facts of one exit, as the caller learned them.
///
/// `code` and `signal` both absent means the end is unknown; that is a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExitFacts {
    /// The exit code, where it ended by exiting.
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed it for want of memory. A cause of its own, never clean.
    pub oom: bool,
    /// How long it ran, from its start to its end.
    pub runtime: Duration,
    /// Somebody asked for the stop: nothing is counted and nothing is restarted.
    pub stop_requested: bool,
    /// The start did not succeed (not executable, `start_timeout`, a failed hook): counts against
    /// the startup budget however long it took.
    pub start_failed: bool,
    /// It was ended because it missed its watchdog or its liveness probe.
    pub watchdog: bool,
    /// It was ended because it ran into a time limit.
    pub timed_out: bool,
    /// To end well is what it was started for (a one-shot): then it is no failed start however soon.
    pub completes: bool,
    /// How long it had been healthy without interruption when it ended; `None` means the whole
    /// `runtime`.
    pub healthy_for: Option<Duration>,
}

impl ExitFacts {
    /// Returns the facts of an exit with `code` after `runtime`.
    pub fn exited(code: i32, runtime: Duration) -> Self {
        Self {
            code: Some(code),
            runtime,
            ..Self::default()
        }
    }

    /// Returns the facts of a death by `signal` (its number) after `runtime`.
    pub fn signaled(signal: i32, runtime: Duration) -> Self {
        Self {
            signal: Some(signal),
            runtime,
            ..Self::default()
        }
    }

    /// Returns the facts of a start that failed before anything ran.
    pub fn start_failed() -> Self {
        Self {
            start_failed: true,
            ..Self::default()
        }
    }

    /// Returns how it ended in a few words, such as `exit code 3`.
    pub fn describe(&self) -> String {
        match (self.code, self.signal) {
            _ if self.oom => "out-of-memory kill".to_owned(),
            _ if self.watchdog => "missed watchdog".to_owned(),
            _ if self.timed_out => "time limit".to_owned(),
            (_, Some(signal)) => format!("signal {signal}"),
            (Some(code), None) => format!("exit code {code}"),
            (None, None) if self.start_failed => "failed start".to_owned(),
            (None, None) => "unknown end".to_owned(),
        }
    }

    /// Returns how long it counts as having been healthy.
    pub(crate) fn healthy(&self) -> Duration {
        if self.start_failed {
            Duration::ZERO
        } else {
            self.healthy_for.unwrap_or(self.runtime)
        }
    }
}

/// The kind of an exit, after the policy's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A code or signal that the policy counts as success.
    Clean,
    /// Any other code, an early exit where those fail, or an unknown end.
    Code,
    /// Any other signal.
    Signal,
    /// Out of memory.
    Oom,
    /// A time limit.
    Timeout,
    /// A missed watchdog.
    Watchdog,
    /// It never came up.
    StartFailed,
}

/// One entry of `no_restart_on`.
///
/// In serialised form and as text: `78` is an exit code, `signal:15` a signal, `oom` the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitMatch {
    /// An exit code.
    Code(i32),
    /// A signal, by number.
    Signal(i32),
    /// An out-of-memory kill.
    Oom,
}

impl ExitMatch {
    /// Returns whether `exit` is what this entry means. An out-of-memory kill is only ever matched
    /// by [`ExitMatch::Oom`], although its signal is 9.
    pub fn matches(self, exit: &ExitFacts) -> bool {
        match self {
            Self::Oom => exit.oom,
            Self::Code(code) => !exit.oom && exit.signal.is_none() && exit.code == Some(code),
            Self::Signal(signal) => !exit.oom && exit.signal == Some(signal),
        }
    }
}

impl fmt::Display for ExitMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Signal(signal) => write!(f, "signal:{signal}"),
            Self::Oom => f.write_str("oom"),
        }
    }
}

/// Text that is no [`ExitMatch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an exit code nor `signal:N` nor `oom`")]
pub struct ParseExitMatchError(String);

impl FromStr for ExitMatch {
    type Err = ParseExitMatchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseExitMatchError(text.to_owned());
        if text == "oom" {
            return Ok(Self::Oom);
        }
        match text.strip_prefix("signal:") {
            Some(number) => number.parse().map(Self::Signal).map_err(|_| bad()),
            None => text.parse().map(Self::Code).map_err(|_| bad()),
        }
    }
}

impl Serialize for ExitMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Code(code) => serializer.serialize_i32(*code),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for ExitMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Code(i32),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Code(code) => Ok(Self::Code(code)),
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
