//! Pipelines over a cluster: each task a job, all submitted at once, the order handed to Slurm.

mod order;
mod runner;
mod task;

use std::collections::BTreeMap;
use std::path::PathBuf;

use proc_run::{Pipeline, PipelineEvent, PipelineOptions, PipelineOutcome};

use self::runner::Running;
use super::options::SlurmOptions;
use super::tool::Tool;
use super::watch::Watcher;
use crate::manager::ManagerError;

/// How a pipeline is run over a cluster.
#[derive(Debug, Clone)]
pub struct SlurmPipelineOptions {
    /// Slurm's programs, and how often they are asked.
    pub slurm: SlurmOptions,
    /// In which order, whether it fails fast, and how a task is ended. How many run at once is Slurm's decision.
    pub run: PipelineOptions,
    /// Where tasks write their output, and scripts lie until they are submitted; shared with the nodes. Absolute.
    pub dir: PathBuf,
    /// What every task asks for: options of sbatch(1), as [`proc_spec::slurm_options`] makes them.
    pub resources: BTreeMap<String, String>,
    /// What tasks ask for beside or instead of that, by name.
    pub of_task: BTreeMap<String, BTreeMap<String, String>>,
}

/// Runs a pipeline's tasks as jobs, until each has passed, failed or been skipped, or `cancelled` is done: then those
/// that run are ended, and the rest leaves the queue. The outcome is what [`Pipeline::run`] would tell; times are
/// Slurm's, in whole seconds. Must be called within a tokio runtime.
///
/// What must have passed becomes `--dependency=afterok`, what may fail `afterany` with all that it waited for itself:
/// for Slurm a job that was never run has ended, too.
///
/// # Errors
/// When Slurm cannot be reached while tasks are submitted; those that were are cancelled. A task that Slurm refuses
/// fails with 125 like one that cannot be run.
pub async fn run_pipeline(
    pipeline: &Pipeline,
    options: &SlurmPipelineOptions,
    cancelled: impl Future<Output = ()>,
    on_event: impl FnMut(PipelineEvent<'_>),
) -> Result<PipelineOutcome, ManagerError> {
    let watcher = Watcher::new(Tool::new(options.slurm.clone()));
    Running::new(pipeline, options, watcher, on_event)
        .run_to_the_end(cancelled)
        .await
}
