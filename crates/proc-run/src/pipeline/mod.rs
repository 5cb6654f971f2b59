//! Tasks that depend on one another, each run as soon as it may.

mod graph;
mod outcome;
mod runner;
mod task;

pub use graph::PipelineError;
pub use outcome::{PipelineOutcome, TaskOutcome, TaskStatus};
pub use runner::{PipelineEvent, PipelineMode, PipelineOptions};
pub use task::{Pipeline, Task};
