//! inotify(7), pidfd_getfd(2), and sockets without a file.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use proc_core::{ProcessHandle, Readiness};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::changes::Change;

/// The directories that are watched.
#[derive(Debug)]
pub(crate) struct Changes {
    inotify: Readiness,
    directories: BTreeMap<i32, PathBuf>,
}

impl Changes {
    /// Watches nothing yet. Must be called within a tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            inotify: Readiness::new(fd)?,
            directories: BTreeMap::new(),
        })
    }

    /// Watches the entries of one directory; again is no harm.
    pub(crate) fn add(&mut self, directory: &Path) -> io::Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        let id = inotify::add_watch(&self.inotify, directory, flags)?;
        self.directories.insert(id, directory.to_owned());
        Ok(())
    }

    /// Returns how many directories are watched.
    pub(crate) fn len(&self) -> usize {
        self.directories.len()
    }

    /// Waits until something happens. Cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<Change>> {
        loop {
            let Self {
                inotify,
                directories,
            } = self;
            let changes = inotify.read_with(|fd| read(fd, directories)).await?;
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }
}

fn read(fd: BorrowedFd<'_>, directories: &mut BTreeMap<i32, PathBuf>) -> io::Result<Vec<Change>> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(fd, &mut buffer);
    let mut changes = Vec::new();
    loop {
        let event = match reader.next() {
            Ok(event) => event,
            Err(Errno::AGAIN) if !changes.is_empty() => return Ok(changes),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let flags = event.events();
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            changes.push(Change::Everything);
        } else if flags.contains(ReadFlags::IGNORED) {
            directories.remove(&event.wd());
        } else if let (Some(directory), Some(name)) =
            (directories.get(&event.wd()), event.file_name())
        {
            use std::os::unix::ffi::OsStrExt as _;
            let name = std::ffi::OsStr::from_bytes(name.to_bytes());
            changes.push(Change::Entry {
                path: directory.join(name),
                new_directory: flags.contains(ReadFlags::ISDIR)
                    && flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO),
            });
        }
    }
}

/// Returns a duplicate of a descriptor of another process, where it has one of this number.
pub(crate) fn given(process: &ProcessHandle, number: i32) -> Option<OwnedFd> {
    process.duplicate_fd(number).ok()
}

/// Says whether a socket listens.
pub(crate) fn is_listening(socket: &OwnedFd) -> Option<bool> {
    rustix::net::sockopt::socket_acceptconn(socket).ok()
}

/// Returns the address of a socket that has no file: `@name`.
///
/// # Errors
///
/// When the name is too long.
pub(crate) fn abstract_name(path: &Path) -> io::Result<Option<SocketAddr>> {
    let name = path.to_str().and_then(|path| path.strip_prefix('@'));
    name.map(SocketAddr::from_abstract_name).transpose()
}
