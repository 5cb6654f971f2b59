//! Who a process is, in a form that outlives every descriptor and that no recycled pid can fake.

use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys::pidfd::{self, Pidfd};
use crate::sys::stat::Stat;
use crate::sys::{boot, clock, pidfs};
use crate::{ProcessHandle, Signal, SignalError};

/// Which process a pid meant: enough to recognise it later, from another process, and never mistake a successor.
///
/// A pid is a number that may be reused. The record holds the boot, the pid namespace, the number, the *raw* start
/// time (clock ticks since boot, never a wall-clock time, which a clock step would change) and, where the kernel has
/// them, the pidfs inode (never used twice until the next boot) and the pidfs file handle (reopens the process
/// itself). It is plain data: save it, and [`open`](Self::open) it after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Identity {
    /// The number, in the pid namespace `pid_ns`.
    pub pid: u32,
    /// When it started, in clock ticks since boot; on macOS in microseconds, by the clock of that moment.
    pub start_ticks: u64,
    /// The boot it lives in: `/proc/sys/kernel/random/boot_id`, on macOS `kern.bootsessionuuid`.
    pub boot_id: String,
    /// The inode of the pid namespace in which `pid` is its number; 0 is unknown.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub pid_ns: u64,
    /// The pidfs inode (Linux 6.9); on macOS the kernel's unique number of the process, which is never used twice either.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub pidfs_ino: Option<u64>,
    /// The pidfs file handle in hex, type first (Linux 6.14).
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub handle: Option<String>,
}

#[cfg(feature = "serde")]
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Whether the process of an [`Identity`] lives, and how that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It runs (or is stopped); also when it belongs to another user.
    Alive {
        /// How we know.
        reason: String,
    },
    /// It has ended: gone, replaced by another process, or a zombie.
    Dead {
        /// How we know.
        reason: String,
    },
    /// Something has its number, but what cannot be looked at from here.
    Unknown {
        /// What stands in the way.
        reason: String,
    },
}

impl Liveness {
    /// Says whether it is known to live.
    pub const fn is_alive(&self) -> bool {
        matches!(self, Self::Alive { .. })
    }

    /// Returns how we know.
    pub fn reason(&self) -> &str {
        match self {
            Self::Alive { reason } | Self::Dead { reason } | Self::Unknown { reason } => reason,
        }
    }
}

/// The identity of a process could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No process has this number.
    #[error("no process has pid {pid}")]
    NotFound {
        /// The number.
        pid: u32,
    },
    /// The process exists, but may not be looked at.
    #[error("process {pid} cannot be inspected")]
    NotInspectable {
        /// The number.
        pid: u32,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

/// The process of an identity could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It has ended.
    #[error("process {pid} has ended: {reason}")]
    Dead {
        /// The number it had.
        pid: u32,
        /// How we know.
        reason: String,
    },
    /// Something has its number, but whether it is the same process cannot be told.
    #[error("process {pid} cannot be verified: {reason}")]
    Unverified {
        /// The number.
        pid: u32,
        /// What stands in the way.
        reason: String,
    },
    /// The system refused.
    #[error("process {pid} cannot be opened")]
    System {
        /// The number.
        pid: u32,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

/// The inode of the machine's first pid namespace: `PID_NS_INIT_INO` of `linux/nsfs.h`.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// One way to reopen a process; each next one is for older kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenStep {
    /// By pidfs file handle: the kernel itself finds the process (6.14).
    Handle,
    /// By number, then the pidfs inode must agree (6.9).
    Inode,
    /// By number, with the start time read before and after (5.3).
    Ticks,
    /// No pidfd: the start time is compared, then the number is used (before 5.3; a race of microseconds).
    Number,
}

/// How [`Identity::open_with`] goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// Takes this way only, as if the kernel or the record had no other; for tests and for diagnosis.
    pub force_step: Option<OpenStep>,
    /// Compares the start time as well where a stronger means already tells the process: for a record that somebody hands
    /// in, which may have been put together from two. Costs a look into `/proc`.
    pub every_field: bool,
}

