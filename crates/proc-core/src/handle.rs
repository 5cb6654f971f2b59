//! A process held by a verified pidfd: the one way to signal it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys::pidfd::{self, Pidfd, Whom};
use crate::sys::pidfs;
use crate::{Identity, IdentityError, Liveness, OpenError, ProcessEnd, Signal};

/// A process itself, not its number: a verified pidfd.
///
/// Signals reach this process or nothing, also after it was reaped and its number given away. Get one from
/// [`Identity::open`], [`Child::handle`](crate::Child::handle), or a descriptor received over a socket.
#[derive(Debug)]
pub struct ProcessHandle {
    fd: Pidfd,
    identity: Identity,
}

/// A signal could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The process has ended and was reaped (or, for a group, nobody is left in it).
    #[error("process {pid} has ended")]
    NoSuchProcess {
        /// The number it had.
        pid: u32,
    },
    /// The caller may not signal it.
    #[error("no permission to send {signal} to process {pid}")]
    PermissionDenied {
        /// The number.
        pid: u32,
        /// The signal.
        signal: Signal,
    },
    /// It cannot be told from a stranger, so nothing was sent.
    #[error("process {pid} cannot be verified: {reason}")]
    Unverified {
        /// The number.
        pid: u32,
        /// What stands in the way.
        reason: String,
    },
    /// The system refused.
    #[error("failed to send {signal} to process {pid}")]
    System {
        /// The number.
        pid: u32,
        /// The signal.
        signal: Signal,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

impl SignalError {
    pub(crate) fn from_io(pid: u32, signal: Signal, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ESRCH) => Self::NoSuchProcess { pid },
            Some(libc::EPERM) => Self::PermissionDenied { pid, signal },
            _ => Self::System {
                pid,
                signal,
                source,
            },
        }
    }
}

impl ProcessHandle {
    /// Opens whatever has this number now; to reopen a known process use [`Identity::open`].
    ///
    /// # Errors
    /// [`IdentityError`] when nothing has the number or it may not be looked at.
    pub fn of(pid: u32) -> Result<Self, IdentityError> {
        let fd = pidfd::open(pid).map_err(|source| match source.raw_os_error() {
            Some(libc::ESRCH | libc::EINVAL | libc::ENOENT) | None => {
                IdentityError::NotFound { pid }
            }
            _ => IdentityError::NotInspectable { pid, source },
        })?;
        let identity = Identity::of_fd(pid, &fd, crate::OpenOptions::default())?;
        Ok(Self { fd, identity })
    }

    /// Returns a descriptor that can be sent over a socket, from which [`from_fd`](Self::from_fd) makes a handle again.
    ///
    /// A duplicate of the pidfd; on macOS, whose kqueues cannot be sent, a socket that holds the pid and the kernel's unique
    /// number.
    ///
    /// # Errors
    /// When descriptors run out.
    pub fn to_fd(&self) -> io::Result<OwnedFd> {
        pidfd::to_owned(&self.fd)
    }

