//! What changes in directories, as inotify(7) tells it: nothing is polled.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use proc_core::Readiness;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Something of this name was written, made, moved or removed.
    Entry {
        /// Its path.
        path: PathBuf,
        /// Whether it is a directory that is new here.
        new_directory: bool,
    },
    /// More happened than the kernel remembers.
    Everything,
}

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

    /// Watches a directory, or the nearest one above it that exists.
    pub(crate) fn add_nearest(&mut self, directory: &Path) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::NotFound.into());
        for directory in directory.ancestors() {
            result = self.add(directory);
            if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                return result;
            }
        }
        result
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_what_was_written_and_what_directory_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let mut changes = Changes::new().unwrap();
        changes.add_nearest(&dir.path().join("not/there")).unwrap();
        assert_eq!(changes.len(), 1);
        std::fs::create_dir(dir.path().join("not")).unwrap();
        let made = Change::Entry {
            path: dir.path().join("not"),
            new_directory: true,
        };
        assert_eq!(changes.next().await.unwrap(), [made]);
        changes.add(&dir.path().join("not")).unwrap();
        let file = dir.path().join("not/a.txt");
        std::fs::write(&file, "x").unwrap();
        let seen = changes.next().await.unwrap();
        assert!(seen.iter().all(|change| matches!(change, Change::Entry { path, new_directory: false } if *path == file)), "{seen:?}");
    }
}
