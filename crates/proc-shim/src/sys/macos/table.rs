//! Who is whose child, as libproc tells it.

use proc_core::list::{self, State};

/// What is asked of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The letter of Linux for what has ended, else any other.
    pub(crate) state: char,
    pub(crate) ppid: u32,
    pub(crate) pgid: u32,
    pub(crate) sid: u32,
}

/// Returns the children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let all = list::children(pid).unwrap_or_default();
    all.into_iter().map(|process| process.pid).collect()
}

/// Returns the numbers of all processes.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    let all = list::all().unwrap_or_default();
    all.into_iter().map(|process| process.pid)
}

/// Reads a process.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let process = list::get(pid).ok()?;
    let state = match process.state {
        State::Zombie => 'Z',
        State::Dead => 'X',
        _ => 'S',
    };
    Some(Stat {
        state,
        ppid: process.ppid,
        pgid: process.pgid,
        sid: process.sid,
    })
}

/// There are no pid namespaces.
pub(crate) const fn is_own_table() -> bool {
    true
}
