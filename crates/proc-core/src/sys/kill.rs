//! Signals by number, for callers that know whose the number is.

use std::io;

use crate::Signal;

/// Sends a signal by number: only for a caller that has just verified the number and has no pidfd.
pub(crate) fn kill_number(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: `kill` takes plain numbers; `pid` is positive, so it names one process, never a group.
    let done = unsafe { libc::kill(pid, signal.raw()) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sends a signal to a process group by number: only while the caller knows that the number is still its group.
pub(crate) fn kill_group_number(pgid: u32, signal: Signal) -> io::Result<()> {
    let pgid = i32::try_from(pgid)
        .ok()
        .filter(|pgid| *pgid > 1)
        .ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: `kill` takes plain numbers; `-pgid` is below -1, so it names one group, never everybody.
    let done = unsafe { libc::kill(-pgid, signal.raw()) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
