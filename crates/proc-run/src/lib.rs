//! Run programs, bash scripts and pipelines to their end, with timeouts that take the whole tree.
//!
//! For CI tools, agents and programs that start others and need to know how they ended. Who wants
//! services that are kept running takes a supervisor; this crate needs none.
//!
//! * A [`Command`] says what to run; a [`Run`] bounds it and returns a [`Finished`], whose output
//!   is there also when the command failed, took too long or was cancelled.
//! * A [`Script`] is given to bash, in a file that is removed in every outcome or inline, without
//!   any disk. [`Exclusive`] lets one holder of a name run at a time, over threads and processes.
//! * A [`Pipeline`] runs [`Task`]s that depend on one another, each as soon as it may.
//! * A [`Manager`] keeps processes beside the program: by id, with events, input and output.
//!
//! ```
//! use std::time::Duration;
//! use proc_run::{Command, Pipeline, PipelineOptions, Run, Script, Task};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let slow = Command::shell("echo begun; sleep 100 & wait");
//! let finished = Run::new(slow).timeout(Duration::from_millis(300)).run().await?;
//! assert_eq!((finished.exit_code(), finished.output.to_text().as_str()), (124, "begun\n"));
//!
//! let script = Script::text("false | true; echo not reached").strict(true).inline(true);
//! assert!(!script.run().await?.success());
//!
//! let tasks = vec![Task::shell("build", "exit 1"), Task::shell("test", "true").after(["build"])];
//! let pipeline = Pipeline::new(tasks).expect("no cycle, nothing missing");
//! let outcome = pipeline.run(&PipelineOptions::default(), std::future::pending(), |_| {}).await;
//! assert_eq!((outcome.failed, outcome.skipped), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limitations
//!
//! * A tree is ended as it can be from outside: a process that left its session *and* lost its
//!   parent before anybody looked is not found. A program that makes itself a child subreaper, as
//!   `proc script` does, can end those too.
//! * Before Linux 6.9 what a command left in the background is not found after it has ended.
//! * With [`Run::allow_detached`] the output of background children should go to a file: nobody
//!   reads the pipe once the command has ended.

#![forbid(unsafe_code)]

mod cancel;
mod captured;
mod command;
mod environment;
mod exclusive;
mod managed;
mod pipeline;
mod program;
mod restart;
mod run;
mod script;
mod supervise;
mod sys;

pub use captured::Captured;
pub use command::{Command, Input};
pub use environment::{Environment, EnvironmentError};
pub use exclusive::{Exclusive, ExclusiveError, Held};
pub use managed::{
    Event, Id, Info, Line, Manager, ManagerError, ManagerOptions, StartOptions, Status,
};
pub use pipeline::{
    Pipeline, PipelineError, PipelineEvent, PipelineMode, PipelineOptions, PipelineOutcome, Task,
    TaskOutcome, TaskStatus,
};
pub use program::{FindError, Program};
pub use restart::Repeated;
pub use run::{DEFAULT_CAPTURE, DEFAULT_GRACE, Finished, Output, Run, RunError};
pub use script::{DEFAULT_PATTERN, Prepared, Script, ScriptError, shell_quote};
pub use supervise::{Cause, Stream};

pub use proc_core::{ProcessEnd, Signal, SpawnError, StopReport, StopSequence, block_on};
pub use proc_policy::RestartPolicy;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
