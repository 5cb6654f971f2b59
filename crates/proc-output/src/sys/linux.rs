//! splice(2), eventfd(2), inotify(7), and reads that never wait.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{
    CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch,
};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with};

use super::Event;

/// The most that a copy into a pipe takes at once: what the pipe takes as a whole or not at all.
pub(crate) const PIECE: usize = rustix::pipe::PIPE_BUF;

/// Moves bytes from a pipe to a pipe, or to a file at an offset, without copying them through this process.
///
/// # Errors
///
/// `AGAIN` when the one is empty or the other full, `INVAL` where one of them does not take part.
pub(crate) fn splice(
    from: BorrowedFd<'_>,
    to: impl AsFd,
    at: Option<&mut u64>,
    max: usize,
) -> Result<usize, Errno> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    rustix::pipe::splice(from, None, to, at, max, flags)
}

/// Reads what takes no part in splice.
pub(crate) fn read_unspliced(from: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(from, into)?)
}

/// Reads of one descriptor that do not wait, where it allows that.
#[derive(Debug, Default)]
pub(crate) struct ReadNow {
    /// Whether it cannot be read without waiting by a flag, and is read as it is.
    no_flags: bool,
}

impl ReadNow {
    /// Reads what is there.
    pub(crate) fn read(&mut self, from: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        if !self.no_flags {
            // The offset of -1 is the stream's own position, as of a plain read.
            match rustix::io::preadv2(
                from,
                &mut [IoSliceMut::new(into)],
                u64::MAX,
                ReadWriteFlags::NOWAIT,
            ) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => {
                    self.no_flags = true
                }
                result => return Ok(result?),
            }
        }
        Ok(rustix::io::read(from, into)?)
    }
}

/// Returns both ends, reading first, of a pipe that never blocks and holds so much, where that is granted.
pub(crate) fn queue(size: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (from, queue) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Refused to an ordinary user who has many: then it stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(&queue, size);
    Ok((from, queue))
}

/// A descriptor by which one thread wakes another.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(fd))
    }

    /// Makes it readable.
    pub(crate) fn wake(&self) {
        // It fails only where so many wake-ups wait already that one more changes nothing.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Calls `each` with the name of every entry of a directory, without memory that grows with it.
pub(crate) fn entries(directory: BorrowedFd<'_>, mut each: impl FnMut(&CStr)) -> io::Result<()> {
    // A descriptor of its own: the kernel keeps with it how far a listing is.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(listed, &mut buffer);
    while let Some(entry) = entries.next() {
        each(entry?.file_name());
    }
    Ok(())
}

/// Returns the device as `std::fs::Metadata` has it.
pub(crate) fn device(stat: &rustix::fs::Stat) -> u64 {
    stat.st_dev
}

/// The descriptor that is readable when there is news.
pub(crate) type Queue = OwnedFd;

/// Tells which directories have new entries and which files were written to.
#[derive(Debug)]
pub(crate) struct Watcher(Arc<Queue>);

impl Watcher {
    pub(crate) fn new() -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self(Arc::new(inotify)))
    }

    /// Returns the descriptor, for a runtime.
    #[cfg(feature = "async")]
    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.0)
    }

    /// Watches a directory for entries that are made in it or moved into it.
    pub(crate) fn watch_directory(&mut self, path: &Path) -> io::Result<i32> {
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        Ok(add_watch(&self.0, path, flags)?)
    }

    /// Watches a file for being written to.
    pub(crate) fn watch_file(&mut self, file: &File) -> io::Result<i32> {
        // By descriptor, so that it is this file and not the one that has its name by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(add_watch(&self.0, path.as_str(), WatchFlags::MODIFY)?)
    }

    /// Ends a watch; one of a file that was deleted is gone already.
    pub(crate) fn forget(&mut self, id: i32) {
        let _ = remove_watch(&self.0, id);
    }

    /// Calls `each` with everything that happened, without waiting.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Event<'_>)) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.0, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            each(if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                Event::Overflow
            } else {
                let name = event.file_name().and_then(|name| name.to_str().ok());
                Event::Of(event.wd(), name)
            });
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
