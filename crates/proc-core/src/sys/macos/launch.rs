//! Starting a program with attributes: like `posix_spawn`, but with our own steps between fork and exec.
//!
//! A real fork: the child makes async-signal-safe calls only, and tells what it could not do through a pipe.

use std::ffi::CStr;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, RawFd};

use libc::{c_char, c_int};

use super::apply::{Failure, Prepared, Step};
pub(crate) use crate::sys::spawn::{Fault, LaunchError};

use crate::sys::spawn::{Action, Plan, pointers};

/// What, which step, which of several, and four bytes of error number.
const MESSAGE: usize = 7;

/// Starts the program and returns its pid. An error means that nothing runs.
pub(crate) fn launch(
    plan: &Plan<'_>,
    prepared: &Prepared,
    terminal: bool,
) -> Result<u32, LaunchError> {
    let argv = pointers(plan.argv);
    let envp = pointers(plan.envp);
    let (mut told, tell) = io::pipe().map_err(LaunchError::System)?;
    // Above every number that an action may copy to.
    let highest = plan.actions.iter().map(|action| match action {
        Action::Dup(_, to) => *to,
        Action::Chdir(_) => 2,
    });
    let above = highest.max().unwrap_or(2).max(2) + 1;
    let tell = rustix::io::fcntl_dupfd_cloexec(&tell, above)
        .map_err(|error| LaunchError::System(error.into()))?;
    // SAFETY: the child makes async-signal-safe calls only, on memory that was prepared before, and then execs or ends.
    match unsafe { libc::fork() } {
        -1 => Err(LaunchError::System(io::Error::last_os_error())),
        0 => {
            let fault = steps(plan, prepared, terminal, argv.as_ptr(), envp.as_ptr());
            report(tell.as_raw_fd(), fault)
        }
        pid => {
            drop(tell);
            let mut message = [0; MESSAGE];
            // An end of file is a successful exec, which closed the pipe.
            match told.read_exact(&mut message) {
                Err(_) => Ok(pid.cast_unsigned()),
                Ok(()) => {
                    reap(pid);
                    Err(LaunchError::Fault(decode(message)))
                }
            }
        }
    }
}

fn reap(pid: c_int) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        while wait().is_err_and(|error| error == rustix::io::Errno::INTR) {}
    }
}

/// In the child: does everything and execs; returns only with what went wrong.
fn steps(
    plan: &Plan<'_>,
    prepared: &Prepared,
    terminal: bool,
    argv: *const *mut c_char,
    envp: *const *mut c_char,
) -> Fault {
    if let Err(failure) = prepared.apply() {
        return Fault::Attribute(failure);
    }
    for action in plan.actions {
        let (result, fault): (c_int, fn(i32) -> Fault) = match action {
            Action::Dup(from, to) => (dup(*from, *to), Fault::Descriptors),
            Action::Chdir(path) => (chdir(path), Fault::Chdir),
        };
        if result < 0 {
            return fault(errno());
        }
    }
    // SAFETY: numbers only.
    if terminal && unsafe { libc::ioctl(0, libc::TIOCSCTTY.into(), 0) } < 0 {
        return Fault::Terminal(errno());
    }
    // SAFETY: NUL-terminated strings in null-terminated arrays, all alive in this copy of the parent.
    unsafe { libc::execve(plan.program.as_ptr(), argv.cast(), envp.cast()) };
    Fault::Exec(errno())
}

fn chdir(path: &CStr) -> c_int {
    // SAFETY: a NUL-terminated path.
    unsafe { libc::chdir(path.as_ptr()) }
}

/// `dup2` that also works where the numbers are the same: then only close-on-exec is taken off.
fn dup(from: RawFd, to: RawFd) -> c_int {
    // SAFETY: numbers only.
    unsafe {
        if from == to {
            libc::fcntl(from, libc::F_SETFD, 0)
        } else {
            libc::dup2(from, to)
        }
    }
}

fn errno() -> i32 {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__error() }
}

/// In the child: tells and ends, without running anything of the parent's.
fn report(tell: RawFd, fault: Fault) -> ! {
    let message = encode(fault);
    // SAFETY: the buffer is live; what is shorter than PIPE_BUF is written whole.
    unsafe {
        libc::write(tell, message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}

fn encode(fault: Fault) -> [u8; MESSAGE] {
    let (kind, step, index, errno) = match fault {
        Fault::Attribute(failure) => (0, failure.step as u8, failure.index, failure.errno),
        Fault::Descriptors(errno) => (1, 0, 0, errno),
        Fault::Chdir(errno) => (2, 0, 0, errno),
        Fault::Terminal(errno) => (3, 0, 0, errno),
        Fault::Exec(errno) => (4, 0, 0, errno),
    };
    let [a, b, c, d] = errno.to_ne_bytes();
    [kind, step, index, a, b, c, d]
}

fn decode([kind, step, index, a, b, c, d]: [u8; MESSAGE]) -> Fault {
    let errno = i32::from_ne_bytes([a, b, c, d]);
    match (kind, Step::ALL.get(usize::from(step))) {
        (0, Some(step)) => Fault::Attribute(Failure {
            step: *step,
            index,
            errno,
        }),
        (1, _) => Fault::Descriptors(errno),
        (2, _) => Fault::Chdir(errno),
        (3, _) => Fault::Terminal(errno),
        _ => Fault::Exec(errno),
    }
}