/// What one step says.
enum Step {
    Opened(Pidfd),
    Dead(String),
    Unverified(String),
    /// The kernel, the record or a sandbox has no such way.
    Unavailable,
}

impl Identity {
    /// Takes the identity of whatever has this number now.
    ///
    /// Where the kernel has no pidfs, this takes up to 10 ms: see [`of_with`](Self::of_with).
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when nothing has it, [`IdentityError::NotInspectable`] when it may not be looked
    /// at (another user's process under `hidepid`).
    pub fn of(pid: u32) -> Result<Self, IdentityError> {
        Self::of_with(pid, OpenOptions::default())
    }

    /// Takes the identity as a kernel would that has no more than the forced way needs; for tests and diagnosis.
    ///
    /// Number and start time alone name one process only if it was seen alive after the clock tick of its start:
    /// within that tick its number could be given away. So without pidfs this waits until the tick is over.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_with(pid: u32, options: OpenOptions) -> Result<Self, IdentityError> {
        match pidfd::open(pid) {
            Ok(fd) => Self::of_fd(pid, &fd, options),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ESRCH | libc::EINVAL | libc::ENOENT) | None
                ) =>
            {
                Err(IdentityError::NotFound { pid })
            }
            // A kernel or a sandbox without pidfds: the start time alone.
            Err(_) => {
                let stat = read_stat(pid)?;
                Ok(Self::from_ticks(pid, stat.start_ticks))
            }
        }
    }

    /// Takes the identity of the calling process.
    ///
    /// # Errors
    /// [`IdentityError::NotInspectable`] without `/proc`.
    pub fn current() -> Result<Self, IdentityError> {
        Self::of(std::process::id())
    }

    /// Takes the identity of an open process. What `/proc` says under the number is this process exactly if it has
    /// not been reaped afterwards: until then the number is its own.
    pub(crate) fn of_fd(pid: u32, fd: &Pidfd, options: OpenOptions) -> Result<Self, IdentityError> {
        let stat = read_stat(pid)?;
        let mut identity = Self::from_ticks(pid, stat.start_ticks);
        let allows = |step| options.force_step.is_none_or(|forced| forced == step);
        if allows(OpenStep::Inode) || allows(OpenStep::Handle) {
            identity.pidfs_ino = pidfs::inode(fd);
        }
        if allows(OpenStep::Handle) && identity.pidfs_ino.is_some() {
            identity.handle = pidfs::handle(fd).map(|handle| handle.to_hex());
        }
        if identity.pidfs_ino.is_none() {
            outlast_tick(stat.start_ticks, fd);
        }
        if is_reaped(fd) {
            Err(IdentityError::NotFound { pid })
        } else {
            Ok(identity)
        }
    }

    fn from_ticks(pid: u32, start_ticks: u64) -> Self {
        Self {
            pid,
            start_ticks,
            boot_id: boot_id().to_owned(),
            pid_ns: pid_namespace(),
            pidfs_ino: None,
            handle: None,
        }
    }

    /// Opens the process, verified: through the result, signals reach it or nothing.
    ///
    /// A zombie opens; see [`liveness`](Self::liveness).
    ///
    /// # Errors
    /// [`OpenError::Dead`] when it has ended, also when its number has a new owner; [`OpenError::Unverified`] when
    /// that cannot be told from here.
    pub fn open(&self) -> Result<ProcessHandle, OpenError> {
        self.open_with(OpenOptions::default())
    }

    /// Opens the process in a given way; see [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(&self, options: OpenOptions) -> Result<ProcessHandle, OpenError> {
        let (pid, dead) = (self.pid, |reason: &str| OpenError::Dead {
            pid: self.pid,
            reason: reason.to_owned(),
        });
        if self.boot_id != boot_id() {
            return Err(dead("it belongs to an earlier boot"));
        }
        let steps = [OpenStep::Handle, OpenStep::Inode, OpenStep::Ticks];
        for step in steps
            .into_iter()
            .filter(|step| options.force_step.is_none_or(|forced| forced == *step))
        {
            let outcome = match step {
                OpenStep::Handle => self.by_handle(),
                OpenStep::Inode => self.by_inode(),
                OpenStep::Ticks | OpenStep::Number => self.by_ticks(),
            };
            match outcome.map_err(|source| OpenError::System { pid, source })? {
                Step::Opened(fd) => {
                    let handle = ProcessHandle::verified(fd, self)?;
                    return if options.every_field {
                        self.agreeing(handle)
                    } else {
                        Ok(handle)
                    };
                }
                Step::Dead(reason) => return Err(OpenError::Dead { pid, reason }),
                Step::Unverified(reason) => return Err(OpenError::Unverified { pid, reason }),
                Step::Unavailable => {}
            }
        }
        Err(OpenError::Unverified {
            pid,
            reason: "this kernel or sandbox has no pidfd".to_owned(),
        })
    }

    /// Refuses a process that did not start when the record says.
    fn agreeing(&self, handle: ProcessHandle) -> Result<ProcessHandle, OpenError> {
        let pid = handle.pid();
        match read_stat(pid) {
            Ok(stat) if stat.start_ticks != self.start_ticks => Err(OpenError::Unverified {
                pid: self.pid,
                reason: contradiction("start time"),
            }),
            Err(IdentityError::NotFound { .. }) => Err(OpenError::Dead {
                pid: self.pid,
                reason: "it ended just now".to_owned(),
            }),
            Ok(_) | Err(IdentityError::NotInspectable { .. }) => Ok(handle),
        }
    }

    fn by_handle(&self) -> io::Result<Step> {
        let Some(handle) = self.handle.as_deref() else {
            return Ok(Step::Unavailable);
        };
        let Some(handle) = pidfs::FileHandle::from_hex(handle) else {
            return Ok(Step::Unverified("the record's handle is none".to_owned()));
        };
        match pidfs::open(&handle) {
            Ok(fd) => Ok(match self.contradicted_by(&fd) {
                Some(field) => Step::Unverified(contradiction(field)),
                None => Step::Opened(fd),
            }),
            Err(error) => match error.raw_os_error() {
                Some(libc::ESTALE | libc::ESRCH) => Ok(self.out_of_sight().map_or_else(
                    || Step::Dead("the kernel has reaped it".to_owned()),
                    Step::Unverified,
                )),
                Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Err(error),
                _ => Ok(Step::Unavailable),
            },
        }
    }

    /// Returns what of this record is not so of the process that its handle has opened.
    fn contradicted_by(&self, fd: &Pidfd) -> Option<&'static str> {
        let inode = pidfs::inode_of_opened(fd);
        if self.pidfs_ino.is_some() && inode.is_some() && inode != self.pidfs_ino {
            return Some("inode");
        }
        // In another namespace it has another number.
        let elsewhere = self.pid_ns == 0 || self.foreign_namespace().is_some();
        let other = |found: u32| found != self.pid;
        (!elsewhere && pidfd::pid_of(fd).is_ok_and(other)).then_some("pid")
    }

    fn by_inode(&self) -> io::Result<Step> {
        let Some(ino) = self.pidfs_ino else {
            return Ok(Step::Unavailable);
        };
        if let Some(reason) = self.foreign_namespace() {
            return Ok(Step::Unverified(reason));
        }
        let fd = match open_number(self.pid)? {
            Ok(fd) => fd,
            Err(step) => return Ok(step),
        };
        Ok(match pidfs::inode(&fd) {
            Some(found) if found == ino => Step::Opened(fd),
            Some(_) => Step::Dead("its number belongs to another process now".to_owned()),
            // The same boot is the same kernel, which had inodes when the record was made.
            None => Step::Unverified("its pidfs inode cannot be read here".to_owned()),
        })
    }

    fn by_ticks(&self) -> io::Result<Step> {
        if let Some(reason) = self.foreign_namespace() {
            return Ok(Step::Unverified(reason));
        }
        let fd = match open_number(self.pid)? {
            Ok(fd) => fd,
            Err(step) => return Ok(step),
        };
        // The number was this pidfd's own while we read it, if it has not been reaped after the reading.
        let compared = self.compare_ticks();
        if is_reaped(&fd) {
            return Ok(Step::Dead("it ended just now".to_owned()));
        }
        // A record with an inode may have been made in the tick of its start, where the start time says too little.
        if self
            .pidfs_ino
            .is_some_and(|ino| pidfs::inode(&fd) != Some(ino))
        {
            return Ok(Step::Dead(
                "its number belongs to another process now".to_owned(),
            ));
        }
        Ok(compared.unwrap_or(Step::Opened(fd)))
    }

    /// Compares the start time of whatever has the number; `None` when it agrees.
    fn compare_ticks(&self) -> Option<Step> {
        match read_stat(self.pid) {
            Ok(stat) if stat.start_ticks == self.start_ticks => None,
            Ok(_) => Some(Step::Dead(
                "its number belongs to another process now".to_owned(),
            )),
            Err(IdentityError::NotFound { .. }) => {
                Some(Step::Dead("no process has its number".to_owned()))
            }
            Err(IdentityError::NotInspectable { pid, source }) => Some(Step::Unverified(format!(
                "`/proc/{pid}/stat` is not readable: {source}"
            ))),
        }
    }

    /// Returns why the kernel answers as if it had reaped a process that may live: to a pid namespace those outside of it
    /// do not exist. The first namespace is outside of every other; of any other one that is gone nothing lives.
    fn out_of_sight(&self) -> Option<String> {
        self.foreign_namespace()
            .filter(|_| self.pid_ns == FIRST_NAMESPACE)
    }

    fn foreign_namespace(&self) -> Option<String> {
        let own = pid_namespace();
        (self.pid_ns != 0 && own != 0 && self.pid_ns != own).then(|| {
            format!(
                "its number belongs to pid namespace {}, ours is {own}",
                self.pid_ns
            )
        })
    }

    /// Sends a signal to the process or to nothing: opens it, and sends through the handle.
    ///
    /// # Errors
    /// [`SignalError::NoSuchProcess`] when it has ended, [`SignalError::PermissionDenied`] when it may not be
    /// signalled, [`SignalError::Unverified`] when it cannot be told from a stranger.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        self.signal_with(signal, OpenOptions::default())
    }

    /// Sends a signal in a given way; see [`signal`](Self::signal).
    ///
    /// Where the system has no pidfds at all (or [`OpenStep::Number`] is forced) the start time is compared and the
    /// number used at once, which leaves a race of microseconds.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn signal_with(&self, signal: Signal, options: OpenOptions) -> Result<(), SignalError> {
        let by_number = match options.force_step {
            Some(step) => step == OpenStep::Number,
            None => !pidfds_work(),
        };
        if !by_number {
            return match self.open_with(options) {
                Ok(handle) => handle.signal(signal),
                Err(OpenError::Dead { pid, .. }) => Err(SignalError::NoSuchProcess { pid }),
                Err(OpenError::Unverified { pid, reason }) => {
                    Err(SignalError::Unverified { pid, reason })
                }
                Err(OpenError::System { pid, source }) => Err(SignalError::System {
                    pid,
                    signal,
                    source,
                }),
            };
        }
        let pid = self.pid;
        if self.boot_id != boot_id() {
            return Err(SignalError::NoSuchProcess { pid });
        }
        if let Some(reason) = self.foreign_namespace() {
            return Err(SignalError::Unverified { pid, reason });
        }
        match self.compare_ticks() {
            // As in `by_ticks`: such a record is not safe with its start time alone.
            None if self.pidfs_ino.is_some() => Err(SignalError::Unverified {
                pid,
                reason: "its record needs pidfs, which is not used here".to_owned(),
            }),
            None => pidfd::kill_number(pid, signal)
                .map_err(|error| SignalError::from_io(pid, signal, error)),
            Some(Step::Unverified(reason)) => Err(SignalError::Unverified { pid, reason }),
            Some(_) => Err(SignalError::NoSuchProcess { pid }),
        }
    }

    /// Tells whether the process lives, and how that was found out.
    ///
    /// Another user's process is alive, a zombie is dead, and what cannot be inspected is said to be so.
    pub fn liveness(&self) -> Liveness {
        self.liveness_with(OpenOptions::default())
    }

    /// Tells whether the process lives, opened in a given way; see [`liveness`](Self::liveness).
    pub fn liveness_with(&self, options: OpenOptions) -> Liveness {
        let handle = match self.open_with(options) {
            Ok(handle) => handle,
            Err(OpenError::Dead { reason, .. }) => return Liveness::Dead { reason },
            Err(OpenError::Unverified { reason, .. }) => return Liveness::Unknown { reason },
            Err(OpenError::System { source, .. }) => {
                return Liveness::Unknown {
                    reason: source.to_string(),
                };
            }
        };
        handle.liveness()
    }

    /// Says whether two records mean the same process.
    ///
    /// The pidfs inode decides where both have one, then the start time under the same number and namespace.
    pub fn same_process(&self, other: &Self) -> bool {
        if self.boot_id != other.boot_id {
            return false;
        }
        if let (Some(mine), Some(theirs)) = (self.pidfs_ino, other.pidfs_ino) {
            return mine == theirs;
        }
        let same_namespace = self.pid_ns == 0 || other.pid_ns == 0 || self.pid_ns == other.pid_ns;
        same_namespace && self.pid == other.pid && self.start_ticks == other.start_ticks
    }
}

