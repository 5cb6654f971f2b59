//! Readiness as s6 and others know it: a newline on a descriptor the service was given.

use std::io;
use std::os::fd::OwnedFd;

use proc_core::Readiness;

/// The reading end of a service's readiness descriptor.
#[derive(Debug)]
pub struct NotifyFd {
    pipe: Readiness,
}

impl NotifyFd {
    /// Returns the reading end and the end for the service. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Returns what the system said when no pipe can be made.
    pub fn pipe() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        Ok((NotifyFd::new(reader.into())?, writer.into()))
    }

    /// Wraps a reading end that exists already. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Returns what the system said when the descriptor cannot be watched.
    pub fn new(reader: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(NotifyFd {
            pipe: Readiness::new(reader)?,
        })
    }

    /// Waits for a newline: `true`, or for every writing end to be closed without one: `false`.
    ///
    /// # Errors
    /// Returns what the system said when reading fails.
    pub async fn ready(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 512];
        loop {
            let read = self
                .pipe
                .read_with(|fd| Ok(rustix::io::read(fd, &mut buffer)?))
                .await;
            match read {
                Ok(0) => return Ok(false),
                Ok(count) if buffer[..count].contains(&b'\n') => return Ok(true),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }
}
