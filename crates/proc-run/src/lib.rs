//! Run programs, bash scripts and pipelines to their end, with timeouts that take the whole tree.

#![forbid(unsafe_code)]

mod cancel;
mod captured;
mod command;
mod environment;
mod exclusive;
mod pipeline;
mod program;
mod restart;
mod run;
mod script;
mod supervise;

pub use captured::Captured;
pub use command::{Command, Input};
pub use environment::{Environment, EnvironmentError};
pub use exclusive::{Exclusive, ExclusiveError, Held};
pub use pipeline::{
    Pipeline, PipelineError, PipelineEvent, PipelineMode, PipelineOptions, PipelineOutcome, Task,
    TaskOutcome, TaskStatus,
};
pub use program::{FindError, Program};
pub use restart::Repeated;
pub use run::{DEFAULT_CAPTURE, DEFAULT_GRACE, Finished, Output, Run, RunError};
pub use script::{DEFAULT_PATTERN, Prepared, Script, ScriptError, shell_quote};
pub use supervise::{Cause, Stream};

pub use proc_core::{ProcessEnd, Signal, SpawnError, StopReport, StopSequence};
pub use proc_policy::RestartPolicy;
