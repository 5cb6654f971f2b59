//! The macOS side of the system calls.

pub(crate) mod apply;
pub(crate) mod boot;
pub(crate) mod caps;
pub(crate) mod clock;
pub(crate) mod disposition;
pub(crate) mod groups;
mod info;
pub(crate) mod invocation;
pub(crate) mod launch;
pub(crate) mod pidfd;
pub(crate) mod pidfs;
pub(crate) mod sched;
pub(crate) mod stat;
pub(crate) mod table;

/// The calls of a child are libc's.
pub(crate) const LEAVES_ERRNO_ALONE: bool = false;
