//! The service's standard input: one write at a time, in its own time.

use std::io;
use std::os::fd::OwnedFd;

use super::stop::Asker;

/// What a terminal takes as the end of input.
const END_OF_TRANSMISSION: u8 = 4;

/// The writing end of standard input.
#[derive(Debug, Default)]
pub(crate) struct Input {
    fd: Option<OwnedFd>,
    terminal: bool,
    pending: Vec<u8>,
    written: usize,
    asker: Option<Asker>,
}

impl Input {
    /// Writes to this from now on. The descriptor must be non-blocking.
    pub(crate) fn open(fd: OwnedFd, terminal: bool) -> Self {
        Self {
            fd: Some(fd),
            terminal,
            ..Self::default()
        }
    }

    pub(crate) fn fd(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Returns whether a write waits for room.
    pub(crate) fn is_busy(&self) -> bool {
        self.asker.is_some()
    }

    /// Takes a write; its asker gets the answer from [`advance`](Self::advance).
    pub(crate) fn begin(&mut self, bytes: Vec<u8>, asker: Asker) {
        self.pending = bytes;
        self.written = 0;
        self.asker = Some(asker);
    }

    /// Writes what there is room for. Returns the asker and the outcome once the write is over.
    pub(crate) fn advance(&mut self) -> Option<(Asker, io::Result<()>)> {
        let asker = self.asker?;
        let outcome = loop {
            let rest = &self.pending[self.written..];
            let Some(fd) = &self.fd else {
                break Err(io::ErrorKind::BrokenPipe.into());
            };
            if rest.is_empty() {
                break Ok(());
            }
            match rustix::io::write(fd, rest) {
                Ok(written) => self.written += written,
                Err(rustix::io::Errno::AGAIN) => return None,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => break Err(error.into()),
            }
        };
        self.asker = None;
        self.pending = Vec::new();
        if outcome.is_err() {
            self.fd = None;
        }
        Some((asker, outcome))
    }

    /// Lets the service read an end of file. Returns whether it was open.
    pub(crate) fn close(&mut self) -> bool {
        match (&self.fd, self.terminal) {
            (None, _) => false,
            (Some(fd), true) => rustix::io::write(fd, &[END_OF_TRANSMISSION]).is_ok(),
            (Some(_), false) => {
                self.fd = None;
                true
            }
        }
    }

    /// Gives up on everything; returns who waited.
    pub(crate) fn shut(&mut self) -> Option<Asker> {
        self.fd = None;
        self.pending = Vec::new();
        self.asker.take()
    }
}
