//! What a machine is told, and what it wants done.

use std::time::Duration;

use proc_hooks::Phase as HookPhase;

use crate::state::State;
use crate::view::Who;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, where there is one.
    pub code: Option<i32>,
    /// The signal's number, where one ended it.
    pub signal: Option<i32>,
    /// Whether a core was dumped.
    pub core_dumped: bool,
    /// Whether the kernel ended it for want of memory.
    pub oom: bool,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// How long it ran.
    pub runtime: Duration,
    /// Why neither code nor signal is known.
    pub unknown: Option<String>,
}

/// The deadlines a machine can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Timer {
    /// It has stayed up long enough to count as started.
    StartSeconds,
    /// The start has taken too long.
    StartTimeout,
    /// It has been healthy long enough to forget earlier restarts.
    Healthy,
    /// The restart delay is over.
    Retry,
    /// The tree is gone but its leader's exit was never told.
    ExitMissing,
    /// The next scheduled time has come.
    Schedule,
    /// The run has reached the age at which it is replaced.
    MaxAge,
}

impl Timer {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::StartSeconds,
        Self::StartTimeout,
        Self::Healthy,
        Self::Retry,
        Self::ExitMissing,
        Self::Schedule,
        Self::MaxAge,
    ];
}

/// What a machine is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It is wanted up. By hand: every limit is cleared.
    Start {
        /// Whether somebody asked, as opposed to a supervisor that goes on.
        by_hand: bool,
        /// Who asked.
        by: Option<Who>,
    },
    /// It is wanted down.
    Stop {
        /// Why: `stop`, `down`, `config`, `dependency`.
        kind: &'static str,
        /// Who asked.
        by: Option<Who>,
    },
    /// It is wanted up, by a process that is started after this.
    Restart {
        /// Why: `restart`, `config`, `dependency`, `group`, `rolling`, `watch`, `schedule`.
        kind: &'static str,
        /// Who asked.
        by: Option<Who>,
    },
    /// A run that lives is to be followed by another one, by a rule of the service's own: neither
    /// a failure nor a start by hand.
    Recycle {
        /// Why: `max_memory`, `watch`.
        kind: &'static str,
        /// What was seen.
        evidence: String,
    },
    /// An end under way is to go faster.
    Hasten,
    /// What it needs holds.
    Gate,
    /// What it needs does not hold yet.
    Waits {
        /// One word for it: `dependency`, `budget`.
        kind: &'static str,
        /// What it waits for, in words.
        reason: String,
    },
    /// A phase's hooks have run.
    HooksDone(HookPhase, Result<(), String>),
    /// The backend started it.
    Spawned {
        /// The run's number.
        run: u64,
    },
    /// The backend could not start it.
    SpawnFailed {
        /// Why.
        reason: String,
        /// The code it stands for: 127, 126 or 125.
        code: i32,
        /// A random number from 0 to 1, for the jitter.
        random: f64,
    },
    /// The leader ended.
    Exited {
        /// The run.
        run: u64,
        /// How.
        exit: Exit,
    },
    /// The tree is gone, or what is left of it has been given up.
    TreeGone {
        /// What survived, in words.
        survivors: Option<String>,
        /// A random number from 0 to 1, for the jitter.
        random: f64,
    },
    /// The startup probe passed.
    StartupPassed,
    /// The readiness probe passed.
    Ready {
        /// What it saw.
        evidence: Option<String>,
    },
    /// The readiness probe failed.
    NotReady {
        /// What it saw.
        evidence: String,
    },
    /// A probe says that it must be replaced.
    Unhealthy {
        /// What it saw.
        evidence: String,
    },
    /// Whoever looked after it was lost; it lives on.
    Lost {
        /// Why.
        cause: String,
    },
    /// It is looked after again.
    Recovered,
    /// When a scheduled instance is next due.
    NextAt(Duration),
    /// The start may take at least this long from now.
    Extend(Duration),
    /// A deadline has come.
    Due(Timer),
}

/// What a machine wants done. Each comes back as an event, also when it fails.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Run a phase's hooks; answer with [`Event::HooksDone`].
    Hooks(HookPhase),
    /// Cancel the hooks that run; no answer.
    CancelHooks,
    /// Start it; answer with [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn,
    /// Begin to probe the run.
    Watch,
    /// Stop probing.
    Unwatch,
    /// End the tree; answer with [`Event::TreeGone`].
    End,
    /// Say when it is next due, with [`Event::NextAt`].
    Schedule,
    /// Start another instance beside it, for a run that is due while it still runs.
    Another,
    /// Record a transition.
    Tell(Transition),
}

/// A transition, or a change of readiness, as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Whether it is ready after this.
    pub ready: bool,
    /// One word for the cause.
    pub kind: &'static str,
    /// Who asked.
    pub by: Option<Who>,
    /// The evidence.
    pub detail: Option<String>,
    /// The exit that led here.
    pub exit: Option<Exit>,
    /// The delay before the next start.
    pub delay: Option<Duration>,
}
