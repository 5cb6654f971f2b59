//! The Linux side of the system calls.

pub(crate) mod apply;
pub(crate) mod clock;
pub(crate) mod launch;
pub(crate) mod pidfd;
pub(crate) mod pidfs;
#[cfg(feature = "async")]
pub(crate) mod readiness;
pub(crate) mod reap;
pub(crate) mod sched;
pub(crate) mod spawn;
pub(crate) mod users;
