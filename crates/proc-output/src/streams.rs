//! Reads the two outputs of a command together, line by line or whole, and then waits for it.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::options::Stream;
use crate::split::{Line, LineSplitter, OwnedLine};

/// The outputs of one command, to be read together: whoever reads one to its end first hangs as soon
/// as the other fills its pipe.
///
/// ```
/// # use std::process::{Command, Stdio};
/// # use std::ops::ControlFlow;
/// let mut child = Command::new("sh").args(["-c", "echo out; echo err >&2"])
///     .stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
/// let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
/// let mut lines = Vec::new();
/// let (end, status) = proc_output::Streams::new().stdout(&stdout).stderr(&stderr).read_and_wait(
///     |stream, line| { lines.push((stream, line.text().to_vec())); ControlFlow::Continue(()) },
///     || child.wait(),
/// )?;
/// lines.sort();
/// assert_eq!(lines.len(), 2);
/// assert!(status.success() && end == proc_output::ReadEnd::Eof);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Streams<'a> {
    fds: Vec<(Stream, BorrowedFd<'a>)>,
    exited: Option<BorrowedFd<'a>>,
    cancel: Option<BorrowedFd<'a>>,
    timeout: Option<Duration>,
    buffer: usize,
    max_line: usize,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    /// All streams were closed by all who could write to them.
    Eof,
    /// The command ended and all it wrote was read, but somebody else, a grandchild perhaps, still
    /// holds a stream open.
    Held,
    /// The callback asked for the end.
    Stopped,
    /// The descriptor to cancel by became readable; lines read so far were delivered.
    Cancelled,
    /// The time was over; lines read so far were delivered.
    TimedOut,
}

/// What a command wrote, as far as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combined {
    /// Both streams in the order in which they were read; the end, if there was more than the limit.
    pub bytes: Vec<u8>,
    /// Bytes written in all.
    pub total: u64,
    /// Why reading ended.
    pub end: ReadEnd,
}

