//! What a child does before exec: raw system calls, which leave `errno` alone. The shim, whose memory the child shares, has it
//! in the same place.

use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;

use libc::{c_int, c_void};
use proc_core::system_call;

use crate::sys::child::Pointers;

/// Makes a system call; `Err` is the error number.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {{
        // SAFETY: the arguments are numbers, or pointers to live values of the kernel's layout.
        unsafe { system_call(libc::$number, &[$($argument as usize),*]) }
    }};
}

/// Begins a child that runs a function on this stack, in our memory or in a copy of it. All signals are blocked in it, so that
/// no handler of ours runs there.
///
/// # Safety
/// `run` must expect `data` and never return or unwind; `top` must be the end of a stack that lives until it is done.
pub(crate) unsafe fn begin(
    run: extern "C" fn(*mut c_void) -> c_int,
    top: *mut c_void,
    data: *mut c_void,
    own_memory: bool,
) -> io::Result<u32> {
    let memory = if own_memory { 0 } else { libc::CLONE_VM };
    let before = block_all();
    // SAFETY: the caller's.
    let pid = unsafe { libc::clone(run, top, memory | libc::SIGCHLD, data) };
    let error = io::Error::last_os_error();
    restore(before);
    if pid < 0 {
        Err(error)
    } else {
        Ok(pid.cast_unsigned())
    }
}

/// Puts `from` at the exact number `to`, kept open over exec.
pub(crate) fn dup(from: RawFd, to: RawFd) -> Result<(), i32> {
    let done = if from == to {
        call!(SYS_fcntl, to, libc::F_SETFD, 0)
    } else {
        call!(SYS_dup3, from, to, 0)
    };
    done.map(drop)
}

/// Makes the terminal at this number the controlling one of the session that this process leads.
pub(crate) fn control_terminal(fd: RawFd) -> Result<(), i32> {
    call!(SYS_ioctl, fd, libc::TIOCSCTTY, 0).map(drop)
}

/// Enters a directory.
pub(crate) fn enter(path: &CStr) -> Result<(), i32> {
    call!(SYS_chdir, path.as_ptr()).map(drop)
}

/// Returns the process's number, asked anew.
pub(crate) fn own_pid() -> u32 {
    call!(SYS_getpid).map_or(0, |pid| pid as u32)
}

/// Executes a program; returns only if that failed. Both arrays must end with null.
pub(crate) fn execute(program: &CStr, argv: &Pointers, envp: &Pointers) -> i32 {
    call!(SYS_execve, program.as_ptr(), argv.as_ptr(), envp.as_ptr())
        .map_or_else(|error| error, |_| 0)
}

/// Waits for one byte: `false` at the end of file.
pub(crate) fn wait(fd: RawFd) -> bool {
    let mut byte = 0_u8;
    loop {
        match call!(SYS_read, fd, &raw mut byte, 1) {
            Err(libc::EINTR) => {}
            read => return read == Ok(1),
        }
    }
}

/// Writes a short message whole: a pipe takes what is below PIPE_BUF in one piece.
pub(crate) fn write(fd: RawFd, bytes: &[u8]) {
    let _nobody_reads = call!(SYS_write, fd, bytes.as_ptr(), bytes.len());
}

pub(crate) fn close(fd: RawFd) {
    let _not_open = call!(SYS_close, fd);
}

/// Ends without running anybody's exit handlers.
pub(crate) fn leave() -> ! {
    loop {
        let _never_returns = call!(SYS_exit_group, 127);
    }
}

/// Blocks every signal, libc's own included, and returns the mask from before.
fn block_all() -> u64 {
    let (all, mut old) = (u64::MAX, 0_u64);
    let _valid = call!(
        SYS_rt_sigprocmask,
        libc::SIG_SETMASK,
        &raw const all,
        &raw mut old,
        8
    );
    old
}

fn restore(old: u64) {
    let none = std::ptr::null_mut::<u64>();
    let _valid = call!(
        SYS_rt_sigprocmask,
        libc::SIG_SETMASK,
        &raw const old,
        none,
        8
    );
}
