//! Services on the caller's own streams, as a command in the foreground is.

use std::io;
use std::os::fd::OwnedFd;

use proc_shim::{Output, StartSpec, Stdin};

/// Streams that services get instead of their own; each that is `None` stays as the spec says.
#[derive(Debug)]
pub struct Console {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output; nothing of it is logged then.
    pub stdout: Option<OwnedFd>,
    /// Standard error; nothing of it is logged then.
    pub stderr: Option<OwnedFd>,
    /// Whether shim and service stay in the caller's session and process group, where the terminal is theirs to use.
    pub keep_session: bool,
}

impl Console {
    /// Puts the streams in place of those of the spec, and their descriptors before the others.
    pub(super) fn apply(&self, start: &mut StartSpec, fds: &mut Vec<OwnedFd>) -> io::Result<()> {
        if self.keep_session {
            start.attributes.session = proc_core::SessionMode::Inherit;
        }
        let mut passed = Vec::new();
        if let Some(fd) = &self.stdin {
            start.stdin = Stdin::Passed;
            passed.push(fd.try_clone()?);
        }
        for (fd, output) in [
            (&self.stdout, &mut start.stdout),
            (&self.stderr, &mut start.stderr),
        ] {
            if let Some(fd) = fd {
                *output = Output::Passed;
                passed.push(fd.try_clone()?);
            }
        }
        fds.splice(..0, passed);
        Ok(())
    }
}
