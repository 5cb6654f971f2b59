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
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use proc_core::{ApplyFailure, ResolvedAttributes};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::message::{Failure, FailureKind};
use crate::sys::{self, Fork};

/// The environment variable that must name the process which reads it.
const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// Everything for one exec.
#[derive(Debug)]
pub(crate) struct Plan {
    argv: Vec<CString>,
    env: Vec<Vec<u8>>,
    /// What to try, in the order of `PATH`.
    candidates: Vec<CString>,
    cwd: CString,
    /// Source and number in the service, ascending by number from 0.
    fds: Vec<(OwnedFd, RawFd)>,
    terminal: bool,
    program: OsString,
}

/// A child that has not executed its program yet.
#[derive(Debug)]
pub(crate) struct Embryo {
    pub(crate) pid: u32,
    /// Readable when the child failed; at its end when it executed the program.
    pub(crate) report: OwnedFd,
    gate: OwnedFd,
}

/// Which part of the child failed; the first byte of its report.
const APPLY: u8 = 1;
const DESCRIPTOR: u8 = 2;
const DIRECTORY: u8 = 3;
const TERMINAL: u8 = 4;
const EXEC: u8 = 5;

impl Plan {
    /// Looks up what can be looked up beforehand. `fds` are the descriptors for 0, 1, 2, 3, ….
    pub(crate) fn new(
        argv: &[OsString],
        env: &[(OsString, OsString)],
        cwd: &Path,
        fds: Vec<(OwnedFd, RawFd)>,
        listen: &[String],
        terminal: bool,
    ) -> Result<Self, Failure> {
        let program = argv.first().cloned().unwrap_or_default();
        let argv = argv
            .iter()
            .map(|arg| c_string(arg, "argument"))
            .collect::<Result<_, _>>()?;
        let path = env
            .iter()
            .rev()
            .find(|(name, _)| name == "PATH")
            .map(|(_, value)| value.as_os_str());
        let candidates = candidates(&program, path)?;
        let cwd = c_string(cwd.as_os_str(), "cwd")?;
        let env = environment(env, listen);
        Ok(Self {
            argv,
            env,
            candidates,
            cwd,
            fds,
            terminal,
            program,
        })
    }

    /// Forks. The child stands before the gate with its attributes on, or has reported why not.
    pub(crate) fn fork(&mut self, attributes: &ResolvedAttributes) -> Result<Embryo, Failure> {
        let os = |what| move |error: io::Error| Failure::os(what, &error);
        let errno = |what| move |error: rustix::io::Errno| Failure::os(what, &error.into());
        // Every source above every target, so that none is overwritten before it was copied.
        let above = self.fds.iter().map(|(_, to)| *to).max().unwrap_or(2).max(2) + 1;
        let (report, report_in) = pipe_with(PipeFlags::CLOEXEC).map_err(errno("pipe"))?;
        let (gate_out, gate) = pipe_with(PipeFlags::CLOEXEC).map_err(errno("pipe"))?;
        let report_in = sys::dup_above(&report_in, above).map_err(os("descriptor"))?;
        let gate_out = sys::dup_above(&gate_out, above).map_err(os("descriptor"))?;
        for (from, _) in &mut self.fds {
            if from.as_raw_fd() < above {
                *from = sys::dup_above(from, above).map_err(os("descriptor"))?;
            }
        }
        let argv: Vec<_> = self
            .argv
            .iter()
            .map(|arg| arg.as_ptr())
            .chain([std::ptr::null()])
            .collect();
        let envp: Vec<_> = self
            .env
            .iter()
            .map(|v| v.as_ptr().cast())
            .chain([std::ptr::null()])
            .collect();
        match sys::fork().map_err(os("fork"))? {
            Fork::Parent(pid) => Ok(Embryo { pid, report, gate }),
            Fork::Child => {
                // The parent's end of the gate must not keep this child waiting if the parent dies.
                drop(gate);
                let message = self.become_service(attributes, gate_out.as_raw_fd(), &argv, &envp);
                sys::child_write(report_in.as_raw_fd(), &message);
                sys::leave(127)
            }
        }
    }

    /// Closes the parent's copies of what the child got: a pipe ends when its last writer closes it.
    pub(crate) fn close_fds(&mut self) {
        self.fds.clear();
    }

    /// The child's way to the program; returns only with the message of what failed.
    fn become_service(
        &mut self,
        attributes: &ResolvedAttributes,
        gate: RawFd,
        argv: &[*const libc::c_char],
        envp: &[*const libc::c_char],
    ) -> [u8; 9] {
        if let Err(failure) = attributes.apply() {
            let mut message = [APPLY; 9];
            message[1..].copy_from_slice(&failure.to_bytes());
            return message;
        }
        if !sys::child_wait(gate) {
            // The shim died before it could write the record: nobody would ever know this process.
            sys::leave(127);
        }
        let failed = |what: u8, error: &io::Error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
            [what, 0, 0, 0, 0, errno[0], errno[1], errno[2], errno[3]]
        };
        for (from, to) in &self.fds {
            if let Err(error) = sys::child_dup(from.as_raw_fd(), *to) {
                return failed(DESCRIPTOR, &error);
            }
        }
        if self.terminal
            && let Err(error) = sys::child_terminal(0)
        {
            return failed(TERMINAL, &error);
        }
        if let Err(error) = sys::child_chdir(&self.cwd) {
            return failed(DIRECTORY, &error);
        }
        self.name_reader();
        failed(EXEC, &self.exec(argv, envp))
    }

    /// Writes this process's number into `LISTEN_PID=`, in place.
    fn name_reader(&mut self) {
        let Some(variable) = self.env.iter_mut().find(|v| v.starts_with(LISTEN_PID)) else {
            return;
        };
        let digits = &mut variable[LISTEN_PID.len()..];
        let (mut pid, mut length) = (sys::own_pid(), 0);
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
    fn exec(&self, argv: &[*const libc::c_char], envp: &[*const libc::c_char]) -> io::Error {
        let mut answer = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            let error = sys::exec(candidate, argv, envp);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR | libc::ESTALE) => {}
                Some(libc::EACCES) => answer = error,
                _ => return error,
            }
        }
        answer
    }

    /// Puts the child's report into words.
    pub(crate) fn explain(&self, attributes: &ResolvedAttributes, message: &[u8]) -> Failure {
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
                match ApplyFailure::from_bytes(rest).map(|failure| attributes.explain(failure)) {
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

impl Embryo {
    /// Lets the child go on to its program.
    pub(crate) fn open_gate(&self) {
        // A child that failed before the gate is not there to read; its report says why.
        let _gone = rustix::io::write(&self.gate, b"!");
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
