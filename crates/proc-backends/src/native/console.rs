//! Services on the caller's own streams, as a command in the foreground is.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use proc_shim::{Output, StartSpec, Stdin};
use tokio::sync::mpsc::UnboundedSender;

/// What a command in the foreground has from its caller; each that is `None` or empty stays as the spec says.
#[derive(Debug, Default)]
pub struct Console {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output; nothing of it is logged then.
    pub stdout: Option<OwnedFd>,
    /// Standard error; nothing of it is logged then.
    pub stderr: Option<OwnedFd>,
    /// Whether shim and service stay in the caller's session and process group, where the terminal is theirs to use.
    pub keep_session: bool,
    /// Whether a stop ends the command's process group alone: what it put into the background lives on.
    pub spares_background: bool,
    /// The backend's own directories lie in this one, which goes with the caller: a shim that outlives the caller removes it
    /// when it ends, which is with the command.
    pub scratch: Option<PathBuf>,
    /// Who is told the pid of each run as soon as it has begun.
    pub begun: Option<UnboundedSender<u32>>,
    /// Program and arguments to the byte, where the spec's text is not what was typed.
    pub argv: Vec<OsString>,
    /// Variables that no text can hold, below those of the spec.
    pub env: Vec<(OsString, OsString)>,
}

impl Console {
    /// Tells that a run has begun.
    pub(super) fn begun(&self, pid: u32) {
        if let Some(begun) = &self.begun {
            // Whoever wanted to know may have gone.
            let _gone = begun.send(pid);
        }
    }

    /// Puts the streams in place of those of the spec, and their descriptors before the others.
    pub(super) fn apply(&self, start: &mut StartSpec, fds: &mut Vec<OwnedFd>) -> io::Result<()> {
        if self.keep_session {
            start.attributes.session = proc_core::SessionMode::Inherit;
        }
        if !self.argv.is_empty() {
            start.argv.clone_from(&self.argv);
        }
        start.env.splice(..0, self.env.iter().cloned());
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
