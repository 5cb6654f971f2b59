//! One task on its way through the cluster.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_core::{ProcessEnd, Signal, StopSequence, StopStep};
use proc_run::{Captured, Task, TaskOutcome, TaskStatus};
use tokio::time::Instant;

use crate::slurm::facts::SlurmFacts;
use crate::slurm::watch::Watching;

/// What cannot be run, or ended in a way that says nothing about its program.
const NOT_RUN: i32 = 125;

/// A task and its job.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) id: Option<u32>,
    /// Held for as long as Slurm is asked about it.
    pub(super) watching: Option<Watching>,
    pub(super) output: PathBuf,
    /// Since when it runs, as we saw it.
    pub(super) running: Option<Instant>,
    pub(super) told: bool,
    /// Slurm did not know it the last time.
    pub(super) missed: bool,
    pub(super) ending: Option<Ending>,
    pub(super) outcome: Option<TaskOutcome>,
}

/// The end of a task that is being brought about.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) timed_out: bool,
    steps: std::vec::IntoIter<StopStep>,
    due: Option<Instant>,
}

impl Ending {
    pub(super) fn new(sequence: &StopSequence, timed_out: bool) -> Self {
        Self {
            timed_out,
            steps: sequence.steps.clone().into_iter(),
            due: Some(Instant::now()),
        }
    }

    /// Takes the next signal, when it is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Signal> {
        self.due.filter(|due| *due <= now)?;
        let step = self.steps.next();
        self.due = step
            .as_ref()
            .and_then(|step| step.wait)
            .map(|wait| now + wait);
        step.map(|step| step.signal)
    }
}

impl Progress {
    pub(super) fn new(output: PathBuf) -> Self {
        Self {
            id: None,
            watching: None,
            output,
            running: None,
            told: false,
            missed: false,
            ending: None,
            outcome: None,
        }
    }

    /// Returns when something has to be done about it.
    pub(super) fn due(&self, timeout: Option<Duration>) -> Option<Instant> {
        if self.outcome.is_some() {
            return None;
        }
        match &self.ending {
            Some(ending) => ending.due,
            None => Some(self.running? + timeout?),
        }
    }

    /// Returns how it went, told as the local runner would.
    pub(super) fn outcome_of(&self, task: &Task, facts: &SlurmFacts, keep: usize) -> TaskOutcome {
        let end = facts.end();
        let duration = facts.started.zip(facts.ended);
        let duration = duration.map(|(from, to)| Duration::from_secs(to.saturating_sub(from)));
        let passed = end == Ok(ProcessEnd::Exited(0)) && self.ending.is_none();
        let timed_out = self.ending.as_ref().is_some_and(|ending| ending.timed_out);
        let code = end.as_ref().map_or(NOT_RUN, |end| end.shell_code());
        let killed = code == 128 + Signal::KILL.raw();
        let reason = match (&end, &self.ending) {
            _ if passed => None,
            (_, Some(_)) if timed_out => {
                let limit = task.timeout.unwrap_or_default();
                Some(format!("timed out after {limit:?}"))
            }
            (_, Some(_)) => Some("cancelled".to_owned()),
            (Ok(end), None) => Some(end.to_string()),
            (Err(why), None) => Some(why.clone()),
        };
        let output = tail(&self.output, keep).unwrap_or_default();
        let skipped = TaskOutcome::skipped(&task.name, task.allow_failure, String::new());
        TaskOutcome {
            status: if passed {
                TaskStatus::Passed
            } else {
                TaskStatus::Failed
            },
            exit_code: Some(match timed_out {
                true if killed => 137,
                true => 124,
                false => code,
            }),
            signal: end.ok().and_then(ProcessEnd::signal).map(Signal::raw),
            timed_out,
            reason,
            duration: duration.unwrap_or_default(),
            dropped_bytes: output.dropped(),
            output,
            ..skipped
        }
    }
}

/// Returns the outcome of a task that Slurm did not take, or that somebody took from it.
pub(super) fn not_run(task: &Task, reason: String) -> TaskOutcome {
    TaskOutcome {
        status: TaskStatus::Failed,
        exit_code: Some(NOT_RUN),
        ..TaskOutcome::skipped(&task.name, task.allow_failure, reason)
    }
}

/// Reads the last of what was written.
fn tail(path: &Path, keep: usize) -> std::io::Result<Captured> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let before = length.saturating_sub(keep as u64);
    file.seek(SeekFrom::Start(before))?;
    let mut bytes = Vec::new();
    file.take(keep as u64).read_to_end(&mut bytes)?;
    Ok(Captured::tail(&bytes, before))
}
