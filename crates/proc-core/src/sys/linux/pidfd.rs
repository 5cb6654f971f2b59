//! Pidfds: what rustix does not have.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};

use rustix::process::WaitId;

pub(crate) use crate::sys::kill::{kill_group_number, kill_number};

use crate::Signal;

/// A process: a descriptor that is readable once it has exited.
pub(crate) type Pidfd = OwnedFd;

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
struct Info {
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    exit_code: i32,
}

/// `Info::mask`: pid, tgid and ppid are set.
const INFO_PID: u64 = 1 << 0;
/// `Info::mask`: the exit status is set.
const INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: u32 = (3 << 30) | (64 << 16) | (0xff << 8) | 11;

/// Opens a process by number. The number must be verified afterwards.
pub(crate) fn open(pid: u32) -> io::Result<Pidfd> {
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
pub(crate) fn send(fd: &Pidfd, signal: Signal, whom: Whom) -> io::Result<()> {
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
fn info(fd: &Pidfd, mask: u64) -> io::Result<Info> {
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

/// Names a child for `waitid`.
pub(crate) fn wait_id(child: &Pidfd) -> WaitId<'_> {
    WaitId::PidFd(child.as_fd())
}

/// Takes over a descriptor that came from elsewhere; [`pid_of`] tells whether it is a process.
pub(crate) fn from_owned(fd: OwnedFd) -> io::Result<Pidfd> {
    Ok(fd)
}

/// Returns a descriptor that [`from_owned`] takes.
pub(crate) fn to_owned(fd: &Pidfd) -> io::Result<OwnedFd> {
    fd.try_clone()
}

/// Gives up the descriptor.
pub(crate) fn into_owned(fd: Pidfd) -> OwnedFd {
    fd
}

/// Returns the wait status of a process that ended, where the kernel tells a non-parent.
pub(crate) fn exit_status(fd: &Pidfd) -> Option<i32> {
    let info = info(fd, INFO_EXIT).ok()?;
    (info.mask & INFO_EXIT != 0).then_some(info.exit_code)
}

/// Says whether the kernel knows such statuses at all.
pub(crate) fn has_exit_status(fd: &Pidfd) -> bool {
    info(fd, INFO_EXIT).is_ok()
}

/// Asks for the number of a pidfd's process in our namespace.
pub(crate) fn pid_of(fd: &Pidfd) -> io::Result<u32> {
    if let Ok(info) = info(fd, INFO_PID)
        && info.mask & INFO_PID != 0
        && info.pid != 0
    {
        return Ok(info.pid);
    }
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    match line.and_then(|pid| pid.trim().parse::<i64>().ok()) {
        Some(pid) if pid > 0 => u32::try_from(pid).map_err(|_| io::ErrorKind::InvalidData.into()),
        Some(_) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the descriptor is no pidfd",
        )),
    }
}
