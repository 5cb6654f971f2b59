//! Runs a pipeline: no waves, each task as soon as it is free and a job is.

use std::future::pending;

use proc_core::{Signal, StopSequence};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::cancel::Fuse;
use crate::command::Command;
use crate::pipeline::graph::Schedule;
use crate::pipeline::outcome::{PipelineOutcome, TaskOutcome, TaskStatus};
use crate::pipeline::task::{Pipeline, Task};
use crate::run::{DEFAULT_GRACE, Finished, Output, Run, RunError};
use crate::supervise::Cause;

/// How many bytes of one task's output are kept at most.
const PER_TASK: usize = 256 * 1024;
/// How many bytes of all tasks' output are kept at most, but no less than 1 KiB of each.
const ALL_TASKS: usize = 64 * 1024 * 1024;

/// In which order tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PipelineMode {
    /// Each as soon as those it comes after have passed.
    #[default]
    Graph,
    /// One after the other, in the order given; after the first failure that is not allowed the
    /// rest is skipped.
    Sequential,
    /// All, whatever they come after.
    Parallel,
}

/// How a pipeline is run.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// In which order.
    pub mode: PipelineMode,
    /// How many at once; never less than 1.
    pub jobs: usize,
    /// Whether the first failure that is not allowed ends those that run and skips the rest.
    pub fail_fast: bool,
    /// How a task is ended: at its timeout, at a cancel, and what it leaves in the background.
    pub stop: StopSequence,
    /// Whether the tasks' output goes to this process's own instead of being kept.
    pub inherit_output: bool,
}

impl Default for PipelineOptions {
    /// The graph, sixteen jobs or four for each processor if that is more, `TERM/5s, KILL`.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        PipelineOptions {
            mode: PipelineMode::Graph,
            jobs: (4 * processors).max(16),
            fail_fast: false,
            stop: StopSequence::graceful(Signal::TERM, Some(DEFAULT_GRACE)),
            inherit_output: false,
        }
    }
}

impl PipelineOptions {
    /// Returns how many bytes of each of so many tasks' output are kept at most: 256 KiB, less where there are
    /// hundreds, but no less than 1 KiB.
    #[must_use]
    pub fn kept_output(tasks: usize) -> usize {
        (ALL_TASKS / tasks.max(1)).clamp(1024, PER_TASK)
    }
}

/// Something that happened to the task at a position.
#[derive(Debug, Clone, Copy)]
pub enum PipelineEvent<'a> {
    /// It was started.
    Started {
        /// Its position among the tasks.
        position: usize,
        /// The task.
        task: &'a Task,
    },
    /// It passed, failed or was skipped.
    Settled {
        /// Its position among the tasks.
        position: usize,
        /// How it went.
        outcome: &'a TaskOutcome,
    },
}

impl Pipeline {
    /// Runs the tasks until each has passed, failed or been skipped, or `cancelled` is done: then
    /// those that run are ended and the rest is skipped. `on_event` is shown what happens. Must be
    /// called within a tokio runtime.
    ///
    /// Dropping the future ends the trees of the tasks that run.
    pub async fn run(
        &self,
        options: &PipelineOptions,
        cancelled: impl Future<Output = ()>,
        on_event: impl FnMut(PipelineEvent<'_>),
    ) -> PipelineOutcome {
        let begin = Instant::now();
        let mut cancelled = Fuse::new(cancelled);
        let mut run = Running::new(self, options, on_event);
        loop {
            run.start_free();
            if run.jobs.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = &mut cancelled, if !run.cancelled => run.cancel("the pipeline was cancelled"),
                Some(joined) = run.jobs.join_next() => {
                    // A task of ours neither panics nor is aborted before the end.
                    if let Ok((position, outcome)) = joined {
                        run.settle(position, outcome);
                    }
                }
            }
        }
        let (outcomes, was_cancelled) = (run.outcomes, run.cancelled && !run.failed_fast);
        let outcomes = outcomes
            .into_iter()
            .zip(&self.tasks)
            .map(|(outcome, task)| outcome.unwrap_or_else(|| lost(task)))
            .collect();
        PipelineOutcome::new(outcomes, was_cancelled, begin.elapsed())
    }
}

fn lost(task: &Task) -> TaskOutcome {
    let reason = "the task that watched it ended early".to_owned();
    let outcome = TaskOutcome::skipped(&task.name, task.allow_failure, reason);
    TaskOutcome {
        status: TaskStatus::Failed,
        exit_code: Some(125),
        ..outcome
    }
}

struct Running<'a, F> {
    pipeline: &'a Pipeline,
    options: &'a PipelineOptions,
    on_event: F,
    schedule: Schedule,
    outcomes: Vec<Option<TaskOutcome>>,
    jobs: JoinSet<(usize, TaskOutcome)>,
    stop: watch::Sender<bool>,
    cancelled: bool,
    failed_fast: bool,
    keep: usize,
}

