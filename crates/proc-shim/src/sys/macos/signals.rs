//! Ends of children as a descriptor: a kqueue with `EVFILT_SIGNAL`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, kevent, kqueue};
use rustix::process::Signal;

/// The highest number of a signal.
pub(crate) const fn last_signal() -> libc::c_int {
    31
}

/// Ignores what must not end the shim, and returns a descriptor that is readable when children change.
///
/// The kqueue notes a signal when it is sent, before its disposition is looked at: `SIGCHLD` keeps its default.
pub(crate) fn prepare_signals() -> io::Result<OwnedFd> {
    crate::sys::set_dispositions();
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `none` is initialised by `sigemptyset` before its use.
    let done = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let queue = signal_queue()?;
    note(&queue, Signal::CHILD, EventFlags::ADD | EventFlags::CLEAR)?;
    Ok(queue)
}

/// Makes a queue that notes no signal yet.
pub(super) fn signal_queue() -> io::Result<OwnedFd> {
    let queue = kqueue()?;
    rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
    Ok(queue)
}

/// Begins to note a signal, or with `DELETE` forgets it and what was noted of it.
pub(super) fn note(queue: &OwnedFd, signal: Signal, flags: EventFlags) -> io::Result<()> {
    let filter = EventFilter::Signal { signal, times: 0 };
    let change = Event::new(filter, flags, std::ptr::null_mut());
    let mut room: [MaybeUninit<Event>; 0] = [];
    // SAFETY: the event names no descriptor.
    unsafe { kevent(queue, &[change], &mut room, Some(Duration::ZERO)) }?;
    Ok(())
}

/// Takes one signal that was noted; `None` when the time is up first. `None` as limit waits for ever.
pub(super) fn take(queue: &OwnedFd, limit: Option<Duration>) -> io::Result<Option<i32>> {
    let mut room = [MaybeUninit::<Event>::uninit(); 1];
    // SAFETY: nothing is added to the queue, and what is in it names no descriptor.
    let (taken, _) = unsafe { kevent(queue, &[], &mut room, limit) }?;
    Ok(taken.first().and_then(|event| match event.filter() {
        EventFilter::Signal { signal, .. } => Some(signal.as_raw()),
        _ => None,
    }))
}

/// Makes it unreadable until children change again.
pub(crate) fn drain_child_events(children: &OwnedFd) {
    while take(children, Some(Duration::ZERO)).is_ok_and(|signal| signal.is_some()) {}
}
