//! What happens between fork and exec: raw system calls in a fixed order, no allocation, no lock, no libc wrapper
//! that would talk to other threads (glibc's `setuid` does, and the child may share our memory).

use std::os::fd::RawFd;

use libc::c_int;

pub(crate) use crate::sys::prepared::{Failure, Prepared, Step};

use super::raw::call;

use crate::{Resource, SessionMode};

/// The 32-bit calls where the plain names still mean 16-bit ids.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
macro_rules! id_call {
    (SYS_setgroups $(, $argument:expr)*) => { call!(SYS_setgroups32 $(, $argument)*) };
    (SYS_setresgid $(, $argument:expr)*) => { call!(SYS_setresgid32 $(, $argument)*) };
    (SYS_setresuid $(, $argument:expr)*) => { call!(SYS_setresuid32 $(, $argument)*) };
}
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
macro_rules! id_call {
    ($name:ident $(, $argument:expr)*) => { call!($name $(, $argument)*) };
}

impl Prepared {
    /// Applies everything to the calling process.
    pub(crate) fn apply(&self) -> Result<(), Failure> {
        let at = |step, index| move |errno| Failure { step, index, errno };
        reset_signals().map_err(at(Step::Signals, 0))?;
        match self.session {
            SessionMode::Group => call!(SYS_setpgid, 0, 0)
                .map_err(at(Step::Session, 0))
                .map(drop)?,
            SessionMode::Session => call!(SYS_setsid).map_err(at(Step::Session, 0)).map(drop)?,
            SessionMode::Inherit => {}
        }
        if let Some(procs) = self.cgroup {
            write(procs, b"0").map_err(at(Step::Cgroup, 0))?;
        }
        if let Some(adjust) = self.oom_score_adj {
            set_oom_score_adj(adjust).map_err(at(Step::OomScoreAdj, 0))?;
        }
        if let Some(nice) = self.nice {
            call!(SYS_setpriority, libc::PRIO_PROCESS, 0, nice).map_err(at(Step::Nice, 0))?;
        }
        if let Some(priority) = self.io_priority {
            // 1 is IOPRIO_WHO_PROCESS, 0 is the caller.
            call!(SYS_ioprio_set, 1, 0, priority).map_err(at(Step::IoPriority, 0))?;
        }
        if let Some(cpus) = &self.cpus {
            call!(SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr())
                .map_err(at(Step::CpuAffinity, 0))?;
        }
        for (index, (resource, soft, hard)) in self.limits.iter().enumerate() {
            let limit = [*soft, *hard];
            call!(
                SYS_prlimit64,
                0,
                *resource,
                limit.as_ptr(),
                std::ptr::null::<u64>()
            )
            .map_err(at(Step::Limit, index.min(255) as u8))?;
        }
        if let Some(umask) = self.umask {
            call!(SYS_umask, umask).map_err(at(Step::Umask, 0))?;
        }
        self.become_user()?;
        if self.no_new_privs {
            call!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                .map_err(at(Step::NoNewPrivs, 0))?;
        }
        if self.close_fds {
            close_on_exec_from(3).map_err(at(Step::CloseFds, 0))?;
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
            id_call!(SYS_setgroups, groups.len(), groups.as_ptr()).map_err(at(Step::Groups))?;
        }
        if let Some(gid) = self.gid {
            id_call!(SYS_setresgid, gid, gid, gid).map_err(at(Step::Group))?;
        }
        if let Some(uid) = self.uid {
            id_call!(SYS_setresuid, uid, uid, uid).map_err(at(Step::User))?;
        }
        Ok(())
    }
}

/// Returns the kernel's number; libc's type for it differs from one libc to the other.
pub(crate) fn rlimit_of(resource: Resource) -> i32 {
    match resource {
        Resource::Memory | Resource::As => libc::RLIMIT_AS as _,
        Resource::Pids | Resource::Nproc => libc::RLIMIT_NPROC as _,
        Resource::Nofile => libc::RLIMIT_NOFILE as _,
        Resource::Core => libc::RLIMIT_CORE as _,
        Resource::Cpu => libc::RLIMIT_CPU as _,
        Resource::Data => libc::RLIMIT_DATA as _,
        Resource::Fsize => libc::RLIMIT_FSIZE as _,
        Resource::Memlock => libc::RLIMIT_MEMLOCK as _,
        Resource::Stack => libc::RLIMIT_STACK as _,
        Resource::Rss => libc::RLIMIT_RSS as _,
        Resource::Nice => libc::RLIMIT_NICE as _,
        Resource::Rtprio => libc::RLIMIT_RTPRIO as _,
        Resource::Rttime => libc::RLIMIT_RTTIME as _,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING as _,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE as _,
        Resource::Locks => libc::RLIMIT_LOCKS as _,
    }
}

/// Sets every signal to its default and empties the mask.
fn reset_signals() -> Result<(), i32> {
    // The kernel's `struct sigaction` begins with the handler and is at most 32 bytes; all zero is SIG_DFL without
    // flags and with an empty mask.
    let default = [0u64; 4];
    let mut old = [0u64; 4];
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // Asking first and setting only what is not default is not cheaper: both are one call.
        call!(
            SYS_rt_sigaction,
            signal as c_int,
            default.as_ptr(),
            old.as_mut_ptr(),
            8usize
        )?;
    }
    let none = [0u64; 1];
    call!(
        SYS_rt_sigprocmask,
        libc::SIG_SETMASK,
        none.as_ptr(),
        std::ptr::null::<u64>(),
        8usize
    )?;
    Ok(())
}

fn write(fd: RawFd, bytes: &[u8]) -> Result<(), i32> {
    call!(SYS_write, fd, bytes.as_ptr(), bytes.len()).map(drop)
}

fn set_oom_score_adj(adjust: i32) -> Result<(), i32> {
    let path = c"/proc/self/oom_score_adj";
    let fd = call!(
        SYS_openat,
        libc::AT_FDCWD,
        path.as_ptr(),
        libc::O_WRONLY | libc::O_CLOEXEC,
        0
    )?;
    // Formatted by hand: `format!` allocates.
    let mut text = [0u8; 12];
    let mut at = text.len();
    let mut rest = adjust.unsigned_abs();
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if adjust < 0 {
        at -= 1;
        text[at] = b'-';
    }
    let written = write(fd as RawFd, &text[at..]);
    let _closing_cannot_matter = call!(SYS_close, fd);
    written
}

/// Marks every descriptor from `first` up close-on-exec.
fn close_on_exec_from(first: u32) -> Result<(), i32> {
    match call!(SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) {
        // Before Linux 5.11: one by one, as far as the limit says there can be any.
        Err(libc::ENOSYS | libc::EINVAL) => {
            let mut limit = [0u64; 2];
            call!(
                SYS_prlimit64,
                0,
                libc::RLIMIT_NOFILE,
                std::ptr::null::<u64>(),
                limit.as_mut_ptr()
            )?;
            for fd in first..limit[0].min(1 << 20) as u32 {
                let _not_open = call!(SYS_fcntl, fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            Ok(())
        }
        result => result.map(drop),
    }
}
