//! The service's output: from its pipes into its log files.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use proc_output::{LogOptions, OpenLogError, Stream};

use super::log::Log;
use super::pace::Pace;
use super::recorder::CALM;

/// The most bytes taken from one pipe before the others have their turn.
const TURN: usize = 1024 * 1024;
/// How many pipes of earlier runs, held open by background children, are still read.
const MAX_OLD: usize = 16;
/// How long the exit of a service waits for its last bytes to pass a queue. A disk that takes them at
/// all takes far less.
const SETTLE: Duration = Duration::from_millis(250);
/// How long the end of the shim waits for them.
const LAST: Duration = Duration::from_secs(5);

/// One pipe, or a terminal's master side.
#[derive(Debug)]
struct Source {
    fd: OwnedFd,
    writer: usize,
    /// Whether it belongs to the current run.
    current: bool,
    stream: Stream,
    /// `None` for a terminal: somebody may sit at it.
    pace: Option<Pace>,
}

/// All sources and all files of an instance.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    sources: Vec<Source>,
    writers: Vec<Log>,
    options: Option<LogOptions>,
    housekeep_at: Option<Instant>,
}

impl Streams {
    /// Opens the log files, unless they are open under the same options.
    pub(crate) fn open(
        &mut self,
        dir: &Path,
        instance: &str,
        options: &LogOptions,
    ) -> Result<(), OpenLogError> {
        if self.options.as_ref() == Some(options) {
            return Ok(());
        }
        let dir = options.dir.as_deref().unwrap_or(dir);
        // The old writers go first: there must be one per stream.
        self.finish();
        self.options = None;
        self.writers = Log::open_each(dir, instance, options)?;
        for at in 0..self.sources.len() {
            self.sources[at].writer = self.writer_of(self.sources[at].stream);
        }
        self.options = Some(options.clone());
        // Not while the program waits to begin.
        self.housekeep_at = Some(Instant::now() + CALM);
        Ok(())
    }

    fn writer_of(&self, stream: Stream) -> usize {
        usize::from(stream == Stream::Stderr && self.writers.len() > 1)
    }

    /// Reads from a new pipe from now on.
    pub(crate) fn add(&mut self, fd: OwnedFd, stream: Stream) {
        let writer = self.writer_of(stream);
        let terminal = rustix::termios::isatty(&fd);
        self.sources.push(Source {
            fd,
            writer,
            current: true,
            stream,
            pace: (!terminal).then(|| Pace::new(Instant::now())),
        });
    }

    /// Returns the file for a service that writes its log itself.
    pub(crate) fn direct(&mut self, stream: Stream) -> io::Result<OwnedFd> {
        let writer = self.writer_of(stream);
        self.writers
            .get_mut(writer)
            .ok_or(io::ErrorKind::NotFound)?
            .direct()
    }

    /// Marks the pipes of the run that ended: they are read until their last holder closes them.
    pub(crate) fn retire(&mut self) {
        for source in &mut self.sources {
            source.current = false;
        }
        let excess = self.sources.len().saturating_sub(MAX_OLD);
        self.sources.drain(..excess);
    }

    /// Forgets the pipes of a run that never began.
    pub(crate) fn abandon(&mut self) {
        self.sources.retain(|source| !source.current);
    }

