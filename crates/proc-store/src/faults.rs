//! Faults on purpose, for the tests of whatever keeps state through this crate.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with this error number; a write gets half its bytes out first.
    Errno(i32),
    /// The process is killed here: a write gets half its bytes out, any other operation does not
    /// happen, and no later operation happens either.
    Crash,
}

impl Fault {
    /// Returns the error that the operation reports.
    pub(crate) fn into_error(self) -> io::Error {
        match self {
            Self::Errno(errno) => io::Error::from_raw_os_error(errno),
            Self::Crash => io::Error::other("crashed by the fault plan"),
        }
    }
}

/// The kinds of operation that a plan counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Creating a new file.
    Create,
    /// Opening one.
    Open,
    /// Reading one.
    Read,
    /// Writing to one.
    Write,
    /// Flushing a file or directory.
    Sync,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Cutting.
    Truncate,
}

/// Which operations fail, and how. Clones share one plan.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Op>,
    rule: Option<Rule>,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    /// The operation with this number, counted from 0.
    At(usize, Fault),
    /// Every operation of the kind, or of any kind.
    Every(Option<Op>, Fault),
}

impl FaultPlan {
    /// Returns a plan without faults: it only counts.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns a plan in which the operation numbered `at` (from 0) fails, or the process is
    /// killed there.
    pub fn at(at: usize, fault: Fault) -> Self {
        let plan = Self::default();
        plan.lock().rule = Some(Rule::At(at, fault));
        plan
    }

    /// Returns a plan in which every operation of the kind `op` fails (`None`: every operation).
    pub fn every(op: Option<Op>, fault: Fault) -> Self {
        let plan = Self::default();
        plan.break_every(op, fault);
        plan
    }

    /// Makes every operation of the kind `op` fail from now on (`None`: every operation).
    pub fn break_every(&self, op: Option<Op>, fault: Fault) {
        self.lock().rule = Some(Rule::Every(op, fault));
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.lock().rule = None;
    }

    /// Returns the operations seen so far, in order.
    pub fn seen(&self) -> Vec<Op> {
        self.lock().seen.clone()
    }

    /// Counts an operation and returns its fault, if any.
    pub(crate) fn next(&self, op: Op) -> Option<Fault> {
        let mut state = self.lock();
        let number = state.seen.len();
        state.seen.push(op);
        match state.rule? {
            Rule::At(at, Fault::Crash) => (number >= at).then_some(Fault::Crash),
            Rule::At(at, fault) => (number == at).then_some(fault),
            Rule::Every(kind, fault) => kind.is_none_or(|kind| kind == op).then_some(fault),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is plain data: a panic elsewhere cannot leave it half changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
