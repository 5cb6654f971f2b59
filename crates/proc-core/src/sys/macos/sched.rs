//! The caller's own priority, for the moments in which it must be faster than what it fights.

use rustix::process::{getpriority_process, setpriority_process};

/// Put back by `restore`: the nice that was.
#[derive(Debug)]
pub(crate) struct Raised(i32);

/// Raises the priority of this process: nice -20, else nothing.
pub(crate) fn raise() -> Option<Raised> {
    let nice = getpriority_process(None).ok()?;
    setpriority_process(None, -20).ok()?;
    Some(Raised(nice))
}

/// Puts the priority back; lowering one's own is always allowed.
pub(crate) fn restore(raised: &Raised) {
    let _lowering_is_allowed = setpriority_process(None, raised.0);
}
