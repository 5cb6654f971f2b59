//! One child from its start to the end of its tree: output, timeout, stop, reaping.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use proc_core::{
    Child, ProcessEnd, ProcessHandle, Readiness, Scope, Signal, StopOptions, StopReport,
    StopSequence, stop_tree,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// The most bytes taken from a pipe after the command has ended: the most a pipe can hold.
const DRAIN: usize = 1024 * 1024;
/// How much is read at once.
const READ: usize = 64 * 1024;

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output, or both where they were combined.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// By itself, or by a signal from elsewhere.
    Itself,
    /// Its time was over.
    TimedOut,
    /// Its caller did not want it any more.
    Cancelled,
}

/// How it is to be ended, and when.
pub(crate) struct Limits {
    pub(crate) deadline: Option<Instant>,
    pub(crate) stop: StopSequence,
    /// How far a stop at its deadline or by its caller reaches.
    pub(crate) scope: Scope,
    /// Children in the background may outlive it.
    pub(crate) allow_detached: bool,
    /// It goes on when nobody watches it any more.
    pub(crate) outlives_us: bool,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(crate) struct Supervised {
    /// `None`: it is one of the survivors of `report`.
    pub(crate) end: Option<ProcessEnd>,
    pub(crate) cause: Cause,
    /// What ending it, or what it left behind, took.
    pub(crate) report: Option<StopReport>,
}

/// The end of a pipe that a child writes to.
pub(crate) struct Source {
    stream: Stream,
    pipe: Option<Readiness>,
    buffer: Vec<u8>,
}

impl Source {
    pub(crate) fn new(stream: Stream, reader: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Source {
            stream,
            pipe: Some(Readiness::new(reader)?),
            buffer: vec![0; READ],
        })
    }

    pub(crate) fn none(stream: Stream) -> Self {
        Source {
            stream,
            pipe: None,
            buffer: Vec::new(),
        }
    }

    /// Waits for bytes and returns how many are in the buffer; once the pipe is at its end, never.
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> usize {
        if let Some(pipe) = &self.pipe {
            let buffer = &mut self.buffer;
            if let Ok(count @ 1..) = pipe.read_with(|fd| read(fd, buffer)).await {
                return count;
            }
            self.pipe = None;
        }
        pending().await
    }

    fn emit(&self, count: usize, sink: &mut impl FnMut(Stream, &[u8])) {
        sink(self.stream, &self.buffer[..count]);
    }

    /// Takes what the pipe holds now. The command has ended, so all it wrote is there; a
    /// grandchild that keeps the pipe open delays nothing.
    fn drain(&mut self, sink: &mut impl FnMut(Stream, &[u8])) {
        let Some(pipe) = &self.pipe else { return };
        let mut taken = 0;
        while taken < DRAIN
            && let Ok(count @ 1..) = read(pipe.as_fd(), &mut self.buffer)
        {
            sink(self.stream, &self.buffer[..count]);
            taken += count;
        }
    }
}

fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::io::read(fd, &mut *buffer)
    })?)
}

/// A stop that runs on a thread of its own, because it may have to look through `/proc`.
type Stopping = JoinHandle<io::Result<StopReport>>;

fn begin_stop(
    handle: &ProcessHandle,
    sequence: &StopSequence,
    scope: Scope,
) -> io::Result<Stopping> {
    let (handle, sequence) = (handle.try_clone()?, sequence.clone());
    let options = StopOptions {
        scope,
        ..StopOptions::default()
    };
    Ok(tokio::task::spawn_blocking(move || {
        stop_tree(&handle, &sequence, options)
    }))
}

/// Waits for a stop, or for ever where there is none.
async fn stopped(stopping: &mut Option<Stopping>) -> io::Result<StopReport> {
    match stopping {
        Some(stop) => stop.await.map_err(io::Error::other)?,
        None => pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Ends the group of a child that was not seen to end: only when the runtime is torn down.
struct Guard(Child, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        if self.1 && matches!(self.0.try_wait(), Ok(None)) {
            let _best_effort = self.0.handle().signal_group(Signal::KILL);
            let _best_effort = self.0.handle().signal(Signal::KILL);
        }
    }
}

/// Follows a child to its end. Both outputs are read all the time, also while it is being ended,
/// so that it never blocks on a full pipe. The exit is taken as soon as it happens; the output is
/// what the pipes hold at that moment.
pub(crate) async fn supervise(
    child: Child,
    [mut out, mut err]: [Source; 2],
    limits: Limits,
    cancelled: impl Future<Output = StopSequence>,
    sink: &mut impl FnMut(Stream, &[u8]),
) -> io::Result<Supervised> {
    let child = Guard(child, !limits.outlives_us);
    let (mut cause, mut stopping) = (Cause::Itself, None);
    let mut report = None;
    tokio::pin!(cancelled);
    let exited = child.0.handle().exited();
    tokio::pin!(exited);
    loop {
        let waits = stopping.is_none();
        tokio::select! {
            biased;
            result = &mut exited, if waits => { result?; break }
            done = stopped(&mut stopping) => { report = Some(done?); break }
            () = at(limits.deadline), if waits => {
                cause = Cause::TimedOut;
                stopping = Some(begin_stop(child.0.handle(), &limits.stop, limits.scope)?);
            }
            sequence = &mut cancelled, if waits => {
                cause = Cause::Cancelled;
                stopping = Some(begin_stop(child.0.handle(), &sequence, limits.scope)?);
            }
            count = out.next() => out.emit(count, sink),
            count = err.next() => err.emit(count, sink),
        }
    }
    // Reaped only now: until here every signal reached this process or nobody.
    let end = child.0.try_wait()?;
    let left_behind = || child.0.handle().signal_group(Signal::PROBE).is_ok();
    if report.is_none() && !limits.allow_detached && left_behind() {
        let mut stopping = Some(begin_stop(child.0.handle(), &limits.stop, Scope::Tree)?);
        report = loop {
            tokio::select! {
                biased;
                done = stopped(&mut stopping) => break Some(done?),
                count = out.next() => out.emit(count, sink),
                count = err.next() => err.emit(count, sink),
            }
        };
    }
    out.drain(sink);
    err.drain(sink);
    Ok(Supervised { end, cause, report })
}
