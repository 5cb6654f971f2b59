//! One spec, several ways to run it: the [`Backend`] trait, [`NativeBackend`], which keeps each
//! service by a shim of its own, [`SystemctlBackend`], which runs systemd units, [`LaunchctlBackend`],
//! which runs launchd jobs, and [`SlurmBackend`], which runs jobs of a cluster. [`Boot`] has a project
//! started at boot.
//!
//! For supervisors: they decide, a backend carries out and tells what happened. A backend never
//! restarts anything by itself and never ignores a field that it cannot honour.
//!
//! ```no_run
//! use proc_backends::{Backend, NativeBackend, NativeOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = NativeOptions::new("/var/lib/shop".as_ref(), "/run/shop".as_ref())?;
//! let backend = NativeBackend::new(options)?;
//! for instance in backend.recorded() {
//!     if let Some(found) = backend.adopt(&instance).await? {
//!         println!("{instance}: {:?}", found.status.state);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Limitations.** [`NativeBackend`] needs a tokio runtime with I/O and time enabled, and Linux, or
//! macOS, where nothing of it has run.

#![forbid(unsafe_code)]

mod backend;
mod boot;
mod call;
mod capability;
mod error;
mod event;
mod honesty;
mod joined;
mod launchctl;
mod manager;
mod native;
mod program;
mod slurm;
mod spec;
mod status;
mod systemctl;

pub use backend::{Backend, BoxFuture, SignalTarget};
pub use boot::{Boot, BootChange, BootManager};
pub use capability::Capabilities;
pub use error::{AdoptError, Errno, OperateError, StartError};
pub use event::{BackendEvent, BackendEventKind, BackendEvents, EventSender, event_channel};
pub use honesty::{
    FieldSupport, Finding, Level, ProjectAudit, Support, audit, audit_host, audit_project,
    field_support, support_table,
};
pub use launchctl::{
    JOB_STATE_MAP, JobFacts, JobState, JobStateRow, LastEnd, LaunchctlBackend, LaunchctlOptions,
    job_state,
};
pub use manager::ManagerError;
pub use native::{Console, NativeBackend, NativeOptions};
pub use slurm::{
    SLURM_STATE_MAP, SlurmBackend, SlurmFacts, SlurmOptions, SlurmPhase, SlurmPipelineOptions,
    SlurmStateRow, run_pipeline,
};
pub use spec::{InstanceSpec, PassedSocket, StdinMode};
pub use status::{Adopted, Exit, InstanceStatus, Keeper, LogOffsets, Missed, RunState, Started};
pub use systemctl::{
    STATE_MAP, StateRow, SystemctlBackend, SystemctlOptions, UnitFacts, UnitState, unit_state,
};
