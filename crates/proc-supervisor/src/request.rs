//! What can be asked of a supervisor, and what it answers. Each type is also the body of a request
//! of the control API.

use std::time::Duration;

use proc_core::Signal;
use serde::{Deserialize, Serialize};

use crate::view::SurvivorView;

/// How long a stop waits before KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grace {
    /// For ever: never KILL.
    None,
    /// This long, in milliseconds.
    Ms(u64),
}

impl Grace {
    /// Returns the grace as a duration; `None` is for ever.
    #[must_use]
    pub const fn duration(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Ms(ms) => Some(Duration::from_millis(ms)),
        }
    }
}

impl From<Option<Duration>> for Grace {
    fn from(grace: Option<Duration>) -> Self {
        grace.map_or(Self::None, |d| {
            Self::Ms(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
        })
    }
}

/// How to stop, where it differs from the service's own sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StopOptions {
    /// Replaces the grace before KILL.
    pub grace: Option<Grace>,
    /// Replaces the first step's signal.
    pub signal: Option<Signal>,
    /// Return at once instead of when everything is down.
    pub no_wait: bool,
}

/// How to start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StartOptions {
    /// Return at once instead of when everything is ready or has failed.
    pub no_wait: bool,
}

/// How to restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartOptions {
    /// One instance after the other, the next once the last is ready.
    pub rolling: bool,
    /// Return at once instead of when everything is ready again or has failed.
    pub no_wait: bool,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// State `running`.
    Running,
    /// Ready; a one-shot that succeeded counts.
    Ready,
    /// Nothing runs and nothing will by itself: `stopped`, `exited` or `failed`.
    Stopped,
    /// Ended by itself: `exited` or `failed`.
    Exited,
    /// Settled after a start: ready, ended well, or given up (which is an error result).
    Settled,
}

/// How one service, or instance, answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The instance, or the service where it has none.
    pub name: String,
    /// Whether what was asked for came about.
    pub ok: bool,
    /// What there is to say: the reason of a failure, else possibly empty.
    pub message: String,
}

/// What came of a request, service by service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One entry per instance that was asked for.
    pub outcomes: Vec<Outcome>,
    /// The processes that outlived a stop.
    pub survivors: Vec<SurvivorView>,
}

impl Report {
    /// Returns whether everything came about and nothing survived.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.survivors.is_empty() && self.outcomes.iter().all(|outcome| outcome.ok)
    }
}

/// How the project ended, for the exit code of `proc up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// 0 after a stop by request; the code of the service that ended the project; else 1 if any
    /// service had failed.
    pub code: i32,
    /// The service that ended the project, where one did.
    pub service: Option<String>,
    /// Why, for a human.
    pub reason: String,
    /// What outlived the stop.
    pub survivors: Vec<SurvivorView>,
}

/// A request that could not be served.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nothing in the project has this name.
    #[error("no service `{0}`")]
    NoSuch(String),
    /// The request makes no sense for this service.
    #[error("{0}")]
    Refused(String),
    /// The configuration cannot be used: each mistake with its line.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// Time ran out; what was asked for goes on.
    #[error("timed out after {}ms: {what}", .after.as_millis())]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// What still is not as wished.
        what: String,
    },
    /// The supervisor has ended.
    #[error("the supervisor has ended")]
    Gone,
}
