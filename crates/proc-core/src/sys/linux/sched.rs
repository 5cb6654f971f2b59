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
            // The flag may be taken back with privileges only, and says nothing at a usual priority.
            let _lowering_is_allowed =
                set(*policy, *priority) || set(*policy | RESET_ON_FORK, *priority);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> libc::c_int {
        // SAFETY: a number; 0 is the calling thread.
        unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) as libc::c_int }
    }

    /// In a thread, whose priority and user are its own as far as the kernel goes.
    fn raised_and_restored(between: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(|| {
            let before = (policy(), getpriority_process(None).unwrap());
            let Some(raised) = raise() else {
                eprintln!("SKIP raised_and_restored: no priority may be raised here");
                return;
            };
            assert_ne!((policy(), getpriority_process(None).unwrap()), before);
            between();
            restore(&raised);
            let after = (
                policy() & !RESET_ON_FORK,
                getpriority_process(None).unwrap(),
            );
            assert_eq!(after, before, "{raised:?}");
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_raised_priority_is_put_back() {
        raised_and_restored(|| {});
    }

    /// As for a user whose limit lets him raise it: the kernel lets nobody without privileges take `RESET_ON_FORK` back.
    #[test]
    fn putting_it_back_needs_no_privileges() {
        raised_and_restored(|| {
            // SAFETY: numbers; the raw call changes the user of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        });
    }
}
