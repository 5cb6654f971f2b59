//! The queue of `init`'s signals: blocked, and taken by sigtimedwait(2).

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::sys::init::{check, full_set};

/// The blocked signals of this process, which wait to be taken.
#[derive(Debug)]
pub(crate) struct Signals(());

impl Signals {
    /// Begins to queue them; all are blocked already.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Takes the next signal from the queue; `None` when the time is up first. `None` as limit waits for ever.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Option<i32> {
        let set = full_set();
        let timeout = limit.map(|limit| libc::timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i32::MAX.into()),
            tv_nsec: libc::c_long::from(limit.subsec_nanos().cast_signed()),
        });
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        loop {
            // SAFETY: `set` is initialised, `timeout` is null or lives until the end of this function, no siginfo is wanted.
            let signal =
                unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), timeout) };
            if signal > 0 {
                return Some(signal);
            }
            // EINTR: stopped and continued. The one other error is EAGAIN, time is up.
            if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                return None;
            }
        }
    }

    /// Throws away what the release of the terminal has sent.
    pub(crate) fn forget_release(&self) {
        let mut set = MaybeUninit::uninit();
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the set is initialised by `sigemptyset`, the timeout outlives the calls.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGHUP);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGCONT);
            while libc::sigtimedwait(set.as_ptr(), std::ptr::null_mut(), &raw const at_once) > 0 {}
        }
    }
}

/// Arranges for a signal to this process when its parent dies. The main thread calls this, as the kernel counts by thread.
pub(crate) fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) }).map(drop)
}
