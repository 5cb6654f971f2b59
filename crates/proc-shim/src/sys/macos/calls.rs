//! What a child does before exec: the calls of libc that POSIX allows there. It has a copy of our memory.

use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;

use libc::{c_int, c_void};

use crate::sys::child::Pointers;

/// Turns what a call returned into its error number.
fn check(result: c_int) -> Result<(), i32> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

fn errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// Forks a child that runs a function. A system without `CLONE_VM` always copies the memory, and its stack with it.
///
/// # Safety
/// `run` must expect `data` and never return or unwind.
pub(crate) unsafe fn begin(
    run: extern "C" fn(*mut c_void) -> c_int,
    _top: *mut c_void,
    data: *mut c_void,
    _own_memory: bool,
) -> io::Result<u32> {
    // SAFETY: the child keeps to system calls, so a lock that another thread (the log compressor) holds at this moment is
    // never waited for.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            run(data);
            leave()
        }
        pid => Ok(pid.cast_unsigned()),
    }
}

/// Puts `from` at the exact number `to`, kept open over exec.
pub(crate) fn dup(from: RawFd, to: RawFd) -> Result<(), i32> {
    // SAFETY: plain numbers; the child owns its whole descriptor table.
    check(unsafe {
        if from == to {
            libc::fcntl(to, libc::F_SETFD, 0)
        } else {
            libc::dup2(from, to)
        }
    })
}

/// Makes the terminal at this number the controlling one of the session that this process leads.
pub(crate) fn control_terminal(fd: RawFd) -> Result<(), i32> {
    // SAFETY: TIOCSCTTY takes a plain number.
    check(unsafe { libc::ioctl(fd, libc::TIOCSCTTY.into(), 0) })
}

/// Enters a directory.
pub(crate) fn enter(path: &CStr) -> Result<(), i32> {
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::chdir(path.as_ptr()) })
}

/// Returns the process's number, asked anew.
pub(crate) fn own_pid() -> u32 {
    // SAFETY: takes and touches nothing.
    unsafe { libc::getpid() }.cast_unsigned()
}

/// Executes a program; returns only if that failed, with the error number.
pub(crate) fn execute(program: &CStr, argv: &Pointers, envp: &Pointers) -> i32 {
    // SAFETY: both end with null and point at NUL-terminated strings that live on.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    errno()
}

/// Waits for one byte: `false` at the end of file.
pub(crate) fn wait(fd: RawFd) -> bool {
    let mut byte = 0_u8;
    loop {
        // SAFETY: reads one byte into a live variable.
        let read = unsafe { libc::read(fd, (&raw mut byte).cast(), 1) };
        if read >= 0 || errno() != libc::EINTR {
            return read == 1;
        }
    }
}

/// Writes a short message whole: a pipe takes what is below PIPE_BUF in one piece.
pub(crate) fn write(fd: RawFd, bytes: &[u8]) {
    // SAFETY: the pointer and length are a live slice's.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
}

pub(crate) fn close(fd: RawFd) {
    // SAFETY: a plain number; the child owns its whole descriptor table.
    unsafe { libc::close(fd) };
}

/// Ends without running anybody's exit handlers.
pub(crate) fn leave() -> ! {
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(127) }
}