impl Default for Streams<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Streams<'a> {
    /// Returns a reader of no stream yet, with a buffer of 4 KiB and lines of up to 1 MiB.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            fds: Vec::new(),
            exited: None,
            cancel: None,
            timeout: None,
            buffer: 4096,
            max_line: 1024 * 1024,
        }
    }

    /// Reads standard output from `fd`.
    #[must_use]
    pub fn stdout(self, fd: &'a impl AsFd) -> Self {
        self.stream(Stream::Stdout, fd)
    }

    /// Reads standard error from `fd`.
    #[must_use]
    pub fn stderr(self, fd: &'a impl AsFd) -> Self {
        self.stream(Stream::Stderr, fd)
    }

    /// Reads one more stream from `fd`.
    #[must_use]
    pub fn stream(mut self, stream: Stream, fd: &'a impl AsFd) -> Self {
        self.fds.push((stream, fd.as_fd()));
        self
    }

    /// Ends with the command, whose pidfd this is, once what it wrote is read: without it, a
    /// grandchild that keeps a stream open keeps the reader.
    #[must_use]
    pub fn until_exit(mut self, pidfd: &'a impl AsFd) -> Self {
        self.exited = Some(pidfd.as_fd());
        self
    }

    /// Ends as soon as `fd` is readable or closed, also while no line comes.
    #[must_use]
    pub fn cancelled_by(mut self, fd: &'a impl AsFd) -> Self {
        self.cancel = Some(fd.as_fd());
        self
    }

    /// Ends after this time.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Reads up to so many bytes at a time; at least 64.
    #[must_use]
    pub const fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = if bytes < 64 { 64 } else { bytes };
        self
    }

    /// Cuts lines longer than this into pieces.
    #[must_use]
    pub const fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }

    /// Calls `each` for every line, the unterminated last ones included.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where no stream was given, otherwise what polling or reading met.
    pub fn read_lines(
        &self,
        mut each: impl FnMut(Stream, Line<'_>) -> ControlFlow<()>,
    ) -> io::Result<ReadEnd> {
        let mut splitters: Vec<_> = self
            .fds
            .iter()
            .map(|_| LineSplitter::new(self.max_line))
            .collect();
        let mut flow = ControlFlow::Continue(());
        let end = self.read_chunks(|index, bytes| {
            let stream = self.fds[index].0;
            splitters[index].push(bytes, |line| {
                if flow.is_continue() {
                    flow = each(stream, line);
                }
            });
            flow
        })?;
        if end != ReadEnd::Stopped {
            for (splitter, (stream, _)) in splitters.iter_mut().zip(&self.fds) {
                splitter.finish(|line| {
                    // Nothing follows that could be stopped.
                    let _ = each(*stream, line);
                });
            }
        }
        Ok(end)
    }

    /// Returns the lines one by one, the unterminated last ones included; it ends as
    /// [`read_lines`](Self::read_lines) does, and [`StreamLines::end`] says why.
    #[must_use]
    pub fn lines(&self) -> StreamLines<'_> {
        let splitters = self.fds.iter().map(|_| LineSplitter::new(self.max_line));
        StreamLines {
            splitters: splitters.collect(),
            reading: self.begin(),
            streams: self,
            ready: VecDeque::new(),
            end: None,
        }
    }

    /// Reads all lines and then waits for the command by `wait`.
    ///
    /// # Errors
    ///
    /// As [`read_lines`](Self::read_lines), and what `wait` meets.
    pub fn read_and_wait<T>(
        &self,
        each: impl FnMut(Stream, Line<'_>) -> ControlFlow<()>,
        wait: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<(ReadEnd, T)> {
        let end = self.read_lines(each)?;
        Ok((end, wait()?))
    }

    /// Reads everything and keeps the last `limit` bytes.
    ///
    /// # Errors
    ///
    /// As [`read_lines`](Self::read_lines).
    pub fn read_combined(&self, limit: usize) -> io::Result<Combined> {
        let mut ring = crate::ring::ByteRing::new(limit);
        let end = self.read_chunks(|_, bytes| {
            ring.push(bytes);
            ControlFlow::Continue(())
        })?;
        Ok(Combined {
            bytes: ring.to_vec(),
            total: ring.total(),
            end,
        })
    }

    /// Polls all descriptors together and hands out what they have.
    fn read_chunks(
        &self,
        mut each: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<ReadEnd> {
        let mut reading = self.begin();
        loop {
            if let Some(end) = self.step(&mut reading, &mut each)? {
                return Ok(end);
            }
        }
    }

    fn begin(&self) -> Reading {
        Reading {
            open: (0..self.fds.len()).collect(),
            buffer: vec![0; self.buffer],
            until: self
                .timeout
                .and_then(|timeout| Instant::now().checked_add(timeout)),
        }
    }

    /// Waits once, and hands out what there is then; returns why it was the last time, if it was.
    fn step(
        &self,
        reading: &mut Reading,
        mut each: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<Option<ReadEnd>> {
        if self.fds.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no stream to read was given",
            ));
        }
        let Reading {
            open,
            buffer,
            until,
        } = reading;
        if open.is_empty() {
            return Ok(Some(ReadEnd::Eof));
        }
        let ready = match self.wait(open, *until)? {
            Ready::Streams(ready) => ready,
            Ready::Exited => return self.drain(open, buffer, each).map(Some),
            Ready::Cancelled => return Ok(Some(ReadEnd::Cancelled)),
            Ready::TimedOut => return Ok(Some(ReadEnd::TimedOut)),
        };
        for index in ready {
            match read(self.fds[index].1, buffer)? {
                Some(0) => open.retain(|other| *other != index),
                Some(n) if each(index, &buffer[..n]).is_break() => {
                    return Ok(Some(ReadEnd::Stopped));
                }
                Some(_) | None => {}
            }
        }
        Ok(None)
    }

    /// Waits for a stream to be readable, the command to end, or one of the other ends.
    fn wait(&self, open: &[usize], end: Option<Instant>) -> io::Result<Ready> {
        let others = self.cancel.iter().chain(&self.exited);
        let fds = open.iter().map(|index| &self.fds[*index].1).chain(others);
        let mut polled: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => return Ok(Ready::TimedOut),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::Streams(Vec::new())),
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |at: usize| polled.get(at).is_some_and(|fd| !fd.revents().is_empty());
        if self.cancel.is_some() && is_ready(open.len()) {
            return Ok(Ready::Cancelled);
        }
        // Before the streams: from here on no byte of the command itself can be added to them.
        if self.exited.is_some() && is_ready(polled.len() - 1) {
            return Ok(Ready::Exited);
        }
        let ready = open
            .iter()
            .enumerate()
            .filter(|(at, _)| is_ready(*at))
            .map(|(_, index)| *index);
        Ok(Ready::Streams(ready.collect()))
    }

    /// Takes what the streams hold at the moment of the exit: all that the command wrote is in there.
    fn drain(
        &self,
        open: &[usize],
        buffer: &mut [u8],
        mut each: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<ReadEnd> {
        let mut end = ReadEnd::Eof;
        for &index in open {
            let fd = self.fds[index].1;
            let mut left = pending(&fd)?;
            while left > 0 {
                let most = left.min(buffer.len());
                let Some(n) = read(fd, &mut buffer[..most])?.filter(|n| *n > 0) else {
                    break;
                };
                left -= n;
                if each(index, &buffer[..n]).is_break() {
                    return Ok(ReadEnd::Stopped);
                }
            }
            let mut polled = [PollFd::new(&fd, PollFlags::IN)];
            poll(
                &mut polled,
                Some(&Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                }),
            )?;
            let flags = polled[0].revents();
            if flags.contains(PollFlags::IN) || !flags.contains(PollFlags::HUP) {
                end = ReadEnd::Held;
            }
        }
        Ok(end)
    }
}

