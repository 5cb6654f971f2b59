//! What a stop did, and who survived it.

use std::fmt;
use std::time::Duration;

/// By which means a stop was carried out, which decides what its report proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Mechanism {
    /// `cgroup.kill`, proven by `cgroup.events: populated 0`.
    Cgroup,
    /// As the subreaper of the tree, proven by `ECHILD`.
    Subreaper,
    /// The process group and the children found by walking: best effort, a process in a session of its own whose
    /// parent has ended is not seen.
    GroupWalk,
}

impl Mechanism {
    /// Says whether "no survivors" is proven and not only observed.
    pub const fn is_exact(self) -> bool {
        !matches!(self, Self::GroupWalk)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cgroup => "cgroup",
            Self::Subreaper => "subreaper",
            Self::GroupWalk => "group and walk (best effort)",
        })
    }
}

/// A process that a stop could not end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Survivor {
    /// Its number.
    pub pid: u32,
    /// Its name, at most 15 bytes; empty when unknown.
    pub comm: String,
    /// Why it is still there.
    pub reason: String,
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.pid, self.comm, self.reason)
    }
}

/// What a stop did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StopReport {
    /// By which means.
    pub mechanism: Mechanism,
    /// How many distinct processes were sent a signal.
    pub signalled: u32,
    /// Whether a step after the first was needed.
    pub escalated: bool,
    /// Who is still there, most often nobody.
    pub survivors: Vec<Survivor>,
    /// How long it took.
    pub elapsed: Duration,
}
