//! Who has ended, before and while it is reaped.

use std::io;
use std::mem::MaybeUninit;

use rustix::io::Errno;
use rustix::process::{WaitIdOptions, WaitIdStatus, waitid};

use super::pidfd::{Pidfd, wait_id};
use crate::{ProcessEnd, Signal};

/// Returns a child that has ended, leaving it a zombie whose number is still its own; `ECHILD` when there is no child.
pub(crate) fn ended_child() -> Result<Option<u32>, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is valid for writes, and all zeroes, which stay where nobody has ended, are a valid siginfo whose
    // pid is 0; a filled one is that of a SIGCHLD, which has a pid.
    let pid = unsafe {
        if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) != 0 {
            let errno = io::Error::last_os_error().raw_os_error();
            return Err(Errno::from_raw_os_error(errno.unwrap_or(libc::EIO)));
        }
        info.assume_init().si_pid()
    };
    Ok(u32::try_from(pid).ok().filter(|pid| *pid > 0))
}

/// Reaps one child, named so that a stranger's status is never taken; `None` while it runs.
pub(crate) fn child(child: &Pidfd) -> io::Result<Option<ProcessEnd>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        match waitid(wait_id(child), options) {
            Ok(status) => return Ok(status.and_then(|status| end_of(&status))),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Turns a status into our words.
fn end_of(status: &WaitIdStatus) -> Option<ProcessEnd> {
    if let Some(code) = status.exit_status() {
        return Some(ProcessEnd::Exited(code));
    }
    let signal = Signal::from_raw(status.terminating_signal()?)?;
    Some(ProcessEnd::Signaled {
        signal,
        core_dumped: status.dumped(),
    })
}
