//! From a fork to the running program, in order:
//!
//! 1. the parent looks everything up: user, program, descriptors, the places of all strings;
//! 2. the child applies the attributes, then waits at the *gate*;
//! 3. the parent writes the run's record and opens the gate, so that no service ever runs that a
//!    record does not name, whoever is killed in between;
//! 4. the child puts the descriptors into place, enters the directory, executes.
//!
//! Whatever fails in the child is told through a pipe that closes at exec.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use proc_core::{ApplyFailure, ResolvedAttributes};
use rustix::io::fcntl_dupfd_cloexec;

use crate::message::{Failure, FailureKind, StartSpec, Stdin};
use crate::sys::child::{self, Embryo, Errand, Pointers};

/// The environment variable that must name the process which reads it.
const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// Everything for one exec; the child works with it while the parent leaves it alone.
#[derive(Debug)]
pub(crate) struct Plan {
    attributes: ResolvedAttributes,
    argv: Pointers,
    envp: Pointers,
    /// What `argv` points to.
    _arguments: Vec<CString>,
    env: Vec<Vec<u8>>,
    /// What to try, in the order of `PATH`.
    candidates: Vec<CString>,
    cwd: CString,
    /// Source and number in the service, ascending by number from 0.
    fds: Vec<(RawFd, RawFd)>,
    terminal: bool,
    program: OsString,
}

/// Which part of the child failed; the first byte of its report.
const APPLY: u8 = 1;
const DESCRIPTOR: u8 = 2;
const DIRECTORY: u8 = 3;
const TERMINAL: u8 = 4;
const EXEC: u8 = 5;

impl Plan {
    /// Looks up what can be looked up beforehand.
    pub(crate) fn new(spec: &StartSpec, attributes: ResolvedAttributes) -> Result<Self, Failure> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        let arguments = spec.argv.iter().map(|arg| c_string(arg, "argument"));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let path = spec.env.iter().rev().find(|(name, _)| name == "PATH");
        let candidates = candidates(&program, path.map(|(_, value)| value.as_os_str()))?;
        let env = environment(&spec.env, &spec.listen);
        Ok(Self {
            attributes,
            argv: Pointers::to(arguments.iter().map(|arg| arg.as_bytes_with_nul())),
            envp: Pointers::to(env.iter().map(Vec::as_slice)),
            _arguments: arguments,
            env,
            candidates,
            cwd: c_string(spec.cwd.as_os_str(), "cwd")?,
            fds: Vec::new(),
            terminal: spec.stdin == Stdin::Pty,
            program,
        })
    }

    /// Forks. The child stands before the gate with its attributes on, or has reported why not. `fds` are the
    /// descriptors for 0, 1, 2, 3, …; they are closed here, so that a pipe ends when the service closes it.
    pub(crate) fn fork(mut self, mut fds: Vec<(OwnedFd, RawFd)>) -> Result<Embryo<Self>, Failure> {
        // Every source above every target, so that none is overwritten before it was copied.
        let above = fds.iter().map(|(_, to)| *to).max().unwrap_or(2).max(2) + 1;
        for (from, _) in &mut fds {
            if from.as_raw_fd() < above {
                *from = fcntl_dupfd_cloexec(&*from, above)
                    .map_err(|error| Failure::os("descriptor", &error.into()))?;
            }
        }
        self.fds = fds
            .iter()
            .map(|(from, to)| (from.as_raw_fd(), *to))
            .collect();
        let own_memory = self.attributes.needs_own_memory();
        Embryo::begin(self, above, own_memory).map_err(|error| Failure::os("fork", &error))
    }

    /// Writes this process's number into `LISTEN_PID=`, in place.
    fn name_reader(&mut self) {
        let Some(variable) = self.env.iter_mut().find(|v| v.starts_with(LISTEN_PID)) else {
            return;
        };
        let digits = &mut variable[LISTEN_PID.len()..];
        let (mut pid, mut length) = (child::own_pid(), 0);
        let mut reversed = [0_u8; 10];
        while pid > 0 && length < reversed.len() {
            reversed[length] = b'0' + (pid % 10) as u8;
            pid /= 10;
            length += 1;
        }
        for (to, from) in digits.iter_mut().zip(reversed[..length].iter().rev()) {
            *to = *from;
        }
        if let Some(end) = digits.get_mut(length) {
            *end = 0;
        }
    }

    /// Tries every candidate as execvp(3) does: a missing one is passed over, a forbidden one is
    /// remembered.
    fn execute(&self) -> i32 {
        let mut answer = libc::ENOENT;
        for candidate in &self.candidates {
            match child::execute(candidate, &self.argv, &self.envp) {
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE => {}
                libc::EACCES => answer = libc::EACCES,
                error => return error,
            }
        }
        answer
    }

    /// Puts the child's report into words.
    pub(crate) fn explain(&self, message: &[u8]) -> Failure {
        let Some((kind, rest)) = message.split_first_chunk::<1>() else {
            return Failure::new(FailureKind::Os, "exec");
        };
        let Ok(rest) = <[u8; 8]>::try_from(rest) else {
            return Failure::new(FailureKind::Os, "exec");
        };
        let errno = i32::from_ne_bytes([rest[4], rest[5], rest[6], rest[7]]);
        let attribute = |what: &str, value: String| Failure {
            kind: FailureKind::Attribute,
            what: what.to_owned(),
            value,
            errno,
        };
        match kind[0] {
            APPLY => {
                match ApplyFailure::from_bytes(rest).map(|failure| self.attributes.explain(failure))
                {
                    Some(error) => attribute(&error.attribute, error.value.clone()),
                    None => attribute("attribute", String::new()),
                }
            }
            DIRECTORY => attribute("cwd", self.cwd.to_string_lossy().into_owned()),
            TERMINAL => attribute("stdin", "pty".to_owned()),
            DESCRIPTOR => Failure {
                errno,
                ..Failure::new(FailureKind::Os, "descriptor")
            },
            _ => self.not_executed(errno),
        }
    }

    fn not_executed(&self, errno: i32) -> Failure {
        // ENOENT for a file that is there means that its interpreter is not.
        let there = self.candidates.iter().any(|candidate| {
            let path = Path::new(OsStr::from_bytes(candidate.as_bytes()));
            Path::new(OsStr::from_bytes(self.cwd.as_bytes()))
                .join(path)
                .exists()
        });
        let missing = matches!(errno, libc::ENOENT | libc::ENOTDIR) && !there;
        let kind = if missing {
            FailureKind::NotFound
        } else {
            FailureKind::NotExecutable
        };
        let value = self.program.to_string_lossy().into_owned();
        Failure {
            kind,
            what: "program".to_owned(),
            value,
            errno,
        }
    }
}

