//! The system calls that have no safe form: signals as descriptors, fork, and what a child does before exec.
//!
//! Everything called in the child after [`fork`] only makes system calls: no allocation, no locks.

pub(crate) mod init;
mod rest;

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

pub(crate) use rest::release_idle_memory;

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

/// Ignores what must not end the shim, and returns a descriptor that is readable when children change.
pub(crate) fn prepare_signals() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is initialised by `sigemptyset` before any other use; no handler is installed,
    // only dispositions are set, and the process has one thread at this point.
    let fd = unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            if signal != libc::SIGKILL && signal != libc::SIGSTOP {
                libc::signal(
                    signal,
                    if IGNORED.contains(&signal) {
                        libc::SIG_IGN
                    } else {
                        libc::SIG_DFL
                    },
                );
            }
        }
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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

/// Closes every descriptor from `first` on: what a careless ancestor left open.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: called first thing in `main`, before this program has opened anything.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// The two sides of a fork.
pub(crate) enum Fork {
    /// In the parent: the child's pid.
    Parent(u32),
    /// In the child.
    Child,
}

/// Forks. The child must call nothing but the functions below and then [`exec`] or [`leave`].
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the caller keeps to system calls in the child, so a lock that another thread (the
    // log compressor) holds at this moment is never waited for.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid.cast_unsigned())),
    }
}

/// In the child: copies `from` to the exact number `to`, kept open over exec.
pub(crate) fn child_dup(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: plain numbers; the child owns its whole descriptor table.
    let done = unsafe {
        if from == to {
            libc::fcntl(to, libc::F_SETFD, 0)
        } else {
            libc::dup2(from, to)
        }
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// In the child: makes the terminal the controlling one. The child must lead a session.
pub(crate) fn child_terminal(fd: RawFd) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a plain number.
    let done = unsafe { libc::ioctl(fd, libc::TIOCSCTTY as _, 0) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// In the child: enters a directory.
pub(crate) fn child_chdir(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    if unsafe { libc::chdir(path.as_ptr()) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// In the child: waits for one byte or the end of file.
pub(crate) fn child_wait(fd: RawFd) -> bool {
    let mut byte = 0_u8;
    loop {
        // SAFETY: reads one byte into a live variable.
        let read = unsafe { libc::read(fd, (&raw mut byte).cast(), 1) };
        if read >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return read == 1;
        }
    }
}

/// In the child: writes all of a short message.
pub(crate) fn child_write(fd: RawFd, bytes: &[u8]) {
    // SAFETY: the pointer and length are a live slice's. A short write cannot happen below PIPE_BUF.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
}

/// In the child: the process's number, asked anew.
pub(crate) fn own_pid() -> u32 {
    // SAFETY: takes and touches nothing.
    unsafe { libc::getpid() }.cast_unsigned()
}

/// In the child: executes the program; returns only if that failed.
pub(crate) fn exec(
    program: &CStr,
    argv: &[*const libc::c_char],
    envp: &[*const libc::c_char],
) -> io::Error {
    debug_assert!(
        argv.last().is_some_and(|end| end.is_null())
            && envp.last().is_some_and(|end| end.is_null())
    );
    // SAFETY: the caller's arrays end with null and point at NUL-terminated strings that live on.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// In the child: ends without running anybody's exit handlers.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(code) }
}

/// Duplicates to a number of at least `least`, close-on-exec.
pub(crate) fn dup_above(fd: &impl AsRawFd, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