impl<'a, F: FnMut(PipelineEvent<'_>)> Running<'a, F> {
    fn new(pipeline: &'a Pipeline, options: &'a PipelineOptions, on_event: F) -> Self {
        let count = pipeline.tasks.len();
        let schedule = Schedule::new(&pipeline.waits_for(options.mode));
        Running {
            pipeline,
            options,
            on_event,
            schedule,
            outcomes: vec![None; count],
            jobs: JoinSet::new(),
            stop: watch::Sender::new(false),
            cancelled: false,
            failed_fast: false,
            keep: PipelineOptions::kept_output(count),
        }
    }

    /// Starts tasks while there are free ones and jobs.
    fn start_free(&mut self) {
        while self.jobs.len() < self.options.jobs.max(1)
            && let Some(position) = self.schedule.next()
        {
            let task = &self.pipeline.tasks[position];
            (self.on_event)(PipelineEvent::Started { position, task });
            let job = Job {
                name: task.name.clone(),
                allow_failure: task.allow_failure,
                command: self.pipeline.commands[position].clone(),
                timeout: task.timeout,
                sequence: self.options.stop.clone(),
                output: if self.options.inherit_output {
                    Output::Inherit
                } else {
                    Output::Combined { limit: self.keep }
                },
                stop: self.stop.subscribe(),
            };
            self.jobs.spawn(async move { (position, job.run().await) });
        }
    }

    fn settle(&mut self, position: usize, outcome: TaskOutcome) {
        let goes_on = outcome.lets_others_go_on();
        let name = outcome.name.clone();
        self.record(position, outcome);
        if goes_on {
            self.schedule.passed(position);
        } else if self.options.mode == PipelineMode::Sequential {
            self.give_up(&format!("skipped after the failure of `{name}`"));
        } else {
            for (skipped, cause) in self.schedule.failed(position) {
                let cause = &self.pipeline.tasks[cause].name;
                self.skip(
                    skipped,
                    format!("skipped due to dependency failure: `{cause}`"),
                );
            }
        }
        if !goes_on && self.options.fail_fast && !self.cancelled {
            self.failed_fast = true;
            self.cancel(&format!(
                "skipped because `{name}` failed and the pipeline fails fast"
            ));
        }
    }

    /// Ends what runs and skips what does not.
    fn cancel(&mut self, reason: &str) {
        self.cancelled = true;
        self.stop.send_replace(true);
        self.give_up(reason);
    }

    fn give_up(&mut self, reason: &str) {
        for position in self.schedule.give_up() {
            self.skip(position, reason.to_owned());
        }
    }

    fn skip(&mut self, position: usize, reason: String) {
        let task = &self.pipeline.tasks[position];
        let outcome = TaskOutcome::skipped(&task.name, task.allow_failure, reason);
        self.record(position, outcome);
    }

    fn record(&mut self, position: usize, outcome: TaskOutcome) {
        (self.on_event)(PipelineEvent::Settled {
            position,
            outcome: &outcome,
        });
        self.outcomes[position] = Some(outcome);
    }
}

/// One task with everything it needs.
struct Job {
    name: String,
    allow_failure: bool,
    command: Command,
    timeout: Option<Duration>,
    sequence: StopSequence,
    output: Output,
    stop: watch::Receiver<bool>,
}

impl Job {
    async fn run(mut self) -> TaskOutcome {
        let begin = Instant::now();
        let run = Run::new(self.command.clone())
            .timeout(self.timeout)
            .stop(self.sequence.clone())
            .output(self.output.clone());
        let stop = async {
            if self.stop.wait_for(|stop| *stop).await.is_err() {
                pending::<()>().await;
            }
        };
        let ended = run.run_until(stop).await;
        let outcome = TaskOutcome::skipped(&self.name, self.allow_failure, String::new());
        match ended {
            Ok(finished) => from_finished(outcome, finished),
            Err(error) => TaskOutcome {
                status: TaskStatus::Failed,
                exit_code: Some(match &error {
                    RunError::Spawn(error) => error.exit_code(),
                    _ => 125,
                }),
                reason: Some(error.to_string()),
                duration: begin.elapsed(),
                ..outcome
            },
        }
    }
}

fn from_finished(outcome: TaskOutcome, finished: Finished) -> TaskOutcome {
    let passed = finished.success();
    let reason = match finished.cause {
        _ if passed => None,
        Cause::Cancelled => Some("cancelled".to_owned()),
        _ => Some(finished.to_string()),
    };
    TaskOutcome {
        status: if passed {
            TaskStatus::Passed
        } else {
            TaskStatus::Failed
        },
        exit_code: Some(finished.exit_code()),
        signal: finished.end.signal().map(|signal| signal.raw()),
        timed_out: finished.timed_out(),
        reason,
        duration: finished.duration,
        dropped_bytes: finished.output.dropped(),
        output: finished.output,
        ..outcome
    }
}