    /// Returns the descriptors to poll at this moment, each with its index.
    pub(crate) fn fds(&self, now: Instant) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let all = self.sources.iter().enumerate();
        all.filter(move |(_, source)| source.pace.as_ref().is_none_or(|pace| pace.is_due(now)))
            .map(|(at, source)| (at, source.fd.as_fd()))
    }

    /// Returns the reading ends of the current run: standard output (or both) and standard error.
    pub(crate) fn current(&self) -> (Option<&OwnedFd>, Option<&OwnedFd>) {
        let find = |error: bool| {
            self.sources
                .iter()
                .find(|source| source.current && (source.stream == Stream::Stderr) == error)
                .map(|source| &source.fd)
        };
        (find(false), find(true))
    }

    /// Moves what the sources of these indices (ascending, as in [`fds`](Self::fds)) hold.
    pub(crate) fn pump(&mut self, ready: &[usize]) {
        let now = Instant::now();
        for at in ready.iter().rev() {
            let Some(source) = self.sources.get_mut(*at) else {
                continue;
            };
            let Some(writer) = self.writers.get_mut(source.writer) else {
                continue;
            };
            let before = writer.offset();
            if !pump_one(&source.fd, writer) {
                self.sources.remove(*at);
            } else if let Some(pace) = &mut source.pace {
                let moved = writer.offset().saturating_sub(before);
                pace.read(usize::try_from(moved).unwrap_or(usize::MAX), now);
            }
        }
    }

    /// Takes exactly what the pipes hold now: everything that a process which has ended wrote.
    pub(crate) fn drain(&mut self) {
        for source in &self.sources {
            let Some(writer) = self.writers.get_mut(source.writer) else {
                continue;
            };
            let mut left = available(&source.fd);
            while left > 0 {
                match writer.splice_from(source.fd.as_fd(), left) {
                    Ok(0) => break,
                    Ok(moved) => left = left.saturating_sub(moved),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
        for writer in &self.writers {
            writer.settle(SETTLE);
        }
    }

    /// Closes the files.
    pub(crate) fn finish(&mut self) {
        for writer in self.writers.drain(..) {
            writer.finish(LAST);
        }
    }

    /// Returns how many bytes the logs of standard output and standard error hold.
    pub(crate) fn offsets(&self) -> (u64, u64) {
        let offset = |at: usize| self.writers.get(at).map_or(0, Log::offset);
        (offset(0), offset(1))
    }

    /// Returns how many bytes were dropped since the first run.
    pub(crate) fn dropped(&self) -> u64 {
        self.writers
            .iter()
            .map(|writer| writer.stats().dropped_bytes)
            .sum()
    }

    /// Returns the error that the files give at the moment.
    pub(crate) fn trouble(&self) -> Option<io::Error> {
        self.writers
            .iter()
            .find_map(|w| w.stats().failing)
            .map(io::Error::from_raw_os_error)
    }

    /// Begins new files.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        for writer in &mut self.writers {
            writer.rotate()?;
        }
        self.housekeep();
        Ok(())
    }

    /// Notes a moment of the service's life beside the bytes.
    pub(crate) fn mark(&mut self, text: &str) {
        for writer in &mut self.writers {
            writer.mark(text);
        }
    }

    /// Returns the indices of trickles whose time came after `then`: they are read without being polled.
    pub(crate) fn resumed(&self, then: Instant) -> impl Iterator<Item = usize> {
        let now = Instant::now();
        let all = self.sources.iter().enumerate();
        let resumed = all.filter(move |(_, source)| {
            let pace = source.pace.as_ref();
            pace.is_some_and(|pace| !pace.is_due(then) && pace.is_due(now))
        });
        resumed.map(|(at, _)| at)
    }

    /// Returns when there is something to do although nothing happens.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let paces = self
            .sources
            .iter()
            .filter_map(|source| source.pace.as_ref());
        let resumes = paces.filter_map(Pace::resume).filter(|at| *at > now);
        resumes.chain(self.housekeep_at).min()
    }

    /// Does the work on the files for which it is time.
    pub(crate) fn keep_house(&mut self, now: Instant) {
        if self.housekeep_at.is_some_and(|at| at <= now) {
            self.housekeep();
        }
    }

    fn housekeep(&mut self) {
        let waits: Vec<Duration> = self.writers.iter_mut().filter_map(Log::housekeep).collect();
        self.housekeep_at = waits.into_iter().min().map(|wait| Instant::now() + wait);
    }
}

/// Moves what is there; returns whether more may come.
fn pump_one(fd: &OwnedFd, writer: &mut Log) -> bool {
    let mut left = TURN;
    loop {
        match writer.splice_from(fd.as_fd(), left) {
            Ok(0) => return false,
            Ok(moved) => {
                left = left.saturating_sub(moved);
                // An empty pipe is asked again by poll alone: a terminal, which is read and not
                // spliced, would block.
                if left == 0 || available(fd) == 0 {
                    return true;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // A terminal whose last holder is gone says EIO.
            Err(_) => return false,
        }
    }
}

fn available(fd: &OwnedFd) -> usize {
    rustix::io::ioctl_fionread(fd)
        .ok()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(0)
}
