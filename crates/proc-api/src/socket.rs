//! Unix sockets by directory and name: however deep the directory, the address fits.
//!
//! A socket address holds 107 bytes. Both ends therefore open the directory first and name the
//! socket through `/proc/self/fd/N/NAME`, which is short wherever the directory lies.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// Longest path that fits into a socket address, in bytes.
const LONGEST_ADDRESS: usize = 107;

/// Creates the socket `dir/name` with mode 0600, replacing one that a dead process left behind.
///
/// The socket appears under its name only once it accepts connections: a client never meets a
/// name that refuses it because `listen(2)` has not happened yet.
///
/// # Errors
///
/// When the directory cannot be opened or the socket cannot be made in it.
pub(crate) fn listen(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let handle = open(dir)?;
    let draft = format!(".{name}.{}", std::process::id());
    // A draft of ours can only be a leftover of an earlier process with the same number.
    let _ = rustix::fs::unlinkat(&handle, &draft, AtFlags::empty());
    let listener = UnixListener::bind(address(&handle, dir, &draft))?;
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
    let handle = open(dir)?;
    UnixStream::connect(address(&handle, dir, name))
}

/// Returns the pid of the process that listens on the socket `dir/name`, where the kernel tells it. Waits for nobody: a
/// listener whose queue is full is there too.
///
/// # Errors
///
/// `NotFound` or `ConnectionRefused` when nobody listens there.
pub(crate) fn listener(dir: &Path, name: &Path) -> io::Result<Option<u32>> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let handle = open(dir)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let to = SocketAddrUnix::new(address(&handle, dir, name))?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) => {}
        Err(rustix::io::Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // Of a listener in another pid namespace there is no number, though the type has none for that.
    let peer = rustix::net::sockopt::socket_peercred(&socket);
    Ok(peer
        .ok()
        .and_then(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()).ok()))
}

/// Removes the socket `dir/name`; that it is gone already is fine.
pub(crate) fn remove(dir: &Path, name: &str) {
    // What remains is a name that refuses connections: the next `listen` replaces it.
    let _ = std::fs::remove_file(dir.join(name));
}

fn open(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, dir, flags, Mode::empty())?)
}

fn address(handle: &OwnedFd, dir: &Path, name: impl AsRef<Path>) -> PathBuf {
    let plain = dir.join(&name);
    if plain.as_os_str().len() <= LONGEST_ADDRESS {
        return plain;
    }
    Path::new("/proc/self/fd")
        .join(handle.as_raw_fd().to_string())
        .join(name)
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
