//! Sockets that are close-on-exec and non-blocking from the first moment.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    socket_with, socketpair,
};
use rustix::process::Uid;

/// How frames are sent: no signal where the peer is gone, and no wait.
pub(crate) const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
/// How frames are received.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC.union(RecvFlags::DONTWAIT);

/// The longest path that fits into `sockaddr_un` with its NUL.
const MAX_PATH: usize = 107;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Takes a descriptor that came with a frame.
pub(crate) fn arrived(fd: OwnedFd) -> OwnedFd {
    fd
}

/// Returns both ends of a connection.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        FLAGS,
        None,
    )?)
}

/// Returns a socket that is not bound.
pub(crate) fn new_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        FLAGS,
        None,
    )?)
}

/// Takes one waiting connection.
pub(crate) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(accept_with(listener, FLAGS)?)
}

/// Returns the user at the other end of a connection, as of when it was made.
pub(crate) fn peer_uid(socket: impl AsFd) -> io::Result<Uid> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid)
}

/// Calls with the path's address, through `/proc/self/fd` where the path is too long for one.
pub(crate) fn with_address<T>(
    path: &Path,
    call: impl FnOnce(&SocketAddrUnix) -> io::Result<T>,
) -> io::Result<T> {
    if path.as_os_str().len() <= MAX_PATH {
        return call(&SocketAddrUnix::new(path)?);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    call(&SocketAddrUnix::new(&short)?)
}
