//! What of a service's spec its machines go by.

use std::time::Duration;

use proc_policy::RestartPolicy;

/// Which hooks there are, so that a phase without any is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HookSet {
    /// Whether there are `pre_start` hooks.
    pub pre_start: bool,
    /// Whether there are `post_start` hooks.
    pub post_start: bool,
    /// Whether there are `pre_stop` hooks.
    pub pre_stop: bool,
    /// Whether there are `post_stop` hooks.
    pub post_stop: bool,
}

/// The part of a service's spec that decides its lifecycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// When to start again, and when to give up.
    pub policy: RestartPolicy,
    /// How long it must stay up to count as started.
    pub start_seconds: Duration,
    /// How long a start may take until it counts, readiness included; `None` is for ever.
    pub start_timeout: Option<Duration>,
    /// Whether a probe tells readiness; without one it is ready when it counts as started.
    pub readiness: bool,
    /// Whether a startup probe must pass before it counts as started.
    pub startup: bool,
    /// Whether background children may outlive the leader.
    pub detached: bool,
    /// Whether it is expected to end: never ready, and success is `exited`.
    pub oneshot: bool,
    /// Whether a timetable starts it.
    pub scheduled: bool,
    /// Whether a run that is still there when it is due again is replaced.
    pub overlap_replaces: bool,
    /// Whether a run that is still there when it is due again gets another one beside it.
    pub overlap_allows: bool,
    /// The age at which a run is replaced.
    pub max_age: Option<Duration>,
    /// Which hooks there are.
    pub hooks: HookSet,
}

impl Rules {
    /// Returns whether its timetable matters while it runs.
    pub(super) const fn is_due_while_it_runs(&self) -> bool {
        self.scheduled && (self.overlap_replaces || self.overlap_allows)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::default(),
            start_seconds: Duration::from_secs(1),
            start_timeout: Some(Duration::from_secs(60)),
            readiness: false,
            startup: false,
            detached: false,
            oneshot: false,
            scheduled: false,
            overlap_replaces: false,
            overlap_allows: false,
            max_age: None,
            hooks: HookSet::default(),
        }
    }
}
