//! `posix_spawn` with everything a service's first moment needs: the vfork path, whatever the parent's size.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use super::prepared::Failure;

/// One step the child takes before exec.
pub(crate) enum Action<'a> {
    /// `dup2(from, to)`; the copy is not close-on-exec.
    Dup(RawFd, RawFd),
    /// `chdir`.
    Chdir(&'a CStr),
}

/// What to start and how.
pub(crate) struct Plan<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) argv: &'a [CString],
    pub(crate) envp: &'a [CString],
    pub(crate) actions: &'a [Action<'a>],
    pub(crate) own_group: bool,
}

/// What the child could not do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Attribute(Failure),
    Descriptors(i32),
    Chdir(i32),
    Terminal(i32),
    Exec(i32),
}

/// Why nothing was started.
pub(crate) enum LaunchError {
    /// Before there was a child.
    System(io::Error),
    /// The child said so, and was reaped.
    Fault(Fault),
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

struct Attr(MaybeUninit<libc::posix_spawnattr_t>);

impl Attr {
    /// Default dispositions and an empty mask, whatever the caller ignores or blocks.
    fn new(own_group: bool) -> io::Result<Self> {
        let mut attr = Self(MaybeUninit::uninit());
        // SAFETY: `init` initialises the memory it is given.
        check(unsafe { libc::posix_spawnattr_init(attr.0.as_mut_ptr()) })?;
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        // SAFETY: `attr` is initialised, and `set` is by `sigemptyset`/`sigfillset` before each use.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(
                attr.0.as_mut_ptr(),
                set.as_ptr(),
            ))?;
            libc::sigfillset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigdefault(
                attr.0.as_mut_ptr(),
                set.as_ptr(),
            ))?;
            if own_group {
                flags |= libc::POSIX_SPAWN_SETPGROUP;
                check(libc::posix_spawnattr_setpgroup(attr.0.as_mut_ptr(), 0))?;
            }
            check(libc::posix_spawnattr_setflags(
                attr.0.as_mut_ptr(),
                flags as libc::c_short,
            ))?;
        }
        Ok(attr)
    }
}

impl Drop for Attr {
    fn drop(&mut self) {
        // SAFETY: only built by `new` after `init` succeeded.
        unsafe { libc::posix_spawnattr_destroy(self.0.as_mut_ptr()) };
    }
}

struct Actions(MaybeUninit<libc::posix_spawn_file_actions_t>);

impl Actions {
    fn new(actions: &[Action<'_>]) -> io::Result<Self> {
        let mut list = Self(MaybeUninit::uninit());
        // SAFETY: `init` initialises the memory it is given.
        check(unsafe { libc::posix_spawn_file_actions_init(list.0.as_mut_ptr()) })?;
        for action in actions {
            // SAFETY: `list` is initialised; paths are NUL-terminated and copied by the call.
            check(unsafe {
                match action {
                    Action::Dup(from, to) => {
                        libc::posix_spawn_file_actions_adddup2(list.0.as_mut_ptr(), *from, *to)
                    }
                    Action::Chdir(path) => libc::posix_spawn_file_actions_addchdir_np(
                        list.0.as_mut_ptr(),
                        path.as_ptr(),
                    ),
                }
            })?;
        }
        Ok(list)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: only built by `new` after `init` succeeded.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

pub(super) fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings
        .iter()
        .map(|text| text.as_ptr().cast_mut())
        .chain([ptr::null_mut()])
        .collect()
}

/// Starts the program and returns its pid. An error means that nothing runs.
pub(crate) fn spawn(plan: &Plan<'_>) -> io::Result<u32> {
    let attr = Attr::new(plan.own_group)?;
    let actions = Actions::new(plan.actions)?;
    let argv = pointers(plan.argv);
    let envp = pointers(plan.envp);
    let mut pid: libc::pid_t = 0;
    // SAFETY: every pointer is to initialised memory that outlives the call; both arrays end with null.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            plan.program.as_ptr(),
            actions.0.as_ptr(),
            attr.0.as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
        )
    })?;
    Ok(pid.cast_unsigned())
}
