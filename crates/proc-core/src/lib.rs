//! Start, identify, watch and end processes: verified identities, pidfd waits, tree kills that prove nothing survived.

#![deny(unsafe_code)]

mod attributes;
mod cgroup;
mod child;
mod end;
mod handle;
mod identity;
pub mod list;
#[cfg(feature = "async")]
mod readiness;
mod resolve;
mod signal;
mod spawn;
mod stat;
mod stop;
#[expect(
    unsafe_code,
    reason = "the system calls that no safe crate offers; each block says why it is sound"
)]
mod sys;

pub use attributes::{
    Attributes, CgroupSpec, Downgrade, IoClass, IoPriority, Limit, ParseAttributeError,
    ParseResourceError, Resource, SessionMode,
};
pub use cgroup::Cgroup;
pub use child::{Child, StdIn};
pub use end::ProcessEnd;
pub use handle::{ProcessHandle, SignalError};
pub use identity::{Identity, IdentityError, Liveness, OpenError, OpenOptions, OpenStep};
#[cfg(feature = "async")]
pub use readiness::Readiness;
pub use resolve::{ApplyFailure, AttributeError, ResolvedAttributes};
pub use signal::{ParseSignalError, Signal};
pub use spawn::{Spawn, SpawnError, Stdio};
pub use stop::{
    Mechanism, Next, ParseStopError, Scope, StopDriver, StopOptions, StopReport, StopSequence,
    StopStep, StopTarget, Survivor, run_stop, stop_tree,
};
