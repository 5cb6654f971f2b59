//! kqueue(2) of files, pipes, and reads after poll(2): there is no splice, no eventfd and no inotify.

use std::collections::HashMap;
use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirEntryExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Event;

/// The most that a copy into a pipe takes at once; what the pipe does not take of it is dropped.
pub(crate) const PIECE: usize = 16 * 1024;

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Nothing takes part in splice: bytes are read and written.
pub(crate) fn splice(
    _from: BorrowedFd<'_>,
    _to: impl AsFd,
    _at: Option<&mut u64>,
    _max: usize,
) -> Result<usize, Errno> {
    Err(Errno::INVAL)
}

/// Reads what is there without waiting, also where the descriptor would.
pub(crate) fn read_unspliced(from: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    // Readable, or without a writer: either way a read returns at once. There is one reader, so nobody takes it away.
    if poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&AT_ONCE))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::read(from, into)?)
}

/// Reads of one descriptor that do not wait.
#[derive(Debug, Default)]
pub(crate) struct ReadNow;

impl ReadNow {
    /// Reads what is there.
    #[expect(clippy::unused_self, reason = "the shape that every system has")]
    pub(crate) fn read(&mut self, from: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        read_unspliced(from, into)
    }
}

/// Returns both ends, reading first, of a pipe that never blocks. Its size is the kernel's choice, at most 64 KiB.
pub(crate) fn queue(_size: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (from, queue) = io::pipe()?;
    rustix::io::ioctl_fionbio(&from, true)?;
    rustix::io::ioctl_fionbio(&queue, true)?;
    Ok((from.into(), queue.into()))
}

/// A descriptor by which one thread wakes another.
#[derive(Debug)]
pub(crate) struct Wake {
    woken: OwnedFd,
    wake: OwnedFd,
}

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let (woken, wake) = queue(0)?;
        Ok(Self { woken, wake })
    }

    /// Makes it readable.
    pub(crate) fn wake(&self) {
        // It fails only where so many wake-ups wait already that one more changes nothing.
        let _ = rustix::io::write(&self.wake, b"+");
    }

    /// Makes it unreadable, unless very many wake-ups waited: the next call takes the rest.
    pub(crate) fn clear(&self) {
        let mut bytes = [0; 512];
        let _ = rustix::io::read(&self.woken, &mut bytes);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}

/// Calls `each` with the name of every entry of a directory.
pub(crate) fn entries(directory: BorrowedFd<'_>, mut each: impl FnMut(&CStr)) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        each(entry?.file_name());
    }
    Ok(())
}

/// Returns the device as `std::fs::Metadata` has it.
pub(crate) fn device(stat: &rustix::fs::Stat) -> u64 {
    stat.st_dev as u64
}

/// The descriptor that is readable when there is news.
pub(crate) type Queue = Kqueue;

/// Tells which directories have new entries and which files were written to.
///
/// A watch needs a descriptor of its own, whose number is its id; closing it ends the watch.
#[derive(Debug)]
pub(crate) struct Watcher {
    queue: Arc<Queue>,
    watched: HashMap<i32, Watched>,
    /// Directories that are to be looked at although nothing was told of them.
    unread: Vec<i32>,
}

#[derive(Debug)]
struct Watched {
    /// Closing it would end the watch.
    _held: File,
    directory: Option<Directory>,
}

/// The kernel says only that the entries changed: what they were tells which of them are new.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    entries: HashMap<OsString, u64>,
}

impl Watcher {
    pub(crate) fn new() -> io::Result<Self> {
        let queue = Kqueue::new()?;
        rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self {
            queue: Arc::new(queue),
            watched: HashMap::new(),
            unread: Vec::new(),
        })
    }

    /// Returns the descriptor, for a runtime.
    #[cfg(feature = "async")]
    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Watches a directory for entries that are made in it or moved into it.
    pub(crate) fn watch_directory(&mut self, path: &Path) -> io::Result<i32> {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_EVTONLY | libc::O_DIRECTORY)
            .open(path)?;
        // Read before the watch begins and looked at again by the next `read`: an entry that comes in between is told.
        let directory = Directory {
            path: path.to_owned(),
            entries: entries_of(path)?,
        };
        let id = self.watch(file, Some(directory))?;
        self.unread.push(id);
        Ok(id)
    }

    /// Watches a file for being written to.
    pub(crate) fn watch_file(&mut self, file: &File) -> io::Result<i32> {
        self.watch(file.try_clone()?, None)
    }

    fn watch(&mut self, file: File, directory: Option<Directory>) -> io::Result<i32> {
        let id = file.as_raw_fd();
        let change = KEvent::new(
            usize::try_from(id).map_err(io::Error::other)?,
            EventFilter::EVFILT_VNODE,
            EvFlags::EV_ADD | EvFlags::EV_CLEAR,
            FilterFlag::NOTE_WRITE | FilterFlag::NOTE_EXTEND,
            0,
            0,
        );
        self.queue.kevent(&[change], &mut [], None)?;
        let watched = Watched {
            _held: file,
            directory,
        };
        self.watched.insert(id, watched);
        Ok(id)
    }

    /// Ends a watch.
    pub(crate) fn forget(&mut self, id: i32) {
        self.watched.remove(&id);
    }

    /// Calls `each` with everything that happened, without waiting.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Event<'_>)) -> io::Result<()> {
        let none = KEvent::new(
            0,
            EventFilter::EVFILT_VNODE,
            EvFlags::empty(),
            FilterFlag::empty(),
            0,
            0,
        );
        let mut events = [none; 32];
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        while let Some(id) = self.unread.pop() {
            self.tell(id, &mut each)?;
        }
        loop {
            let taken = match self.queue.kevent(&[], &mut events, Some(at_once)) {
                Ok(0) => return Ok(()),
                Ok(taken) => taken,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for event in &events[..taken] {
                if let Ok(id) = i32::try_from(event.ident()) {
                    self.tell(id, &mut each)?;
                }
            }
        }
    }

    fn tell(&mut self, id: i32, each: &mut impl FnMut(Event<'_>)) -> io::Result<()> {
        let Some(watched) = self.watched.get_mut(&id) else {
            return Ok(());
        };
        let Some(Directory { path, entries }) = &mut watched.directory else {
            each(Event::Of(id, None));
            return Ok(());
        };
        let now = entries_of(path)?;
        for (name, inode) in &now {
            if entries.get(name) != Some(inode)
                && let Some(name) = name.to_str()
            {
                each(Event::Of(id, Some(name)));
            }
        }
        *entries = now;
        Ok(())
    }
}

/// Returns the inodes of a directory's entries by name; of one that is gone, none.
fn entries_of(path: &Path) -> io::Result<HashMap<OsString, u64>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        entries => entries?,
    };
    entries
        .map(|entry| entry.map(|entry| (entry.file_name(), entry.ino())))
        .collect()
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}
