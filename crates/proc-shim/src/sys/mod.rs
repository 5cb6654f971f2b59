//! The system calls that have no safe form: signals as descriptors, children, and what they do before exec.
//!
//! What POSIX has lies here, the rest in one folder for each system, with the same file names.

pub(crate) mod child;
pub(crate) mod init;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
pub(crate) use macos::*;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("proc-shim knows Linux and macOS; a new system is a folder beside `sys/linux`");

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Signals that must not end a keeper: its service's supervisor says when it is over.
const IGNORED: &[libc::c_int] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXFSZ,
];

/// Ignores what must not end the shim, and hears of children again where an ancestor ignored their ends.
fn set_dispositions() {
    for signal in IGNORED {
        // SAFETY: no handler is installed, only a disposition is set.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Returns both ends of a pipe, reading first, close-on-exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    io::pipe().map(|(read, write)| (read.into(), write.into()))
}

/// Takes over a descriptor that the parent left open under a known number.
pub(crate) fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD and F_SETFD take plain numbers; a closed descriptor is an error, not undefined.
    let flags = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open (checked above), and by the launch protocol it is ours: nothing else in
    // this program, which has just begun, owns that number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