    /// Takes over a pidfd, for example one received over a socket.
    ///
    /// # Errors
    /// When the descriptor is no pidfd, or its process has been reaped or lives in a namespace we cannot see.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let fd = pidfd::from_owned(fd)?;
        let pid = pidfd::pid_of(&fd)?;
        let identity = Identity::of_fd(pid, &fd, crate::OpenOptions::default()).map_err(
            |error| match error {
                IdentityError::NotFound { .. } => io::Error::from_raw_os_error(libc::ESRCH),
                IdentityError::NotInspectable { source, .. } => source,
            },
        )?;
        Ok(Self { fd, identity })
    }

    /// Takes over a pidfd whose process is on record, also when that has ended and was reaped: then the pidfs inode
    /// has to agree, and what is left to learn is [`exit_info`](Self::exit_info).
    ///
    /// # Errors
    /// As [`from_fd`](Self::from_fd), and `ESRCH` when the descriptor is another process's.
    pub fn from_fd_of(fd: OwnedFd, identity: &Identity) -> io::Result<Self> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        match Self::from_fd(fd.try_clone()?) {
            Ok(handle) if handle.identity.same_process(identity) => Ok(handle),
            Ok(_) => Err(gone()),
            Err(_) => {
                let fd = pidfd::from_owned(fd)?;
                match (pidfs::inode(&fd), identity.pidfs_ino) {
                    (Some(now), Some(then)) if now == then => Ok(Self {
                        fd,
                        identity: identity.clone(),
                    }),
                    _ => Err(gone()),
                }
            }
        }
    }

    /// Joins a verified pidfd with the record that was verified; the number is the one in our namespace.
    pub(crate) fn verified(fd: Pidfd, identity: &Identity) -> Result<Self, OpenError> {
        let mut identity = identity.clone();
        let own = crate::identity::pid_namespace();
        if identity.pid_ns != own {
            let pid = identity.pid;
            identity.pid =
                pidfd::pid_of(&fd).map_err(|source| OpenError::System { pid, source })?;
            identity.pid_ns = own;
        }
        Ok(Self { fd, identity })
    }

    /// Joins a child of ours, not yet reaped, with its pidfd.
    pub(crate) const fn of_child(fd: Pidfd, identity: Identity) -> Self {
        Self { fd, identity }
    }

    /// Returns the number it has (or had) in our pid namespace; for messages, never for signals.
    pub const fn pid(&self) -> u32 {
        self.identity.pid
    }

    pub(crate) const fn pidfd(&self) -> &Pidfd {
        &self.fd
    }

    /// Returns the record to save.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Sends a signal to the process, or to nothing.
    ///
    /// # Errors
    /// [`SignalError::NoSuchProcess`] once it was reaped. A zombie takes any signal without effect.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        pidfd::send(&self.fd, signal, Whom::Process)
            .map_err(|error| SignalError::from_io(self.pid(), signal, error))
    }

    /// Sends a signal to the process group that this process leads, also after the leader itself has ended.
    ///
    /// Before Linux 6.9 the group has to be named by number; then it is done only while the leader, perhaps as a
    /// zombie, still holds that number.
    ///
    /// # Errors
    /// [`SignalError::NoSuchProcess`] when nobody is in the group (for example because this process leads none).
    pub fn signal_group(&self, signal: Signal) -> Result<(), SignalError> {
        let pid = self.pid();
        match pidfd::send(&self.fd, signal, Whom::Group) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.signal(Signal::PROBE)?;
                pidfd::kill_group_number(pid, signal)
                    .map_err(|error| SignalError::from_io(pid, signal, error))
            }
            result => result.map_err(|error| SignalError::from_io(pid, signal, error)),
        }
    }

    /// Duplicates one of the process's descriptors, close-on-exec here: `pidfd_getfd(2)`.
    ///
    /// # Errors
    /// `EBADF` when it has no such descriptor, `ESRCH` when it has ended, `EPERM` when the kernel does not let us look
    /// into it.
    #[cfg(target_os = "linux")]
    pub fn duplicate_fd(&self, number: i32) -> io::Result<OwnedFd> {
        let flags = rustix::process::PidfdGetfdFlags::empty();
        Ok(rustix::process::pidfd_getfd(&self.fd, number, flags)?)
    }

    /// Waits until the process has exited, at most `timeout` (`None`: for ever); says whether it has.
    ///
    /// It works for any process, child or not, and does not reap. A child must still be reaped by its parent.
    ///
    /// # Errors
    /// Only when `poll(2)` fails, which it does for lack of memory.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says whether the process has exited, reaped or not.
    pub fn has_exited(&self) -> bool {
        self.wait(Some(Duration::ZERO)).unwrap_or(false)
    }

    /// Returns how it ended, where the kernel tells a non-parent: after it was reaped, since Linux 6.15.
    pub fn exit_info(&self) -> Option<ProcessEnd> {
        ProcessEnd::from_wait_status(pidfd::exit_status(&self.fd)?)
    }

    /// Tells whether the process lives, and how that was found out.
    pub fn liveness(&self) -> Liveness {
        match self.wait(Some(Duration::ZERO)) {
            Ok(true) => {
                let reaped = matches!(
                    self.signal(Signal::PROBE),
                    Err(SignalError::NoSuchProcess { .. })
                );
                let reason = if reaped {
                    "it has ended and was reaped"
                } else {
                    "zombie: it has ended and was not reaped yet"
                };
                return Liveness::Dead {
                    reason: reason.to_owned(),
                };
            }
            Ok(false) => {}
            Err(error) => {
                return Liveness::Unknown {
                    reason: error.to_string(),
                };
            }
        }
        let reason = match self.signal(Signal::PROBE) {
            Ok(()) => "it has not exited",
            Err(SignalError::PermissionDenied { .. }) => {
                "it has not exited; it belongs to another user (EPERM)"
            }
            Err(SignalError::NoSuchProcess { .. }) => {
                return Liveness::Dead {
                    reason: "it has ended and was reaped".to_owned(),
                };
            }
            Err(error) => {
                return Liveness::Unknown {
                    reason: error.to_string(),
                };
            }
        };
        Liveness::Alive {
            reason: reason.to_owned(),
        }
    }

    /// Makes another handle of the same process.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            identity: self.identity.clone(),
        })
    }

    /// Waits in a tokio runtime until the process has exited; does not reap. Dropping the future is fine.
    ///
    /// # Errors
    /// When no descriptor is left.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    #[cfg(feature = "async")]
    pub async fn exited(&self) -> io::Result<()> {
        // A descriptor of its own: two waiters of one process must not share a registration.
        crate::Readiness::new(self.fd.as_fd().try_clone_to_owned()?)?
            .readable()
            .await
    }
}

impl AsFd for ProcessHandle {
    /// Readable once the process has exited.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<ProcessHandle> for OwnedFd {
    fn from(handle: ProcessHandle) -> Self {
        pidfd::into_owned(handle.fd)
    }
}
