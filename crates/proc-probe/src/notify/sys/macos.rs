//! macOS does not tell who sent a datagram, and a message of nobody's must not change a service's state.

use std::io;
use std::os::fd::BorrowedFd;

use proc_core::Readiness;
use rustix::net::SocketAddrUnix;

use crate::notify::socket::Notification;

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "notifications (`NOTIFY_SOCKET`) are not supported on macOS: it does not tell who sent one",
    )
}

/// There are none.
pub(in crate::notify) fn abstract_address(_name: &str) -> io::Result<SocketAddrUnix> {
    Err(unsupported())
}

/// Refuses.
pub(in crate::notify) fn bound(_address: &SocketAddrUnix) -> io::Result<Readiness> {
    Err(unsupported())
}

/// Refuses: nothing was bound.
pub(in crate::notify) fn receive_now(_socket: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    Err(unsupported())
}
