//! Sockets that are made close-on-exec and non-blocking right after they were made: there are no flags for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Uid;

/// How frames are sent; that no signal comes where the peer is gone is an option of the socket.
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT;
/// How frames are received.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// The longest path that fits into `sockaddr_un` with its NUL.
const MAX_PATH: usize = 103;

/// Takes a descriptor that came with a frame.
pub(crate) fn arrived(fd: OwnedFd) -> OwnedFd {
    // An open descriptor takes this flag.
    let _it_is_open = rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC);
    fd
}

fn prepared(socket: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok(socket)
}

/// Returns both ends of a connection.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let none = SocketFlags::empty();
    let (one, other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, none, None)?;
    Ok((prepared(one)?, prepared(other)?))
}

/// Returns a socket that is not bound.
pub(crate) fn new_socket() -> io::Result<OwnedFd> {
    prepared(rustix::net::socket(
        AddressFamily::UNIX,
        SocketType::STREAM,
        None,
    )?)
}

/// Takes one waiting connection.
pub(crate) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    prepared(rustix::net::accept(listener)?)
}

/// Returns the user at the other end of a connection, as of when it was made.
pub(crate) fn peer_uid(socket: impl AsFd) -> io::Result<Uid> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: an open socket, and room for both answers.
    let done = unsafe { libc::getpeereid(socket.as_fd().as_raw_fd(), &raw mut uid, &raw mut gid) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Uid::from_raw(uid))
}

/// Calls with the path's address, through a symbolic link of a moment where the path is too long for one.
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
    let link = Link::to(parent)?;
    call(&SocketAddrUnix::new(link.0.join(name))?)
}

/// A short name of a directory. Whoever is killed meanwhile leaves a dead link in `/tmp`.
struct Link(PathBuf);

impl Link {
    fn to(directory: &Path) -> io::Result<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let link = PathBuf::from(format!("/tmp/.proc-{}-{number}", std::process::id()));
            // `/tmp` is sticky: nobody else can take the link away or put another in its place.
            match std::os::unix::fs::symlink(directory, &link) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(link)),
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _dead_anyway = std::fs::remove_file(&self.0);
    }
}
