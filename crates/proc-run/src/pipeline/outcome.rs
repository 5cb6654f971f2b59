//! How tasks and pipelines went; serialises as it stands.

use std::time::Duration;

use serde::Serialize;

use crate::captured::Captured;
use crate::run::as_millis;

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It ended with code 0.
    Passed,
    /// It ended otherwise, took too long, or could not be run.
    Failed,
    /// It did not run.
    Skipped,
}

/// How one task went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskOutcome {
    /// The task's name.
    pub name: String,
    /// What became of it.
    pub status: TaskStatus,
    /// Its exit code: 124 after a timeout (137 if that took `KILL`), 128 and the number of the
    /// signal that ended it, 125 to 127 when it could not be run; `None` if it did not run.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Whether its time was over.
    pub timed_out: bool,
    /// Whether its failure was allowed.
    pub allow_failure: bool,
    /// Why it failed or was skipped; `None` if it passed.
    pub reason: Option<String>,
    /// How long it took; milliseconds in JSON.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// The last of what it printed on both streams; text in JSON.
    pub output: Captured,
    /// How many bytes came before that.
    pub dropped_bytes: u64,
}

impl TaskOutcome {
    /// Returns the outcome of a task that did not run, and why.
    #[must_use]
    pub fn skipped(name: &str, allow_failure: bool, reason: String) -> Self {
        TaskOutcome {
            name: name.to_owned(),
            status: TaskStatus::Skipped,
            exit_code: None,
            signal: None,
            timed_out: false,
            allow_failure,
            reason: Some(reason),
            duration: Duration::ZERO,
            output: Captured::default(),
            dropped_bytes: 0,
        }
    }

    /// Tells whether those that come after it may run.
    #[must_use]
    pub fn lets_others_go_on(&self) -> bool {
        match self.status {
            TaskStatus::Passed => true,
            TaskStatus::Failed => self.allow_failure,
            TaskStatus::Skipped => false,
        }
    }
}

/// How a pipeline went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PipelineOutcome {
    /// Whether no task failed that was not allowed to, and nothing was cancelled.
    pub success: bool,
    /// Whether it was cancelled before it was done.
    pub cancelled: bool,
    /// How many tasks passed.
    pub passed: usize,
    /// How many failed, those that were allowed to among them.
    pub failed: usize,
    /// How many did not run.
    pub skipped: usize,
    /// How long all took; milliseconds in JSON.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// Each task, in the order they were given.
    pub tasks: Vec<TaskOutcome>,
}

impl PipelineOutcome {
    /// Sums up how tasks went, in the order they were given.
    #[must_use]
    pub fn new(tasks: Vec<TaskOutcome>, cancelled: bool, duration: Duration) -> Self {
        let count = |status| tasks.iter().filter(|task| task.status == status).count();
        let bad = |task: &TaskOutcome| task.status == TaskStatus::Failed && !task.allow_failure;
        PipelineOutcome {
            success: !cancelled && !tasks.iter().any(bad),
            cancelled,
            passed: count(TaskStatus::Passed),
            failed: count(TaskStatus::Failed),
            skipped: count(TaskStatus::Skipped),
            duration,
            tasks,
        }
    }
}
