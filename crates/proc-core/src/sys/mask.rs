//! Which signals wait.

use std::mem::MaybeUninit;

/// Unblocks every signal, whatever this program was started with: for the calling thread and the threads it starts later.
///
/// A signal that is blocked waits, and whoever waits for it waits too. Meant for the beginning of `main`, before there are
/// other threads; what was sent meanwhile arrives at once.
///
/// Source: pthread_sigmask(3).
pub fn unblock_signals() {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set it is given and cannot fail; the old mask is not wanted. Setting a mask
    // fails for an unknown `how` alone.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}
