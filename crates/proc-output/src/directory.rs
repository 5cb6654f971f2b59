//! A directory of log files, held open: names are resolved in it and never through a symbolic link.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

const PRIVATE: Mode = Mode::from_raw_mode(0o600);

impl Directory {
    /// Opens `path`, creating it with mode 0700 where it is missing.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut builder = std::fs::DirBuilder::new();
                builder.recursive(true).mode(0o700).create(path)?;
                Self::open(path)
            }
            result => result,
        }
    }

    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file for writing, creating it with mode 0600.
    pub(crate) fn open_write(&self, name: &str, more: OFlags) -> io::Result<File> {
        // NONBLOCK so that a FIFO in the way is refused instead of waited for.
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
        regular(rustix::fs::openat(&self.fd, name, flags, PRIVATE)?)
    }

    /// Opens a regular file for reading; `None` if there is none of this name.
    pub(crate) fn open_read(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => regular(fd).map(Some),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Fails where we may make no files: without permission, on a file system that is read-only.
    pub(crate) fn check_writable(&self) -> io::Result<()> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        Ok(rustix::fs::accessat(
            &self.fd,
            ".",
            access,
            AtFlags::empty(),
        )?)
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a file; one that is gone already is as good.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns size in bytes and time of the last change in milliseconds; `None` if it is missing.
    pub(crate) fn stat(&self, name: &str) -> Option<(u64, i64)> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let ms = stat
            .st_mtime
            .saturating_mul(1000)
            .saturating_add(stat.st_mtime_nsec as i64 / 1_000_000);
        Some((u64::try_from(stat.st_size).unwrap_or(0), ms))
    }

    /// Returns the device and inode behind a name, which tell whether an open file still is it.
    pub(crate) fn inode(&self, name: &str) -> Option<(u64, u64)> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((crate::sys::device(&stat), stat.st_ino))
    }

    /// Calls `each` with every name that is valid UTF-8; ours all are.
    pub(crate) fn names(&self, mut each: impl FnMut(&str)) -> io::Result<()> {
        crate::sys::entries(self.fd.as_fd(), |name| {
            if let Ok(name) = name.to_str() {
                each(name);
            }
        })
    }
}

fn regular(fd: OwnedFd) -> io::Result<File> {
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(File::from(fd))
}
