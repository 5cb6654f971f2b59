//! A process held by kqueue and by the kernel's unique number: what stands for a pidfd.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::RecvFlags;
use rustix::process::WaitId;

pub(crate) use crate::sys::kill::{kill_group_number, kill_number};

use super::info;
use super::stat::Stat;
use crate::Signal;

/// Who a signal is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The process.
    Process,
    /// The process group whose id is the process's number.
    Group,
}

/// A process: a kqueue that is readable once it has exited, and what tells it from later owners of its number.
#[derive(Debug)]
pub(crate) struct Pidfd {
    queue: OwnedFd,
    pid: u32,
    unique: u64,
}

impl Pidfd {
    /// Makes another handle of the same process.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            queue: self.queue.try_clone()?,
            ..*self
        })
    }

    /// The kernel's unique number.
    pub(super) const fn unique(&self) -> u64 {
        self.unique
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// Opens a process by number, also a zombie. The number must be verified afterwards.
///
/// What is watched is the process with the unique number: that is read before the watch begins and once more after, and a
/// number that was given away between the two is a process that is gone.
pub(crate) fn open(pid: u32) -> io::Result<Pidfd> {
    let unique = info::unique(pid)?;
    let queue = watch(pid)?;
    if info::unique(pid)? != unique {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(Pidfd { queue, pid, unique })
}

/// Makes a kqueue that is readable once the process has exited. The event is never taken out, so it stays readable.
fn watch(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes nothing.
    let queue = unsafe { libc::kqueue() };
    if queue < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    let queue = unsafe { OwnedFd::from_raw_fd(queue) };
    rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
    match add(&queue, pid as usize, libc::EVFILT_PROC, libc::NOTE_EXIT) {
        // A zombie cannot be watched; that it has exited is known.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
            add(&queue, 0, libc::EVFILT_USER, 0)?;
            trigger(&queue)?;
        }
        result => result?,
    }
    Ok(queue)
}

fn add(queue: &OwnedFd, ident: usize, filter: i16, fflags: u32) -> io::Result<()> {
    change(queue, ident, filter, libc::EV_ADD, fflags)
}

fn trigger(queue: &OwnedFd) -> io::Result<()> {
    change(queue, 0, libc::EVFILT_USER, 0, libc::NOTE_TRIGGER)
}

fn change(queue: &OwnedFd, ident: usize, filter: i16, flags: u16, fflags: u32) -> io::Result<()> {
    let event = libc::kevent {
        ident,
        filter,
        flags,
        fflags,
        data: 0,
        udata: std::ptr::null_mut(),
    };
    // SAFETY: one live change, and no room for events, so none is taken.
    let done = unsafe {
        libc::kevent(
            queue.as_raw_fd(),
            &raw const event,
            1,
            std::ptr::null_mut(),
            0,
            std::ptr::null(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sends a signal; 0 only checks that the process has not been reaped, or that somebody is in the group.
///
/// The unique number is compared and the number used at once, which leaves a race of microseconds.
pub(crate) fn send(fd: &Pidfd, signal: Signal, whom: Whom) -> io::Result<()> {
    let gone = || Err(io::Error::from_raw_os_error(libc::ESRCH));
    let holder = info::unique(fd.pid);
    let same = holder.as_ref().is_ok_and(|unique| *unique == fd.unique);
    if whom == Whom::Group {
        // No new process gets a number that is a group's: as long as nobody else holds it, the group is still the one that
        // this process led, reaped or not.
        return if same || holder.is_err() {
            send_to_group(fd.pid, signal, same)
        } else {
            gone()
        };
    }
    if !same {
        return gone();
    }
    match kill_number(fd.pid, signal) {
        // A zombie takes any signal without effect; this kernel calls it gone.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) && is_still(fd) => Ok(()),
        result => result,
    }
}

fn is_still(fd: &Pidfd) -> bool {
    info::unique(fd.pid).is_ok_and(|unique| unique == fd.unique)
}

/// This kernel says EPERM of a group in which there are zombies only; `led`: its leader is among them, which is no error.
fn send_to_group(pgid: u32, signal: Signal, led: bool) -> io::Result<()> {
    let living =
        |pid: &u32| Stat::of(*pid).is_ok_and(|stat| stat.pgid == pgid && !stat.is_zombie());
    match kill_group_number(pgid, signal) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            match info::pids()?.iter().any(living) {
                true => Err(error),
                false if led => Ok(()),
                false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            }
        }
        result => result,
    }
}

/// Names a child for `waitid`: unreaped, its number is its own.
pub(crate) fn wait_id(child: &Pidfd) -> WaitId<'_> {
    let pid = rustix::process::Pid::from_raw(child.pid.cast_signed());
    WaitId::Pid(pid.expect("a process that was opened has a positive number"))
}

/// What [`to_owned`] writes: the pid and the unique number.
const WRITTEN: usize = size_of::<u32>() + size_of::<u64>();

/// Returns a descriptor that [`from_owned`] takes, also after it was sent over a socket, which a kqueue cannot be.
///
/// It is a socket whose other end has written who the process is and was closed.
pub(crate) fn to_owned(fd: &Pidfd) -> io::Result<OwnedFd> {
    let (read, mut write) = UnixStream::pair()?;
    let mut who = [0; WRITTEN];
    let (pid, unique) = who.split_at_mut(size_of::<u32>());
    pid.copy_from_slice(&fd.pid.to_ne_bytes());
    unique.copy_from_slice(&fd.unique.to_ne_bytes());
    write.write_all(&who)?;
    Ok(read.into())
}

/// Opens the process that a descriptor of [`to_owned`] says. What it says stays in it, so it can be asked again.
pub(crate) fn from_owned(fd: OwnedFd) -> io::Result<Pidfd> {
    let no_process = || io::Error::from_raw_os_error(libc::EBADF);
    let mut who = [0; WRITTEN];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (read, _) = rustix::net::recv(&fd, &mut who, flags).map_err(|_| no_process())?;
    let (Some((pid, unique)), WRITTEN) = (who.split_first_chunk(), read) else {
        return Err(no_process());
    };
    let unique = <[u8; 8]>::try_from(unique).map_err(|_| no_process())?;
    let process = open(u32::from_ne_bytes(*pid))?;
    if process.unique == u64::from_ne_bytes(unique) {
        Ok(process)
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

/// Gives up the descriptor: readable once the process has exited, and good for nothing else.
pub(crate) fn into_owned(fd: Pidfd) -> OwnedFd {
    fd.queue
}

/// Returns the number of the process.
pub(crate) fn pid_of(fd: &Pidfd) -> io::Result<u32> {
    Ok(fd.pid)
}

/// Nobody but its parent learns how a process ended.
pub(crate) const fn exit_status(_fd: &Pidfd) -> Option<i32> {
    None
}

/// See [`exit_status`].
pub(crate) const fn has_exit_status(_fd: &Pidfd) -> bool {
    false
}
