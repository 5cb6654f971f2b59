//! inotify(7).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify;

/// A descriptor that is readable when something was written or made in a directory.
#[derive(Debug)]
pub(crate) struct Watch(OwnedFd);

impl Watch {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let watch = inotify::init(flags)?;
        let wanted = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, directory, wanted)?;
        Ok(Self(watch))
    }

    /// Names the file that is written to now, which the directory tells of too.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the shape that every system has"
    )]
    pub(crate) fn set_live(&mut self, _live: Option<&File>) -> io::Result<()> {
        Ok(())
    }

    /// Empties the queue of notifications; what they say does not matter.
    pub(crate) fn drain(&self) -> io::Result<()> {
        let mut buffer = [0_u8; 4_096];
        loop {
            match rustix::io::read(&self.0, &mut buffer) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
