//! What macOS has instead, and what it has not.

pub(super) mod calls;
mod init;
mod net;
mod signals;
mod table;

use std::io;
use std::os::fd::{OwnedFd, RawFd};

pub(crate) use init::{Signals, set_parent_death_signal};
pub(crate) use net::{
    RECEIVE, SEND, accept, arrived, new_socket, peer_uid, socket_pair, with_address,
};
pub(crate) use signals::{drain_child_events, last_signal, prepare_signals};
pub(crate) use table::{Stat, children, is_own_table, pids, stat};

/// Orphans go to launchd: that nobody is left is found by a look at the group, the session and the parents, as best effort.
pub(crate) const ADOPTS_ORPHANS: bool = false;

/// Nobody but its parent learns how a process ended.
pub(crate) const TELLS_ENDS: bool = false;

/// More descriptors than this are not looked through, whatever the limit says.
const MOST_FDS: RawFd = 1 << 20;

/// Says that a thing is not to be had here.
fn not_supported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "not supported on macOS")
}

/// There are no subreapers.
pub(crate) fn become_subreaper() -> io::Result<()> {
    Err(not_supported())
}

/// Closes every descriptor from `first` on, one by one: what a careless ancestor left open.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: takes and touches nothing of ours.
    let end = unsafe { libc::getdtablesize() }.min(MOST_FDS);
    for fd in first..end {
        // SAFETY: called first thing in `main`, before this program has opened anything.
        unsafe { libc::close(fd) };
    }
}

/// Returns a mode as the number that attributes have.
pub(crate) fn mode_number(mode: rustix::fs::Mode) -> u32 {
    mode.as_raw_mode().into()
}

/// Opens the master side of a new pseudo-terminal, close-on-exec.
pub(crate) fn open_master() -> io::Result<OwnedFd> {
    use rustix::pty::{OpenptFlags, openpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    Ok(master)
}

/// Nothing is given back: clean pages belong to the system's cache of files, and unused stack is compressed by it.
pub(crate) const fn release_idle_memory() {}
