//! With which words, variables and directory a process runs.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use crate::sys;

/// How a process was started: what it takes to start the like of it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The words of its command, the program's name first.
    pub argv: Vec<OsString>,
    /// The environment that it began with.
    pub env: Vec<(OsString, OsString)>,
    /// The directory that it is in now.
    pub cwd: PathBuf,
}

impl Invocation {
    /// Reads that of a process of one's own: for a task stuck in the kernel this can block, so never ask about a stranger.
    ///
    /// From `/proc/PID`, or on macOS `KERN_PROCARGS2` of `sysctl(3)`. A snapshot, of a number: look at the identity before
    /// and after.
    ///
    /// # Errors
    /// `NotFound` when nothing has the number, `PermissionDenied` for another user's process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let (argv, env) = sys::invocation::words(pid)?;
        Ok(Self {
            argv: argv.into_iter().map(OsString::from_vec).collect(),
            env: env.iter().filter_map(|pair| split(pair)).collect(),
            cwd: sys::invocation::directory(pid)?,
        })
    }
}

fn split(pair: &[u8]) -> Option<(OsString, OsString)> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    Some((word(&pair[..at]), word(&pair[at + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_read_as_it_was_started() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("cat")
            .args(["-", ""])
            .env_clear()
            .env("A", "b=c")
            .current_dir(&dir)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let found = Invocation::of(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.argv, ["cat", "-", ""]);
        assert_eq!(found.env, [("A".into(), "b=c".into())]);
        assert_eq!(found.cwd, dir.path().canonicalize().unwrap());
        let gone = Invocation::of(child.id()).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }
}
