//! The shim's socket: paths of any length, only for its owner.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;
use rustix::net::{bind, connect, listen};

pub(crate) use crate::sys::accept;
use crate::sys::{new_socket, peer_uid, with_address};

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

/// Returns whether the peer of a connection is this user or root.
pub(crate) fn is_ours(socket: impl AsFd) -> io::Result<bool> {
    let peer = peer_uid(socket)?;
    Ok(peer == rustix::process::geteuid() || peer.is_root())
}
