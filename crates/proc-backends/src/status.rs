//! What a backend tells about an instance.

use std::time::{Duration, SystemTime};

use proc_core::{Identity, ProcessEnd};

/// A run that is alive.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// The run's number.
    pub run: u64,
    /// The leader's pid; 0 where it is no process that could be named here.
    pub pid: u32,
    /// The leader's identity.
    pub identity: Identity,
    /// The leader's process group.
    pub pgid: u32,
    /// When the program was executed.
    pub started_at: SystemTime,
    /// Fields that were honoured in a weaker form, as lines for `degraded`
    /// (`limits.pids: RLIMIT_NPROC instead of a cgroup`).
    pub downgrades: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// The run's number.
    pub run: u64,
    /// Code or signal; `None` when nobody could learn it.
    pub end: Option<ProcessEnd>,
    /// Why `end` is unknown.
    pub unknown: Option<String>,
    /// When it was reaped, or found gone.
    pub at: SystemTime,
    /// How long it ran.
    pub runtime: Duration,
    /// Whether the kernel's out-of-memory killer ended it; `None` where that cannot be known.
    pub oom: Option<bool>,
    /// How many bytes the run's logs held at the exit: everything the leader wrote is before.
    pub log: LogOffsets,
}

/// Positions in an instance's logs, in bytes since its first run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOffsets {
    /// Standard output, or both when merged.
    pub stdout: u64,
    /// Standard error.
    pub stderr: u64,
}

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// Never started, or nothing is known.
    Idle,
    /// The leader lives.
    Running(Started),
    /// The leader has exited.
    Exited(Exit),
}

/// An instance at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceStatus {
    /// The current or last run.
    pub state: RunState,
    /// Whether no process of the tree is left; with an exited leader, `false` means background
    /// children.
    pub tree_empty: bool,
    /// Who looks after it.
    pub keeper: Keeper,
    /// Log bytes that were dropped under `on_full = "drop"`, since the first run.
    pub log_dropped_bytes: u64,
    /// What does not work at the moment, as lines for `degraded` (`log: ENOSPC`).
    pub degraded: Vec<String>,
}

/// Who holds an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// Its own shim with this pid.
    Shim {
        /// The shim's pid.
        pid: u32,
        /// Whether it is a replacement, so not the parent of the service.
        replacement: bool,
    },
    /// Nobody: the supervisor watches it by identity (`unattended`).
    Nobody,
    /// Another service manager.
    Foreign,
}

/// What was found of an earlier supervisor's instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopted {
    /// Its state now. `Exited` may be a run that the earlier supervisor had counted already.
    pub status: InstanceStatus,
    /// The highest run number on record.
    pub last_run: u64,
    /// What was noticed on the way, for `why` (`the shim was gone; a replacement took over`).
    pub notes: Vec<String>,
    /// Ends of runs before the one that `status` tells of.
    pub missed: Missed,
}

/// Ends of runs that others have followed, and that nobody has acknowledged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Missed {
    /// The ends, oldest first. The earlier supervisor may have counted some of them.
    pub exits: Vec<Exit>,
    /// How many still earlier ones were not kept.
    pub dropped: u64,
    /// The last run among those.
    pub dropped_through: u64,
}
