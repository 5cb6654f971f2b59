//! What is to be stopped, and by which tier.

use std::sync::Arc;

use crate::{Cgroup, Mechanism, ProcessHandle};

/// How far a stop reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The process alone.
    Single,
    /// The process group that it leads; children in groups of their own are deliberately let live.
    Group,
    /// Everything that it and its descendants started.
    #[default]
    Tree,
}

/// What a stop is aimed at, and by which means it can prove its end.
#[derive(Debug)]
pub struct StopTarget {
    pub(crate) leader: Option<Arc<ProcessHandle>>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) subreaper: bool,
    pub(crate) scope: Scope,
    /// What a forced lower means may not use to end anybody, but tells by who is left.
    pub(crate) beyond: Option<Beyond>,
}

/// The stronger means that were there before one was forced.
#[derive(Debug)]
pub(crate) struct Beyond {
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) subreaper: bool,
}

impl StopTarget {
    /// Aims at a process and, by default, its tree.
    pub fn new(leader: ProcessHandle) -> Self {
        Self {
            leader: Some(Arc::new(leader)),
            cgroup: None,
            subreaper: false,
            scope: Scope::Tree,
            beyond: None,
        }
    }

    /// Aims at whatever is left of a tree whose leader is gone and unknown.
    pub const fn leaderless() -> Self {
        Self {
            leader: None,
            cgroup: None,
            subreaper: false,
            scope: Scope::Tree,
            beyond: None,
        }
    }

    /// The whole tree lives in this cgroup: kills it at once, and proves by `populated 0` that nobody is left.
    pub fn cgroup(mut self, cgroup: Cgroup) -> Self {
        self.cgroup = Some(cgroup);
        self
    }

    /// The calling process is the subreaper of this tree **and has no other children**: finds everything, reaps it,
    /// and proves by `ECHILD` that nobody is left. Only for the thread that does all the reaping.
    ///
    /// Changes nothing on macOS, which has no subreapers: the stop stays a best effort, and its report says so.
    pub const fn subreaper(mut self) -> Self {
        self.subreaper = crate::sys::caps::SUBREAPER;
        self
    }

    /// Sets how far it reaches.
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Forgets every means but this one, for tests of each; a means that is not there leaves the next lower one.
    ///
    /// A forced best effort still reports whom it did not reach, as far as the forgotten means know of them.
    pub fn force(mut self, mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Cgroup => {}
            Mechanism::Subreaper => self.cgroup = None,
            Mechanism::GroupWalk => {
                let (cgroup, subreaper) = (self.cgroup.take(), self.subreaper);
                self.subreaper = false;
                if cgroup.is_some() || subreaper {
                    self.beyond = Some(Beyond { cgroup, subreaper });
                }
            }
        }
        self
    }

    /// Returns the strongest means it has.
    pub fn mechanism(&self) -> Mechanism {
        match (&self.cgroup, self.subreaper, self.scope) {
            (Some(_), _, Scope::Tree) => Mechanism::Cgroup,
            (None, true, Scope::Tree) => Mechanism::Subreaper,
            _ => Mechanism::GroupWalk,
        }
    }
}
