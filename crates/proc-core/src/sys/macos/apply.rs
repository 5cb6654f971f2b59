//! What happens between fork and exec: async-signal-safe calls in a fixed order, no allocation, no lock.

use libc::c_int;

pub(crate) use crate::sys::prepared::{Failure, Prepared, Step};

use crate::{Resource, SessionMode};

/// The signals are 1 to 31.
const LAST_SIGNAL: c_int = 31;
/// More descriptors than this are not looked through, whatever the limit says.
const MOST_FDS: c_int = 1 << 20;

fn errno() -> i32 {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__error() }
}

fn check(result: c_int) -> Result<(), i32> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

impl Prepared {
    /// Applies everything to the calling process. What this system does not have fails with ENOTSUP.
    pub(crate) fn apply(&self) -> Result<(), Failure> {
        let at = |step, index| move |errno| Failure { step, index, errno };
        let missing = |step, asked: bool| {
            let failure = at(step, 0)(libc::ENOTSUP);
            if asked { Err(failure) } else { Ok(()) }
        };
        reset_signals().map_err(at(Step::Signals, 0))?;
        let session = match self.session {
            // SAFETY: numbers only.
            SessionMode::Group => unsafe { libc::setpgid(0, 0) },
            // SAFETY: takes and touches nothing of ours.
            SessionMode::Session => unsafe { libc::setsid() },
            SessionMode::Inherit => 0,
        };
        check(session).map_err(at(Step::Session, 0))?;
        missing(Step::Cgroup, self.cgroup.is_some())?;
        missing(Step::OomScoreAdj, self.oom_score_adj.is_some())?;
        if let Some(nice) = self.nice {
            // SAFETY: numbers only.
            check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })
                .map_err(at(Step::Nice, 0))?;
        }
        missing(Step::IoPriority, self.io_priority.is_some())?;
        missing(Step::CpuAffinity, self.cpus.is_some())?;
        for (index, (resource, soft, hard)) in self.limits.iter().enumerate() {
            set_limit(*resource, *soft, *hard).map_err(at(Step::Limit, index.min(255) as u8))?;
        }
        if let Some(umask) = self.umask {
            // SAFETY: a number only; it cannot fail.
            unsafe { libc::umask(umask as libc::mode_t) };
        }
        self.become_user()?;
        missing(Step::NoNewPrivs, self.no_new_privs)?;
        if self.close_fds {
            close_on_exec_from(3);
        }
        Ok(())
    }

    /// Groups before group before user: each step needs the privilege that the last gives up.
    fn become_user(&self) -> Result<(), Failure> {
        let at = |step| {
            move |errno| Failure {
                step,
                index: 0,
                errno,
            }
        };
        if let Some(groups) = &self.groups {
            let count = c_int::try_from(groups.len()).unwrap_or(c_int::MAX);
            // SAFETY: the pointer and length are a live slice's.
            check(unsafe { libc::setgroups(count, groups.as_ptr()) }).map_err(at(Step::Groups))?;
        }
        if let Some(gid) = self.gid {
            // SAFETY: a number only.
            check(unsafe { libc::setgid(gid) }).map_err(at(Step::Group))?;
        }
        if let Some(uid) = self.uid {
            // SAFETY: a number only.
            check(unsafe { libc::setuid(uid) }).map_err(at(Step::User))?;
        }
        Ok(())
    }
}

/// Returns the kernel's number, or one that no call takes where it has no such limit.
pub(crate) fn rlimit_of(resource: Resource) -> i32 {
    match resource {
        // The same number: macOS keeps the address space under the name of the resident set.
        Resource::Memory | Resource::As | Resource::Rss => libc::RLIMIT_AS,
        Resource::Pids | Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Stack => libc::RLIMIT_STACK,
        Resource::Nice
        | Resource::Rtprio
        | Resource::Rttime
        | Resource::Sigpending
        | Resource::Msgqueue
        | Resource::Locks => -1,
    }
}

fn set_limit(resource: i32, soft: u64, hard: u64) -> Result<(), i32> {
    if resource < 0 {
        return Err(libc::ENOTSUP);
    }
    // "Unlimited" has one bit less here.
    let limit = libc::rlimit {
        rlim_cur: soft.min(libc::RLIM_INFINITY),
        rlim_max: hard.min(libc::RLIM_INFINITY),
    };
    // SAFETY: `limit` is a live value.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// Sets every signal to its default and empties the mask.
fn reset_signals() -> Result<(), i32> {
    for signal in 1..=LAST_SIGNAL {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: SIG_DFL is valid for every other number.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    let none: libc::sigset_t = 0;
    // SAFETY: `none` is an empty set, which is a plain mask here; the old one is not wanted.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) })
}

/// Marks every descriptor from `first` up close-on-exec, one by one: there is no call for all.
fn close_on_exec_from(first: c_int) {
    // SAFETY: takes and touches nothing of ours.
    let end = unsafe { libc::getdtablesize() }.min(MOST_FDS);
    for fd in first..end {
        // SAFETY: numbers only; one that is not open is an error without effect.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}
