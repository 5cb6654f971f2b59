//! Pidfds: what rustix does not have.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::Signal;

/// Who a signal sent through a pidfd is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The process.
    Process,
    /// The process group whose id is the process's number (Linux 6.9).
    Group,
}

/// The kernel's `struct pidfd_info`, first version (64 bytes).
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct Info {
    pub(crate) mask: u64,
    pub(crate) cgroup_id: u64,
    pub(crate) pid: u32,
    pub(crate) tgid: u32,
    pub(crate) ppid: u32,
    pub(crate) ruid: u32,
    pub(crate) rgid: u32,
    pub(crate) euid: u32,
    pub(crate) egid: u32,
    pub(crate) suid: u32,
    pub(crate) sgid: u32,
    pub(crate) fsuid: u32,
    pub(crate) fsgid: u32,
    pub(crate) exit_code: i32,
}

/// `Info::mask`: pid, tgid and ppid are set.
pub(crate) const INFO_PID: u64 = 1 << 0;
/// `Info::mask`: the exit status is set.
pub(crate) const INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: u32 = (3 << 30) | (64 << 16) | (0xff << 8) | 11;

/// Opens a process by number. The number must be verified afterwards.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(
        pid,
        rustix::process::PidfdFlags::empty(),
    )?)
}

/// Sends a signal; 0 only checks that the process has not been reaped.
pub(crate) fn send(fd: BorrowedFd<'_>, signal: Signal, whom: Whom) -> io::Result<()> {
    let flags: libc::c_uint = match whom {
        Whom::Process => 0,
        Whom::Group => libc::PIDFD_SIGNAL_PROCESS_GROUP,
    };
    // SAFETY: the descriptor is borrowed for the call, the siginfo pointer may be null by the manual.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd.as_raw_fd(),
            signal.raw(),
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Asks the kernel about the process (Linux 6.13; `INFO_EXIT` since 6.15).
pub(crate) fn info(fd: BorrowedFd<'_>, mask: u64) -> io::Result<Info> {
    let mut info = Info {
        mask,
        ..Info::default()
    };
    // SAFETY: `info` is a live `#[repr(C)]` value of exactly the size coded in `GET_INFO`.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(info)
    }
}

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
