//! The Linux side of the system calls.

pub(crate) mod apply;
pub(crate) mod boot;
pub(crate) mod caps;
pub(crate) mod clock;
pub(crate) mod disposition;
pub(crate) mod groups;
pub(crate) mod invocation;
pub(crate) mod launch;
pub(crate) mod pidfd;
pub(crate) mod pidfs;
pub(crate) mod raw;
pub(crate) mod sched;
pub(crate) mod stat;
pub(crate) mod table;

pub(crate) use raw::LEAVES_ERRNO_ALONE;
