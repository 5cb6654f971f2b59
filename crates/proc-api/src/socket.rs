//! Unix sockets by directory and name: however deep the directory, the address fits.
//!
//! A socket address holds about 100 bytes. Both ends therefore open the directory first and name the
//! socket through that (`/proc/self/fd/N/NAME`), which is short wherever the directory lies.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::{AtFlags, Mode};

use crate::peer::Peer;
use crate::sys::{open_directory, unconnected, with_address};

/// Creates the socket `dir/name` with mode 0600, replacing one that a dead process left behind.
///
/// The socket appears under its name only once it accepts connections: a client never meets a
/// name that refuses it because `listen(2)` has not happened yet.
///
/// # Errors
///
/// When the directory cannot be opened or the socket cannot be made in it.
pub(crate) fn listen(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let handle = open_directory(dir)?;
    let draft = format!(".{name}.{}", std::process::id());
    // A draft of ours can only be a leftover of an earlier process with the same number.
    let _ = rustix::fs::unlinkat(&handle, &draft, AtFlags::empty());
    let listener = with_address(&handle, dir, &draft, |path| UnixListener::bind(path))?;
    rustix::fs::chmodat(&handle, &draft, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    rustix::fs::renameat(&handle, &draft, &handle, name)?;
    Ok(listener)
}

/// Connects to the socket `dir/name`.
///
/// # Errors
///
/// `NotFound` or `ConnectionRefused` when nobody listens there.
pub(crate) fn connect(dir: &Path, name: &str) -> io::Result<UnixStream> {
    let handle = open_directory(dir)?;
    with_address(&handle, dir, name, |path| UnixStream::connect(path))
}

/// Returns the pid of the process that listens on the socket `dir/name`, where the kernel tells it. Waits for nobody: a
/// listener whose queue is full is there too. Must be called within a tokio runtime.
///
/// # Errors
///
/// `NotFound` or `ConnectionRefused` when nobody listens there.
pub(crate) fn listener(dir: &Path, name: &str) -> io::Result<Option<u32>> {
    let handle = open_directory(dir)?;
    let socket = unconnected()?;
    let connected = with_address(&handle, dir, name, |path| {
        let to = rustix::net::SocketAddrUnix::new(path)?;
        Ok(rustix::net::connect(&socket, &to)?)
    });
    match connected {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    }
    let stream = tokio::net::UnixStream::from_std(socket.into())?;
    // Of a listener in another pid namespace there is no number.
    Ok(Peer::of(&stream)
        .ok()
        .map(|peer| peer.pid)
        .filter(|pid| *pid > 0))
}

/// Removes the socket `dir/name`; that it is gone already is fine.
pub(crate) fn remove(dir: &Path, name: &str) {
    // What remains is a name that refuses connections: the next `listen` replaces it.
    let _ = std::fs::remove_file(dir.join(name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_deep_directory_is_no_obstacle() {
        let root = tempfile::tempdir().expect("temporary directory");
        let deep = root.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).expect("directories");
        let listener = listen(&deep, "control.sock").expect("listens");
        let client = connect(&deep, "control.sock").expect("connects");
        let (server, _) = listener.accept().expect("accepts");
        drop((client, server));
        let mode = std::fs::metadata(deep.join("control.sock"))
            .expect("socket")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_leftover_socket_is_replaced() {
        let dir = tempfile::tempdir().expect("temporary directory");
        drop(listen(dir.path(), "control.sock").expect("first"));
        let refused = connect(dir.path(), "control.sock").expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _second = listen(dir.path(), "control.sock").expect("second");
        connect(dir.path(), "control.sock").expect("connects to the second");
    }
}
