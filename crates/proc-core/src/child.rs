//! A child that was started, its standard input, and its end.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use crate::sys::reap;
use crate::{Identity, ProcessEnd, ProcessHandle, Signal, SignalError, spawn};

/// A child that [`Spawn`](crate::Spawn) started.
///
/// Dropping it ends nothing and reaps nothing. Every method takes `&self` where it can, and signalling never waits
/// for a lock or for a write to the child's standard input.
#[derive(Debug)]
pub struct Child {
    handle: ProcessHandle,
    end: Mutex<Option<ProcessEnd>>,
    stdin: Option<StdIn>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Child {
    /// Takes charge of a child that has just been started and is not reaped.
    pub(crate) fn adopt(
        pid: u32,
        stdin: Option<StdIn>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let opened = crate::sys::pidfd::open(pid).and_then(|fd| {
            let identity = Identity::of_fd(pid, &fd, crate::OpenOptions::default())
                .map_err(io::Error::other)?;
            Ok(ProcessHandle::of_child(fd, identity))
        });
        match opened {
            Ok(handle) => Ok(Self {
                handle,
                end: Mutex::new(None),
                stdin,
                stdout,
                stderr,
            }),
            Err(error) => {
                spawn::discard(pid);
                Err(error)
            }
        }
    }

    /// Returns its number, which is its own until it is reaped.
    pub const fn pid(&self) -> u32 {
        self.handle.pid()
    }

    /// Returns the record to save.
    pub const fn identity(&self) -> &Identity {
        self.handle.identity()
    }

    /// Returns the process itself.
    pub const fn handle(&self) -> &ProcessHandle {
        &self.handle
    }

    /// Takes the writing end of its standard input, if that is a pipe.
    pub const fn take_stdin(&mut self) -> Option<StdIn> {
        self.stdin.take()
    }

    /// Takes the reading end of its standard output, if that is a pipe.
    pub const fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.stdout.take()
    }

    /// Takes the reading end of its standard error, if that is a pipe.
    pub const fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.stderr.take()
    }

    /// Sends a signal to the child alone.
    ///
    /// # Errors
    /// [`SignalError::NoSuchProcess`] once it was reaped.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        self.handle.signal(signal)
    }

    /// Waits until it ends, reaps it and says how it ended; later calls say the same.
    ///
    /// # Errors
    /// `ECHILD` when something else in this program reaped it.
    pub fn wait(&self) -> io::Result<ProcessEnd> {
        self.handle.wait(None)?;
        self.try_wait()?
            .ok_or_else(|| io::Error::other("the child exited, but there is nothing to reap"))
    }

    /// Reaps it if it has ended; `None` while it runs.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> io::Result<Option<ProcessEnd>> {
        let mut end = self
            .end
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if end.is_none() {
            *end = reap::child(self.handle.pidfd())?;
        }
        Ok(*end)
    }

    /// Waits in a tokio runtime until it has exited, reaps it and says how it ended. Dropping the future is fine.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    #[cfg(feature = "async")]
    pub async fn exited(&self) -> io::Result<ProcessEnd> {
        self.handle.exited().await?;
        self.wait()
    }
}

impl AsFd for Child {
    /// Readable once the child has exited.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// The writing end of a child's standard input.
///
/// It belongs to whoever took it: a write that blocks because the child does not read holds no lock that
/// [`Child::signal`] needs, and ends with `EPIPE` when the child is killed.
#[derive(Debug)]
pub struct StdIn(File);

impl StdIn {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd.into())
    }

    /// Closes it, so that the child reads end-of-file. Dropping does the same.
    pub fn close(self) {
        drop(self);
    }
}

impl Write for StdIn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl AsFd for StdIn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<StdIn> for OwnedFd {
    fn from(stdin: StdIn) -> Self {
        stdin.0.into()
    }
}