/// Opens a number; the inner error is a verdict.
fn open_number(pid: u32) -> io::Result<Result<Pidfd, Step>> {
    match pidfd::open(pid) {
        Ok(fd) => Ok(Ok(fd)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ESRCH) => Ok(Err(Step::Dead("no process has its number".to_owned()))),
            // EINVAL, or ENOENT on newer kernels: the number is a thread now, so the process is gone.
            Some(libc::EINVAL | libc::ENOENT) => {
                Ok(Err(Step::Dead("its number is not a process".to_owned())))
            }
            None => Ok(Err(Step::Dead("its number is not a process".to_owned()))),
            Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => Ok(Err(Step::Unavailable)),
            _ => Err(error),
        },
    }
}

/// Says whether pidfds can be had at all; asked once, about ourselves.
fn pidfds_work() -> bool {
    static WORK: OnceLock<bool> = OnceLock::new();
    *WORK.get_or_init(|| {
        pidfd::open(std::process::id())
            .is_ok_and(|fd| pidfd::send(&fd, Signal::PROBE, pidfd::Whom::Process).is_ok())
    })
}

/// Waits, at most 10 ms and not longer than the process lives, until the clock tick of its start is over.
fn outlast_tick(start_ticks: u64, fd: &Pidfd) {
    let deadline = Instant::now() + Duration::from_millis(20);
    while clock::ticks_since_boot() <= start_ticks && Instant::now() < deadline {
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        match poll(&mut fds, Some(&tick)) {
            Ok(0) | Err(_) => {}
            // It has ended; its number is safe until it is reaped, and after that nobody opens it by this record,
            // unless it is given away within what is left of the tick: so that has to pass all the same.
            Ok(_) => {
                let mut none = [];
                let _only_the_time = poll(&mut none, Some(&tick));
            }
        }
    }
}

fn is_reaped(fd: &Pidfd) -> bool {
    pidfd::send(fd, Signal::PROBE, pidfd::Whom::Process)
        .is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

fn contradiction(field: &str) -> String {
    format!("the record's handle and its {field} contradict each other")
}

/// Reads a process's stat line and tells "gone" from "hidden from us".
fn read_stat(pid: u32) -> Result<Stat, IdentityError> {
    Stat::of(pid).map_err(|source| {
        let gone = source.kind() == io::ErrorKind::NotFound
            && pidfd::kill_number(pid, Signal::PROBE)
                .is_err_and(|error| error.raw_os_error() != Some(libc::EPERM));
        if gone {
            IdentityError::NotFound { pid }
        } else {
            IdentityError::NotInspectable { pid, source }
        }
    })
}

/// The id of this boot; empty without `/proc`, where nothing else can be verified either.
pub(crate) fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(boot::id)
}

/// The inode of our pid namespace, 0 when unknown.
pub(crate) fn pid_namespace() -> u64 {
    static NAMESPACE: OnceLock<u64> = OnceLock::new();
    *NAMESPACE.get_or_init(boot::pid_namespace)
}
