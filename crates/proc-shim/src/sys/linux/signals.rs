//! Ends of children as a descriptor: signalfd(2).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// The highest number of a signal.
pub(crate) fn last_signal() -> libc::c_int {
    libc::SIGRTMAX()
}

/// Ignores what must not end the shim, and returns a descriptor that is readable when children change.
pub(crate) fn prepare_signals() -> io::Result<OwnedFd> {
    crate::sys::set_dispositions();
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is initialised by `sigemptyset` before any other use; the process has one thread at this point.
    let fd = unsafe {
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

/// Makes it unreadable until children change again.
pub(crate) fn drain_child_events(children: &OwnedFd) {
    let mut info = [0_u8; 1024];
    while rustix::io::read(children, &mut info).is_ok_and(|read| read == info.len()) {}
}
