//! The system calls of `init` that no safe crate offers: masks, the signal queue, fork with a terminal, waitid.

use std::ffi::{CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use proc_core::ProcessEnd;

use super::Signals;
pub(crate) use super::set_parent_death_signal;

pub(super) fn check(code: libc::c_int) -> io::Result<libc::c_int> {
    if code < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(code)
    }
}

pub(super) fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set it is given and cannot fail.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Blocks every signal and gives each its default disposition, so that an inherited SIG_IGN of SIGCHLD loses no exit. Returns
/// the queue in which they wait.
pub(crate) fn block_all_signals() -> io::Result<Signals> {
    let set = full_set();
    // SAFETY: `set` is initialised; the old mask is not wanted.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) })?;
    default_dispositions();
    Signals::new()
}

/// Async-signal-safe.
fn default_dispositions() {
    for signal in 1..=super::last_signal() {
        // SAFETY: SIG_DFL is valid for every number; those that refuse it (KILL, STOP) are as they should be.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Sends to the leader or its whole group.
pub(crate) fn send(leader: i32, signal: i32, group: bool) -> io::Result<()> {
    // SAFETY: no memory is involved; the caller holds the leader unreaped, so the number is its own.
    check(unsafe { libc::kill(if group { -leader } else { leader }, signal) }).map(drop)
}

/// Sends to every process of our pid namespace but ourselves; only for PID 1.
pub(crate) fn send_everyone(signal: i32) {
    assert!(
        rustix::process::getpid().is_init(),
        "only PID 1 owns everybody"
    );
    // SAFETY: no memory is involved. Nobody left (ESRCH) is what the caller hopes for.
    _ = unsafe { libc::kill(-1, signal) };
}

/// Suspends this process until somebody continues it; PID 1 cannot be suspended, and goes on.
pub(crate) fn suspend_self() {
    // SAFETY: no memory is involved.
    _ = unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
}

fn wait_id(options: libc::c_int) -> io::Result<libc::siginfo_t> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is valid for writes, and all zeroes are a valid siginfo.
    unsafe {
        check(libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options))?;
        Ok(info.assume_init())
    }
}

/// Returns a child that ended and how, leaving it a zombie.
pub(crate) fn ended_child() -> Option<(i32, ProcessEnd)> {
    let info = wait_id(libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).ok()?;
    // SAFETY: waitid filled the fields of SIGCHLD, or left the zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return None;
    }
    let end = match info.si_code {
        libc::CLD_EXITED => ProcessEnd::Exited(status),
        code => ProcessEnd::Signaled {
            signal: proc_core::Signal::from_raw(status)?,
            core_dumped: code == libc::CLD_DUMPED,
        },
    };
    Some((pid, end))
}

/// Reaps a child that ended.
pub(crate) fn reap(pid: i32) {
    // SAFETY: the status is not wanted. ECHILD means that it was reaped already.
    _ = unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
}

/// Tells whether any child is left, living or not.
pub(crate) fn has_children() -> bool {
    wait_id(libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).is_ok()
}

/// Starts a command with default dispositions and an empty mask: leading a session of its own with the controlling
/// terminal, or with `single` a process group of its own in the foreground.
///
/// # Errors
/// The errno of the exec, or of what failed before it; nothing runs then.
pub(crate) fn spawn(signals: &Signals, command: &[OsString], single: bool) -> io::Result<i32> {
    let words: Vec<CString> = command
        .iter()
        .map(|word| CString::new(word.as_bytes()))
        .collect::<Result<_, _>>()?;
    let mut argv: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(std::ptr::null());
    let (told, tell) = super::pipe()?;
    if !single {
        release_terminal(signals);
    }
    // SAFETY: this process has one thread, so the child may do what it likes; it only execs or exits.
    match check(unsafe { libc::fork() })? {
        0 => {
            let error = exec(&argv, single);
            report_and_exit(&tell, error)
        }
        child => {
            drop(tell);
            outcome(child, &told)
        }
    }
}

/// Reads the child's errno: an end of file is a successful exec.
fn outcome(child: i32, told: &OwnedFd) -> io::Result<i32> {
    let mut errno = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(told, &mut errno)) {
        Ok(4) => {
            reap_now(child);
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
        }
        _ => Ok(child),
    }
}

fn reap_now(child: i32) {
    // SAFETY: the status is not wanted; the child told its error and is about to exit.
    _ = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}

/// In the child: session or group, terminal, signals, exec. Returns only with what failed.
fn exec(argv: &[*const libc::c_char], single: bool) -> i32 {
    let stdin: RawFd = 0;
    // SAFETY: plain system calls on our own process; `argv` ends with null and its strings outlive the call.
    unsafe {
        if single {
            libc::setpgid(0, 0);
            // Blocked TTOU lets a background process take the foreground. No terminal: nothing to take.
            libc::tcsetpgrp(stdin, libc::getpid());
        } else {
            libc::setsid();
            libc::ioctl(stdin, libc::TIOCSCTTY as _, 0);
        }
        default_dispositions();
        let mut none = MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        libc::execvp(argv[0], argv.as_ptr());
    }
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

fn report_and_exit(tell: &OwnedFd, errno: i32) -> ! {
    let bytes = errno.to_ne_bytes();
    // SAFETY: the buffer is valid; nothing of the parent's may run in this copy, so no destructor does.
    unsafe {
        libc::write(tell.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        libc::_exit(127)
    }
}

/// Gives up the controlling terminal so that the child's session can have it. As a session leader we and our group get HUP and
/// CONT for that, which are taken from the queue and told to nobody.
fn release_terminal(signals: &Signals) {
    // SAFETY: TIOCNOTTY takes no argument; without a terminal it fails, and there is nothing to release.
    let released = unsafe { libc::ioctl(0, libc::TIOCNOTTY) } == 0;
    // SAFETY: plain queries.
    let leads = unsafe { libc::getsid(0) == libc::getpid() };
    if released && leads {
        signals.forget_release();
    }
}
