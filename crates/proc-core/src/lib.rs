//! Start, identify, watch and end processes: verified identities, pidfd waits, tree kills that prove nothing survived.
//!
//! For any program that starts or ends processes and must not be fooled: supervisors, test runners, CI agents, init
//! processes. A program that only wants a command's output is well served by [`std::process::Command`].
//!
//! * [`Spawn`] starts a [`Child`] in a process group of its own, always by the `posix_spawn` path, with default signal
//!   dispositions whatever the caller ignores or blocks. [`Attributes`] (user, limits, session, …) are applied before
//!   the program runs, all of them or it does not run.
//! * [`Identity`] is plain data that names one process, not a number. Save it, and [`Identity::open`] it later from
//!   another process: the result is a verified [`ProcessHandle`], through which signals reach that process or nothing.
//! * [`stop_tree`] sends the steps of a [`StopSequence`] and returns a [`StopReport`]: by which [`Mechanism`], whether
//!   it had to escalate, and who survived. [`StopDriver`] is the same as a state machine for any event loop.
//! * [`list`] looks at what runs, [`caps`] says what this system can do and what falls back.
//!
//! ```
#![doc = include_str!("../examples/stop_a_tree.rs")]
//! ```
//!
//! # Limitations
//! * Linux 5.3 or newer with `/proc` mounted. Newer kernels add exactness; each is probed, none is required.
//! * macOS compiles and was never run. There a process is watched by kqueue and known by the kernel's unique number; a signal
//!   compares that and then uses the pid, there is no subreaper and no cgroup, so every stop is [`Mechanism::GroupWalk`], and
//!   attributes that the system lacks fail the start. [`caps`] lists what is missing.
//! * Work handed to another daemon (`systemd-run`, `at`, a container engine) belongs to that daemon's tree.
//! * [`Mechanism::GroupWalk`] is best effort: a process that left group, session and parent before the stop began is
//!   not found. The two other means prove that nobody is left.
//! * A process that changed its user may be out of the caller's reach; it is then reported as a survivor.

#![deny(unsafe_code)]

mod attributes;
#[cfg(feature = "async")]
mod block_on;
pub mod caps;
mod cgroup;
mod child;
mod disposition;
mod end;
mod handle;
mod identity;
mod invocation;
pub mod list;
#[cfg(feature = "async")]
mod readiness;
mod resolve;
mod signal;
mod spawn;
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
#[cfg(feature = "async")]
pub use block_on::block_on;
pub use cgroup::Cgroup;
pub use child::{Child, StdIn};
pub use disposition::{Disposition, disposition};
pub use end::ProcessEnd;
pub use handle::{ProcessHandle, SignalError};
pub use identity::{Identity, IdentityError, Liveness, OpenError, OpenOptions, OpenStep};
pub use invocation::Invocation;
#[cfg(feature = "async")]
pub use readiness::Readiness;
pub use resolve::{ApplyFailure, AttributeError, ResolvedAttributes};
pub use signal::{ParseSignalError, Signal};
pub use spawn::{Spawn, SpawnError, Stdio};
pub use stop::{
    Mechanism, Next, ParseStopError, Scope, StopDriver, StopOptions, StopReport, StopSequence,
    StopStep, StopTarget, Survivor, run_stop, stop_tree,
};
pub use sys::mask::unblock_signals;
#[cfg(target_os = "linux")]
pub use sys::raw::system_call;

/// The README's program runs as it stands.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
