//! The caller's own priority, for the moments in which it must be faster than what it fights.

use rustix::process::{getpriority_process, setpriority_process};

/// Put back by `restore`.
#[derive(Debug)]
pub(crate) enum Raised {
    /// Was this policy with this real-time priority.
    Policy(libc::c_int, libc::c_int),
    /// Was this nice.
    Nice(i32),
}

/// Does not hand the raised priority to children (`SCHED_RESET_ON_FORK`).
const RESET_ON_FORK: libc::c_int = 0x4000_0000;

/// Raises the priority of the calling thread: SCHED_FIFO 1, else nice -20, else nothing.
pub(crate) fn raise() -> Option<Raised> {
    // SAFETY: numbers, and pointers to live values of the kernel's layout; 0 is the calling thread. The raw calls,
    // because musl's wrappers refuse all of these.
    let (policy, old) = unsafe {
        let policy = libc::syscall(libc::SYS_sched_getscheduler, 0);
        let mut old: libc::c_int = 0;
        libc::syscall(libc::SYS_sched_getparam, 0, &raw mut old);
        (policy as libc::c_int, old)
    };
    if policy >= 0 && set(libc::SCHED_FIFO | RESET_ON_FORK, 1) {
        return Some(Raised::Policy(policy, old));
    }
    let nice = getpriority_process(None).ok()?;
    setpriority_process(None, -20).ok()?;
    Some(Raised::Nice(nice))
}

/// Puts the priority back; lowering one's own is always allowed.
pub(crate) fn restore(raised: &Raised) {
    match raised {
        Raised::Policy(policy, priority) => {
            set(*policy, *priority);
        }
        Raised::Nice(nice) => {
            let _lowering_is_allowed = setpriority_process(None, *nice);
        }
    }
}

fn set(policy: libc::c_int, priority: libc::c_int) -> bool {
    // SAFETY: as in `raise`; `struct sched_param` begins with the priority and has nothing else on Linux.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) == 0 }
}
