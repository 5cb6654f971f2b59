//! A short command: bounded in time and output, its tree ended when the time is over or nobody
//! waits any more.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use proc_core::{
    Child, ProcessEnd, Readiness, Signal, Spawn, SpawnError, Stdio, StopOptions, StopSequence,
    stop_tree,
};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// The most bytes of output kept: the last ones.
const KEEP: usize = 4096;
/// The most bytes taken from a pipe after the command has ended: the most a pipe can hold.
const DRAIN: usize = 1024 * 1024;
/// How long the tree may take to end after `TERM` before it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// A command line for `/bin/sh -c`.
pub(crate) struct Command<'a> {
    pub(crate) line: &'a str,
    pub(crate) cwd: &'a Path,
    pub(crate) env: &'a BTreeMap<OsString, OsString>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: the time was over and the tree was ended.
    pub(crate) end: Option<ProcessEnd>,
    /// The end of what it printed, on either stream.
    pub(crate) output: Vec<u8>,
}

/// It did not run, or its end cannot be known.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    Spawn(#[from] SpawnError),
    #[error("cannot watch the command: {0}")]
    Io(#[from] io::Error),
    #[error("the task that watched the command ended early")]
    Lost,
}

impl Command<'_> {
    /// Runs it. Dropping the future ends the command's tree too: the watching task notices that
    /// nobody waits, ends the tree and reaps.
    pub(crate) async fn run(&self, limit: Duration) -> Result<Ended, CommandError> {
        let (reader, writer) = io::pipe()?;
        let writer = OwnedFd::from(writer);
        let child = Spawn::new("/bin/sh")
            .args(["-c", self.line])
            .cwd(self.cwd)
            .env_clear()
            .envs(self.env)
            .stdin(Stdio::Null)
            .stdout(Stdio::File(writer.try_clone()?))
            .stderr(Stdio::File(writer))
            .spawn()?;
        let (answer, wait) = oneshot::channel();
        let deadline = Instant::now() + limit;
        tokio::spawn(async move {
            let mut answer = answer;
            let ended = watch(Guard(child), reader.into(), deadline, answer.closed()).await;
            // Nobody waits: there is nobody to tell.
            let _ignored = answer.send(ended);
        });
        wait.await.unwrap_or(Err(CommandError::Lost))
    }
}

/// Ends the group of a child that was not seen to end: only when the runtime is torn down.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _best_effort = self.0.handle().signal_group(Signal::KILL);
        }
    }
}

async fn watch(
    child: Guard,
    output: OwnedFd,
    deadline: Instant,
    nobody: impl Future<Output = ()>,
) -> Result<Ended, CommandError> {
    let mut output = Output::new(output)?;
    let end = tokio::select! {
        end = child.0.exited() => Some(end?),
        () = sleep_until(deadline) => None,
        () = nobody => None,
        never = output.collect() => match never {},
    };
    if end.is_none() {
        tokio::select! {
            ended = end_tree(&child.0) => ended?,
            never = output.collect() => match never {},
        }
    }
    output.drain();
    Ok(Ended {
        end,
        output: output.tail,
    })
}

/// The reading end of the command's output and the last bytes that came.
struct Output {
    pipe: Readiness,
    tail: Vec<u8>,
}

impl Output {
    fn new(reader: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Output {
            pipe: Readiness::new(reader)?,
            tail: Vec::new(),
        })
    }

    /// Reads for as long as it is polled; the end of the output ends nothing.
    async fn collect(&mut self) -> Infallible {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.pipe.read_with(|fd| read(fd, &mut buffer)).await {
            keep(&mut self.tail, &buffer[..count]);
        }
        pending().await
    }

    /// Takes what the pipe holds now. The command has ended, so all it wrote is there; a
    /// grandchild that keeps the pipe open delays nothing.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        let mut taken = 0;
        while taken < DRAIN
            && let Ok(count @ 1..) = read(self.pipe.as_fd(), &mut buffer)
        {
            keep(&mut self.tail, &buffer[..count]);
            taken += count;
        }
    }
}

fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::io::read(fd, &mut *buffer)
    })?)
}

fn keep(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes);
    let excess = tail.len().saturating_sub(KEEP);
    tail.drain(..excess);
}

/// Ends the whole tree of the command, on a thread that may block, and reaps the command itself.
async fn end_tree(child: &Child) -> io::Result<()> {
    let handle = child.handle().try_clone()?;
    let sequence = StopSequence::graceful(Signal::TERM, Some(GRACE));
    let stop = move || stop_tree(&handle, &sequence, StopOptions::default());
    tokio::task::spawn_blocking(stop)
        .await
        .map_err(io::Error::other)??;
    // A survivor of KILL, in a system call that cannot be interrupted, is left to the system.
    child.try_wait()?;
    Ok(())
}
