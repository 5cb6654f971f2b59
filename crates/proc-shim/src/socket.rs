//! The shim's socket: paths of any length, only for its owner.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};

/// The longest path that fits into `sockaddr_un` with its NUL.
const MAX_PATH: usize = 107;

/// Binds a listening socket with mode 0600. A socket that nobody listens on any more is replaced.
///
/// # Errors
/// `AddrInUse` when somebody does listen, else the file system's.
pub(crate) fn bind_listener(path: &Path) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    let attempt = |path: &Path| with_address(path, |address| Ok(bind(&socket, address)?));
    match attempt(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if connect_to(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            attempt(path)?;
        }
        other => other?,
    }
    // Nobody can connect before `listen`, so the mode is in force by then.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    listen(&socket, 16)?;
    Ok(socket)
}

/// Connects to a shim's socket and checks that its owner is us or root.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` when nobody is there, `PermissionDenied` for a stranger.
pub fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    with_address(path, |address| Ok(connect(&socket, address)?))?;
    if !is_ours(&socket)? {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the socket is another user's",
        ));
    }
    Ok(socket)
}

/// Takes one waiting connection.
pub(crate) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(accept_with(
        listener,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
    )?)
}

/// Returns whether the peer of a connection is this user or root.
pub(crate) fn is_ours(socket: impl AsFd) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(peer.uid == rustix::process::geteuid() || peer.uid.is_root())
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Calls with the path's address, through `/proc/self/fd` where the path is too long for one.
fn with_address<T>(
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
