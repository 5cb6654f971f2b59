//! At most one shim for an instance.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, openat};
use rustix::io::Errno;

const EXCLUSIVE: FlockOperation = FlockOperation::NonBlockingLockExclusive;

/// Takes an instance's directory for this process, until the descriptor is closed.
///
/// The lock is on the directory itself, which costs no file; on `shim.lock` in it where directories cannot be locked, as
/// on NFS, which locks only what is open for writing.
///
/// # Errors
/// `AddrInUse` when another shim has it.
pub(super) fn take(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(dir, flags, Mode::empty())?;
    let lock = match flock(&directory, EXCLUSIVE) {
        Ok(()) => return Ok(directory),
        Err(Errno::WOULDBLOCK) => return Err(taken()),
        Err(_) => lock_file(&directory)?,
    };
    flock(&lock, EXCLUSIVE).map_err(|error| match error {
        Errno::WOULDBLOCK => taken(),
        error => error.into(),
    })?;
    Ok(lock)
}

fn lock_file(directory: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let private = Mode::RUSR | Mode::WUSR;
    Ok(openat(directory, "shim.lock", flags, private)?)
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "this instance has a shim")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_by_one_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = take(dir.path()).expect("nobody has it");
        let error = take(dir.path()).expect_err("somebody has it");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(held);
        take(dir.path()).expect("nobody has it any more");
        let left = std::fs::read_dir(dir.path()).expect("it is readable");
        assert_eq!(left.count(), 0, "a lock leaves nothing behind");
    }
}