impl Errand for Plan {
    fn before_gate(&mut self) -> Result<(), [u8; 9]> {
        self.attributes.apply().map_err(|failure| {
            let mut message = [APPLY; 9];
            message[1..].copy_from_slice(&failure.to_bytes());
            message
        })
    }

    fn after_gate(&mut self) -> [u8; 9] {
        let failed = |what: u8, errno: i32| {
            let errno = errno.to_ne_bytes();
            [what, 0, 0, 0, 0, errno[0], errno[1], errno[2], errno[3]]
        };
        for (from, to) in &self.fds {
            if let Err(errno) = child::dup(*from, *to) {
                return failed(DESCRIPTOR, errno);
            }
        }
        if self.terminal
            && let Err(errno) = child::control_terminal(0)
        {
            return failed(TERMINAL, errno);
        }
        if let Err(errno) = child::enter(&self.cwd) {
            return failed(DIRECTORY, errno);
        }
        self.name_reader();
        failed(EXEC, self.execute())
    }
}

/// Waits for a child that is on its way out.
pub(crate) fn bury(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let options = rustix::process::WaitOptions::empty();
    while matches!(
        rustix::process::waitpid(pid, options),
        Err(rustix::io::Errno::INTR)
    ) {}
}

fn c_string(text: &OsStr, what: &str) -> Result<CString, Failure> {
    CString::new(text.as_bytes()).map_err(|_| Failure {
        kind: FailureKind::Attribute,
        what: what.to_owned(),
        value: text.to_string_lossy().into_owned(),
        errno: libc::EINVAL,
    })
}

/// Returns what may be executed under this name.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Result<Vec<CString>, Failure> {
    if program.is_empty() {
        return Ok(Vec::new());
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(program, "program")?]);
    }
    let path = path.map_or(&b"/usr/local/bin:/usr/bin:/bin"[..], OsStr::as_bytes);
    path.split(|b| *b == b':')
        .map(|dir| {
            // An empty entry is the current directory.
            let mut full = if dir.is_empty() {
                b".".to_vec()
            } else {
                dir.to_vec()
            };
            full.push(b'/');
            full.extend_from_slice(program.as_bytes());
            c_string(&OsString::from_vec(full), "program")
        })
        .collect()
}

/// Returns `NAME=value\0` for each variable; the last one of a name wins, `LISTEN_*` are ours.
fn environment(env: &[(OsString, OsString)], listen: &[String]) -> Vec<Vec<u8>> {
    let ours =
        |name: &OsStr| name == "LISTEN_PID" || name == "LISTEN_FDS" || name == "LISTEN_FDNAMES";
    let mut lines = Vec::with_capacity(env.len() + 3);
    for (at, (name, value)) in env.iter().enumerate() {
        if ours(name) || env[at + 1..].iter().any(|(later, _)| later == name) {
            continue;
        }
        lines.push(line(name.as_bytes(), value.as_bytes()));
    }
    if !listen.is_empty() {
        // Room for any pid; the child fills it in.
        lines.push(line(b"LISTEN_PID", b"0000000000"));
        lines.push(line(b"LISTEN_FDS", listen.len().to_string().as_bytes()));
        lines.push(line(b"LISTEN_FDNAMES", listen.join(":").as_bytes()));
    }
    lines
}

fn line(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b"=", value, b"\0"].concat()
}
