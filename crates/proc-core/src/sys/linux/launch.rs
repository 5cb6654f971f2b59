//! Starting a program with attributes: like `posix_spawn`, but with our own steps between fork and exec.
//!
//! The child borrows our memory until exec (`CLONE_VM | CLONE_VFORK`), so the cost does not grow with our size and a
//! failure comes back in plain memory. The price is that the child may only make raw system calls.

use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

use libc::{c_char, c_int, c_void};

use super::apply::Prepared;
use super::raw::call;
pub(crate) use crate::sys::spawn::{Fault, LaunchError};

use crate::sys::spawn::{Action, Plan, pointers};

struct Shared<'a> {
    prepared: &'a Prepared,
    program: &'a CStr,
    argv: *const *mut c_char,
    envp: *const *mut c_char,
    actions: &'a [Action<'a>],
    terminal: bool,
    fault: Option<Fault>,
}

/// 64 KiB, aligned as every ABI wants it.
const STACK: usize = 4096;

/// Starts the program and returns its pid. An error means that nothing runs.
pub(crate) fn launch(
    plan: &Plan<'_>,
    prepared: &Prepared,
    terminal: bool,
) -> Result<u32, LaunchError> {
    let argv = pointers(plan.argv);
    let envp = pointers(plan.envp);
    let mut stack: Vec<u128> = vec![0; STACK];
    let mut shared = Shared {
        prepared,
        program: plan.program,
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        actions: plan.actions,
        terminal,
        fault: None,
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let _dumpable = (prepared.uid.is_some() || prepared.gid.is_some()).then(Dumpable::keep);
    let old = block_all();
    // SAFETY: `child` runs on a stack of its own, which (with `shared` and all it points to) outlives it, because
    // CLONE_VFORK suspends us until it has called exec or `_exit`. All signals are blocked, so no handler of ours
    // runs in it; it makes raw system calls only and never returns or unwinds.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK).cast::<c_void>();
        libc::clone(child, top, flags, (&raw mut shared).cast())
    };
    let error = io::Error::last_os_error();
    restore(&old);
    if pid < 0 {
        return Err(LaunchError::System(error));
    }
    // SAFETY: the child is done with it; volatile, because the compiler saw nobody write it.
    match unsafe { ptr::read_volatile(&raw const shared.fault) } {
        None => Ok(pid.cast_unsigned()),
        Some(fault) => {
            reap(pid);
            Err(LaunchError::Fault(fault))
        }
    }
}

/// Puts back what a child that changes its user takes from the memory that it borrows: that a core may be dumped of it.
struct Dumpable {
    before: Option<DumpableBehavior>,
    /// Two at once would each take what the other's child has left for what was there before.
    _alone: MutexGuard<'static, ()>,
}

impl Dumpable {
    fn keep() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            before: dumpable_behavior().ok(),
            _alone: alone,
        }
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        if self.before == Some(DumpableBehavior::Dumpable) {
            // It cannot fail: the value is one that may be set.
            let _kept = set_dumpable_behavior(DumpableBehavior::Dumpable);
        }
    }
}

/// Blocks every signal, libc's own included, and returns the mask from before.
fn block_all() -> u64 {
    let (all, mut old) = (u64::MAX, 0u64);
    let (all, old_mask) = (&raw const all, &raw mut old);
    let _masks_of_the_kernels_size = call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, all, old_mask, 8);
    old
}

fn restore(old: &u64) {
    let (old, none) = (ptr::from_ref(old), ptr::null_mut::<u64>());
    let _masks_of_the_kernels_size = call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, old, none, 8);
}

fn reap(pid: c_int) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        while wait().is_err_and(|error| error == rustix::io::Errno::INTR) {}
    }
}

extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: it is the parent's `Shared`, which nobody else touches while the parent is suspended.
    let shared = unsafe { &mut *shared.cast::<Shared<'_>>() };
    let fault = steps(shared);
    // SAFETY: as above; volatile, so that it is written before the process ends.
    unsafe { ptr::write_volatile(&raw mut shared.fault, Some(fault)) };
    // SAFETY: ends this process alone, without running anything of ours.
    unsafe { libc::_exit(127) }
}

/// Does everything and execs; returns only with what went wrong.
fn steps(shared: &Shared<'_>) -> Fault {
    if let Err(failure) = shared.prepared.apply() {
        return Fault::Attribute(failure);
    }
    for action in shared.actions {
        let done = match action {
            Action::Dup(from, to) => dup(*from, *to).map_err(Fault::Descriptors),
            Action::Chdir(path) => call!(SYS_chdir, path.as_ptr()).map_err(Fault::Chdir),
        };
        if let Err(fault) = done {
            return fault;
        }
    }
    if shared.terminal
        && let Err(errno) = call!(SYS_ioctl, 0, libc::TIOCSCTTY, 0)
    {
        return Fault::Terminal(errno);
    }
    // Strings that end with NUL in arrays that end with null, all alive in the suspended parent.
    let executed = call!(
        SYS_execve,
        shared.program.as_ptr(),
        shared.argv,
        shared.envp
    );
    Fault::Exec(executed.err().unwrap_or(0))
}

/// `dup2` that also works where the numbers are the same: then only close-on-exec is taken off.
fn dup(from: RawFd, to: RawFd) -> Result<usize, i32> {
    if from == to {
        call!(SYS_fcntl, from, libc::F_SETFD, 0)
    } else {
        call!(SYS_dup3, from, to, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    #[test]
    fn a_fault_comes_back_and_leaves_no_child() {
        let argv = [CString::new("x").unwrap()];
        let plan = Plan {
            program: c"/nonexistent/x",
            argv: &argv,
            envp: &[],
            actions: &[],
            own_group: true,
        };
        let result = launch(&plan, &Prepared::default(), false);
        assert!(matches!(
            result,
            Err(LaunchError::Fault(Fault::Exec(libc::ENOENT)))
        ));
    }
}
