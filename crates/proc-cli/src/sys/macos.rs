//! What this system has not.

use std::io;
use std::os::unix::net::SocketAddr;

/// Does nothing: orphans go to launchd, whoever asks for them. What a command leaves behind is ended as far as its group and
/// session show it, as `proc doctor` says.
#[expect(clippy::unnecessary_wraps, reason = "the shape that every system has")]
pub(crate) const fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Every socket has a file.
pub(crate) fn abstract_address(_name: &str) -> io::Result<SocketAddr> {
    let text = "a socket without a file (`@name`) is not supported on macOS";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