/// How far reading is.
#[derive(Debug)]
struct Reading {
    open: Vec<usize>,
    buffer: Vec<u8>,
    until: Option<Instant>,
}

/// The lines of several streams, as an iterator; see [`Streams::lines`].
#[derive(Debug)]
pub struct StreamLines<'a> {
    streams: &'a Streams<'a>,
    splitters: Vec<LineSplitter>,
    reading: Reading,
    ready: VecDeque<(Stream, OwnedLine)>,
    end: Option<ReadEnd>,
}

impl StreamLines<'_> {
    /// Returns why reading ended, once it has.
    #[must_use]
    pub const fn end(&self) -> Option<ReadEnd> {
        self.end
    }
}

impl Iterator for StreamLines<'_> {
    type Item = io::Result<(Stream, OwnedLine)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            if self.end.is_some() {
                return None;
            }
            let Self {
                streams,
                splitters,
                reading,
                ready,
                ..
            } = self;
            let stepped = streams.step(reading, |index, bytes| {
                let stream = streams.fds[index].0;
                splitters[index].push(bytes, |line| ready.push_back((stream, line.into())));
                ControlFlow::Continue(())
            });
            match stepped {
                Ok(None) => {}
                Ok(Some(end)) => {
                    self.end = Some(end);
                    for (splitter, (stream, _)) in splitters.iter_mut().zip(&streams.fds) {
                        splitter.finish(|line| ready.push_back((*stream, line.into())));
                    }
                }
                Err(error) => {
                    // Asked again it would only fail again.
                    self.end = Some(ReadEnd::Stopped);
                    return Some(Err(error));
                }
            }
        }
    }
}

enum Ready {
    Streams(Vec<usize>),
    Exited,
    Cancelled,
    TimedOut,
}

/// Reads once; `None` if there was nothing after all.
fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match rustix::io::read(fd, buffer) {
        Ok(n) => Ok(Some(n)),
        // A pseudo-terminal says so when its last writer has gone.
        Err(Errno::IO) => Ok(Some(0)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns how many bytes wait in a pipe (`FIONREAD`).
///
/// At the moment at which a command is known to have ended, everything it wrote is there: reading so
/// many bytes drains its output, whoever else keeps the pipe open.
///
/// # Errors
///
/// When `fd` is no pipe, socket or terminal.
pub fn pending(fd: &impl AsFd) -> io::Result<usize> {
    let n = rustix::io::ioctl_fionread(fd)?;
    Ok(usize::try_from(n).unwrap_or(usize::MAX))
}
