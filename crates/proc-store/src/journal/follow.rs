//! Following a journal from another process, woken by the kernel.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::read::{Since, read_since, take_lines};
use crate::Disk;
use crate::sys::Watch;

/// Every event of a journal after a number, and then each further one as it comes, also over
/// rotations and restarts of the writer.
///
/// The descriptor becomes readable when there may be news, so that a runtime can wait for it;
/// [`Follower::wait`] does so without one.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    watch: Watch,
    live: Option<File>,
    offset: u64,
    last: u64,
}

impl Follower {
    /// Starts after the event `seq`; 0 starts with the first that is kept.
    ///
    /// # Errors
    /// What the system says; the directory of `path` must exist.
    pub fn new(path: impl Into<PathBuf>, seq: u64) -> io::Result<Self> {
        let path = path.into();
        // Watch first, read then: what happens in between is seen twice, not missed.
        let watch = Watch::new(crate::atomic::parent(&path))?;
        Ok(Self {
            path,
            watch,
            live: None,
            offset: 0,
            last: seq,
        })
    }

    /// Returns the number of the last event that was returned.
    pub fn last_seq(&self) -> u64 {
        self.last
    }

    /// Returns the events that came since the last call, without waiting.
    ///
    /// # Errors
    /// What the system says; the next call goes on where this one began.
    pub fn poll(&mut self) -> io::Result<Since> {
        self.watch.drain()?;
        let mut since = self.read_live()?;
        if !self.is_current()? {
            // Opened first: whatever is retired after that is either read here or through this file.
            let live = open(&self.path)?;
            self.watch.set_live(live.as_ref())?;
            let more = read_since(&self.path, self.last)?;
            self.last = more.entries.last().map_or(self.last, |entry| entry.seq);
            since.missed += more.missed;
            since.entries.extend(more.entries);
            (self.live, self.offset) = (live, 0);
            // What was written between the two steps.
            let rest = self.read_live()?;
            since.missed += rest.missed;
            since.entries.extend(rest.entries);
        }
        Ok(since)
    }

    /// Waits until there are events, at most for `timeout` (`None`: for ever), and returns them.
    ///
    /// # Errors
    /// As [`Follower::poll`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Since> {
        let deadline = timeout.map(|timeout| std::time::Instant::now() + timeout);
        loop {
            let since = self.poll()?;
            let left = deadline.map(|at| at.saturating_duration_since(std::time::Instant::now()));
            if !since.entries.is_empty() || left == Some(Duration::ZERO) {
                return Ok(since);
            }
            self.wait_for_news(left)?;
        }
    }

    fn wait_for_news(&self, left: Option<Duration>) -> io::Result<()> {
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(&self.watch, PollFlags::IN)];
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the whole lines that were added to the open file.
    fn read_live(&mut self) -> io::Result<Since> {
        let mut since = Since::default();
        if let Some(file) = &mut self.live {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)?;
            self.offset += take_lines(&bytes, &mut self.last, &mut since) as u64;
        }
        Ok(since)
    }

    /// Returns whether the open file is still the live one, or none has come after it.
    fn is_current(&self) -> io::Result<bool> {
        let named = match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            named => named?,
        };
        let Some(file) = &self.live else {
            return Ok(false);
        };
        let open = file.metadata()?;
        Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match Disk::real().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}
