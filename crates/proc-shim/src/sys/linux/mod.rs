//! What Linux has of its own.

pub(super) mod calls;
mod init;
mod net;
mod rest;
mod signals;
mod table;

use std::io;
use std::os::fd::{OwnedFd, RawFd};

pub(crate) use init::{Signals, set_parent_death_signal};
pub(crate) use net::{
    RECEIVE, SEND, accept, arrived, new_socket, peer_uid, socket_pair, with_address,
};
pub(crate) use rest::release_idle_memory;
pub(crate) use signals::{drain_child_events, last_signal, prepare_signals};
pub(crate) use table::{Stat, children, is_own_table, pids, stat};

/// Whether orphans of the service come to the shim, so that having no child proves that its tree is gone.
pub(crate) const ADOPTS_ORPHANS: bool = true;

/// Whether the kernel may tell others than the parent how a process ended.
pub(crate) const TELLS_ENDS: bool = true;

/// Makes this process the parent of every orphan below it.
pub(crate) fn become_subreaper() -> io::Result<()> {
    let own = rustix::process::getpid();
    Ok(rustix::process::set_child_subreaper(Some(own))?)
}

/// Closes every descriptor from `first` on: what a careless ancestor left open.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: called first thing in `main`, before this program has opened anything.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Returns a mode as the number that attributes have.
pub(crate) const fn mode_number(mode: rustix::fs::Mode) -> u32 {
    mode.as_raw_mode()
}

/// Opens the master side of a new pseudo-terminal, close-on-exec.
pub(crate) fn open_master() -> io::Result<OwnedFd> {
    use rustix::pty::{OpenptFlags, openpt};
    Ok(openpt(
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?)
}
