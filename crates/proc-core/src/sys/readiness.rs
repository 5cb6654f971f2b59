//! Registering a descriptor with tokio.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers for reading. The result must never leave this crate mutably: see SAFETY.
pub(crate) fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps its descriptor open and the same for as long as it lives; the only user,
    // `Readiness`, never calls `get_mut`, so nobody can exchange it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? })
}
