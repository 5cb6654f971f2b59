//! What a hook is: plain data, as a config names it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// What the failure of a hook means for its phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The rest of the phase is not run and the phase has failed.
    #[default]
    Fail,
    /// The failure is reported and the next hook runs.
    Ignore,
    /// The hook runs again, [`Hook::retries`] times at most, and then fails its phase.
    Retry,
}

/// Whether the phase waits for a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The next hook, and the service, wait for the end of this one.
    #[default]
    Blocking,
    /// The hook runs beside the service: supervised, with its own timeout, reaped, its output kept.
    Async,
}

/// One command that runs at a phase of a service's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The name, unique over all phases of a service; also `PROC_HOOK_NAME`.
    pub name: String,
    /// The command line, run by `/bin/sh -c`.
    pub command: String,
    /// The working directory, relative to the service's; `None` is the service's own.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Variables on top of the service's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How long one attempt may take before its whole tree is ended; zero is the default of 30 s.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// What a failure means.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How often a failed hook runs again under [`OnFailure::Retry`].
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// The pause before such a retry.
    #[serde(default = "default_retry_delay")]
    pub retry_delay: Duration,
    /// Whether the phase waits for the hook.
    #[serde(default)]
    pub mode: Mode,
}

/// The timeout of a hook that names none: 30 s.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of retries of a hook that names none: 1.
pub const DEFAULT_RETRIES: u32 = 1;
/// The pause before a retry of a hook that names none: 1 s.
pub const DEFAULT_RETRY_DELAY: Duration = Duration::from_secs(1);

fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}

fn default_retries() -> u32 {
    DEFAULT_RETRIES
}

fn default_retry_delay() -> Duration {
    DEFAULT_RETRY_DELAY
}

impl Hook {
    /// Returns a blocking hook with every default.
    #[must_use]
    pub fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Hook {
            name: name.into(),
            command: command.into(),
            cwd: None,
            env: BTreeMap::new(),
            timeout: DEFAULT_TIMEOUT,
            on_failure: OnFailure::default(),
            retries: DEFAULT_RETRIES,
            retry_delay: DEFAULT_RETRY_DELAY,
            mode: Mode::default(),
        }
    }

    /// Returns the timeout of one attempt: zero stands for [`DEFAULT_TIMEOUT`].
    #[must_use]
    pub fn effective_timeout(&self) -> Duration {
        if self.timeout.is_zero() {
            DEFAULT_TIMEOUT
        } else {
            self.timeout
        }
    }

    /// Returns how often the hook may run in all: at least once.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self.on_failure {
            OnFailure::Retry => self.retries.saturating_add(1),
            OnFailure::Fail | OnFailure::Ignore => 1,
        }
    }
}

/// The hooks of one service, a list for each phase.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Run before the start.
    pub pre_start: Vec<Hook>,
    /// Run after the start.
    pub post_start: Vec<Hook>,
    /// Run before the stop.
    pub pre_stop: Vec<Hook>,
    /// Run after the stop.
    pub post_stop: Vec<Hook>,
}

impl Hooks {
    /// Returns the hooks of one phase in the order they run.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> &[Hook] {
        match phase {
            Phase::PreStart => &self.pre_start,
            Phase::PostStart => &self.post_start,
            Phase::PreStop => &self.pre_stop,
            Phase::PostStop => &self.post_stop,
        }
    }

    /// Returns the list of one phase, to add to.
    pub fn phase_mut(&mut self, phase: Phase) -> &mut Vec<Hook> {
        match phase {
            Phase::PreStart => &mut self.pre_start,
            Phase::PostStart => &mut self.post_start,
            Phase::PreStop => &mut self.pre_stop,
            Phase::PostStop => &mut self.post_stop,
        }
    }

    /// Tells whether no phase has a hook.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Phase::ALL
            .into_iter()
            .all(|phase| self.phase(phase).is_empty())
    }

    /// Returns every hook with its phase, in the order of a service's life.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, &Hook)> {
        Phase::ALL
            .into_iter()
            .flat_map(|phase| self.phase(phase).iter().map(move |hook| (phase, hook)))
    }
}
