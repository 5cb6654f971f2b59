//! A descriptor that an async runtime can wait for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use crate::sys;

/// Waits in a tokio runtime until a descriptor is readable: a pidfd, an inotify, a non-blocking socket.
///
/// It is the safe form of tokio's `AsyncFd`, whose safe constructors are deprecated.
#[derive(Debug)]
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Registers the descriptor with the current runtime.
    ///
    /// # Errors
    /// When the descriptor cannot be polled (a regular file).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        sys::readiness::register(fd).map(Self)
    }

    /// Waits until it is readable. Dropping the future is fine.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn readable(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        ready.retain_ready();
        Ok(())
    }

    /// Calls `read` each time it is readable until that is not `WouldBlock`. The descriptor must be non-blocking.
    ///
    /// # Errors
    /// What `read` returns.
    pub async fn read_with<R>(
        &self,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(result) = ready.try_io(|fd| read(fd.get_ref().as_fd())) {
                return result;
            }
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
