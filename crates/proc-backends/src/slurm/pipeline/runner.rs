//! Submits tasks, follows their jobs, and ends what is no longer wanted.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use proc_core::Signal;
use proc_run::{
    Pipeline, PipelineEvent, PipelineMode, PipelineOptions, PipelineOutcome, Task, TaskOutcome,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::SlurmPipelineOptions;
use super::order::Order;
use super::task::{Ending, Progress, not_run};
use crate::manager::ManagerError;
use crate::slurm::facts::{SlurmFacts, SlurmPhase};
use crate::slurm::job::Job;
use crate::slurm::tool::Reach;
use crate::slurm::watch::{Round, Seen, Watcher};

/// A pipeline that is being run.
pub(super) struct Running<'a, F> {
    pipeline: &'a Pipeline,
    options: &'a SlurmPipelineOptions,
    watcher: Arc<Watcher>,
    on_event: F,
    order: Order,
    /// What is still to be submitted.
    queue: std::vec::IntoIter<usize>,
    tasks: Vec<Progress>,
    /// Tells this pipeline's jobs from others of the same names.
    token: u64,
    keep: usize,
    /// Jobs that have to leave the queue, as soon as Slurm answers.
    unwanted: Vec<u32>,
    cancelled: bool,
    failed_fast: bool,
}

impl<'a, F: FnMut(PipelineEvent<'_>)> Running<'a, F> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        options: &'a SlurmPipelineOptions,
        watcher: Arc<Watcher>,
        on_event: F,
    ) -> Self {
        let order = Order {
            needs: pipeline.waits_for(options.run.mode),
        };
        let count = pipeline.tasks().len();
        let output = |(position, task): (usize, &Task)| {
            let name = format!("{position:04}-{}.log", legible(&task.name));
            Progress::new(options.dir.join(name))
        };
        Self {
            pipeline,
            options,
            watcher,
            on_event,
            queue: order.submission().into_iter(),
            tasks: pipeline.tasks().iter().enumerate().map(output).collect(),
            order,
            token: std::collections::hash_map::RandomState::new()
                .build_hasher()
                .finish()
                & 0xffff_ffff,
            keep: PipelineOptions::kept_output(count),
            unwanted: Vec::new(),
            cancelled: false,
            failed_fast: false,
        }
    }

    pub(super) async fn run_to_the_end(
        mut self,
        cancelled: impl Future<Output = ()>,
    ) -> Result<PipelineOutcome, ManagerError> {
        let begun = Instant::now();
        let mut rounds = self.watcher.rounds();
        tokio::pin!(cancelled);
        while self.tasks.iter().any(|task| task.outcome.is_none()) || !self.unwanted.is_empty() {
            let due = self.due();
            tokio::select! {
                biased;
                () = &mut cancelled, if !self.cancelled => {
                    self.cancel("the pipeline was cancelled");
                }
                changed = next(&mut rounds) => self.take(&changed),
                () = until(due) => {}
                () = std::future::ready(()), if self.queue.len() > 0 => {
                    if let Err(error) = self.submit_next().await {
                        self.take_all_back().await;
                        return Err(error);
                    }
                }
            }
            self.act().await;
        }
        let cancelled = self.cancelled && !self.failed_fast;
        let outcomes = self
            .tasks
            .into_iter()
            .filter_map(|task| task.outcome)
            .collect();
        Ok(PipelineOutcome::new(outcomes, cancelled, begun.elapsed()))
    }

    /// Submits one task, unless it was given up already.
    async fn submit_next(&mut self) -> Result<(), ManagerError> {
        let Some(position) = self.queue.next() else {
            return Ok(());
        };
        if self.tasks[position].outcome.is_some() {
            return Ok(());
        }
        let job = self.job(position);
        match self.watcher.tool.submit(&job, &self.options.dir).await {
            Ok(id) => {
                self.tasks[position].id = Some(id);
                self.tasks[position].watching = Some(self.watcher.watch(id));
            }
            Err(
                error @ (ManagerError::NoManager { .. }
                | ManagerError::NoProgram { .. }
                | ManagerError::TimedOut { .. }
                | ManagerError::Write { .. }),
            ) => {
                // The answer may be lost and the job be there.
                let _as_good_as_can_be = self.watcher.tool.cancel_named(&job.name).await;
                return Err(error);
            }
            Err(error) => {
                let task = &self.pipeline.tasks()[position];
                self.settle(position, not_run(task, error.to_string()));
            }
        }
        Ok(())
    }

    fn job(&self, position: usize) -> Job {
        let (task, command) = (
            &self.pipeline.tasks()[position],
            self.pipeline.command(position),
        );
        let argv = std::iter::once(command.program().to_owned());
        let mut options = self.options.resources.clone();
        options.extend(
            self.options
                .of_task
                .get(&task.name)
                .cloned()
                .unwrap_or_default(),
        );
        let here = || std::env::current_dir().unwrap_or_else(|_| "/".into());
        let cwd = match command.directory() {
            Some(dir) if dir.is_absolute() => dir.to_owned(),
            Some(dir) => here().join(dir),
            None => here(),
        };
        Job {
            name: format!("t{position}.{}.{:08x}", legible(&task.name), self.token),
            argv: argv.chain(command.arguments().iter().cloned()).collect(),
            cwd,
            umask: None,
            env: command.variables().into_iter().collect(),
            stdout: self.tasks[position].output.clone(),
            stderr: None,
            options,
            dependency: self.dependency(position),
        }
    }

    /// What has passed by now need not be waited for.
    fn dependency(&self, position: usize) -> Option<String> {
        let all = self.order.dependencies(position, self.pipeline.tasks());
        let open = all.iter().filter(|on| self.tasks[on.on].outcome.is_none());
        let told = open.filter_map(|on| {
            let how = if on.may_fail { "afterany" } else { "afterok" };
            Some(format!("{how}:{}", self.tasks[on.on].id?))
        });
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| told.join(","))
    }

    /// Takes the answers of one question; those a task waited for come first.
    fn take(&mut self, round: &Round) {
        for position in self.order.submission() {
            let Some(id) = self.tasks[position].id else {
                continue;
            };
            if self.tasks[position].outcome.is_some() {
                continue;
            }
            match round.of(id) {
                Seen::Job(facts) => {
                    self.tasks[position].missed = false;
                    self.seen(position, &facts);
                }
                // A controller that has just begun may not have read all its records.
                Seen::Nothing if std::mem::replace(&mut self.tasks[position].missed, true) => {
                    let task = &self.pipeline.tasks()[position];
                    let reason = format!("Slurm no longer knows job {id}, nor how it ended");
                    self.settle(position, not_run(task, reason));
                }
                Seen::Nothing | Seen::NotAsked | Seen::Silence(_) => {}
            }
        }
    }

    fn seen(&mut self, position: usize, facts: &SlurmFacts) {
        let ran = !facts.node.is_empty();
        match facts.phase() {
            SlurmPhase::Running => self.runs(position),
            // Back in the queue: its time begins anew.
            SlurmPhase::Waiting => self.tasks[position].running = None,
            SlurmPhase::Ended if ran => {
                self.runs(position);
                let task = &self.pipeline.tasks()[position];
                let outcome = self.tasks[position].outcome_of(task, facts, self.keep);
                self.settle(position, outcome);
            }
            SlurmPhase::Ended => self.never_ran(position, facts),
            SlurmPhase::Ending | SlurmPhase::Unknown => {}
        }
    }

    fn runs(&mut self, position: usize) {
        let progress = &mut self.tasks[position];
        if progress.running.is_none() {
            progress.running = Some(Instant::now());
            progress
                .watching
                .iter()
                .for_each(|watching| watching.hurry());
        }
        if !std::mem::replace(&mut progress.told, true) {
            let task = &self.pipeline.tasks()[position];
            (self.on_event)(PipelineEvent::Started { position, task });
        }
    }

    /// Slurm takes out of the queue what can never run; the reason is told with the failure of what it waited for,
    /// which may come with a later answer.
    fn never_ran(&mut self, position: usize, facts: &SlurmFacts) {
        let all = self.order.dependencies(position, self.pipeline.tasks());
        if all.iter().any(|on| self.tasks[on.on].outcome.is_none()) {
            return;
        }
        let task = &self.pipeline.tasks()[position];
        let reason = format!("it never ran: {}", facts.in_words());
        self.settle(position, not_run(task, reason));
    }

    fn settle(&mut self, position: usize, outcome: TaskOutcome) {
        let goes_on = outcome.lets_others_go_on();
        let name = outcome.name.clone();
        self.record(position, outcome);
        if goes_on {
            return;
        }
        let sequential = self.options.run.mode == PipelineMode::Sequential;
        for (skipped, cause) in self.order.after(position) {
            let cause = &self.pipeline.tasks()[cause].name;
            let reason = match sequential {
                true => format!("skipped after the failure of `{name}`"),
                false => format!("skipped due to dependency failure: `{cause}`"),
            };
            self.skip(skipped, reason);
        }
        if self.options.run.fail_fast && !self.cancelled {
            self.failed_fast = true;
            self.cancel(&format!(
                "skipped because `{name}` failed and the pipeline fails fast"
            ));
        }
    }

    /// Ends what runs and skips what does not.
    fn cancel(&mut self, reason: &str) {
        self.cancelled = true;
        for position in 0..self.tasks.len() {
            if self.tasks[position].running.is_none() {
                self.skip(position, reason.to_owned());
            } else if self.tasks[position].ending.is_none() {
                self.tasks[position].ending = Some(Ending::new(&self.options.run.stop, false));
            }
        }
    }

    fn skip(&mut self, position: usize, reason: String) {
        if self.tasks[position].outcome.is_some() {
            return;
        }
        let task = &self.pipeline.tasks()[position];
        self.unwanted.extend(self.tasks[position].id);
        self.record(
            position,
            TaskOutcome::skipped(&task.name, task.allow_failure, reason),
        );
    }

    fn record(&mut self, position: usize, outcome: TaskOutcome) {
        (self.on_event)(PipelineEvent::Settled {
            position,
            outcome: &outcome,
        });
        self.tasks[position].watching = None;
        self.tasks[position].outcome = Some(outcome);
    }

    fn due(&self) -> Option<Instant> {
        let tasks = self.tasks.iter().zip(self.pipeline.tasks());
        let due = tasks.filter_map(|(progress, task)| progress.due(task.timeout));
        let again = (!self.unwanted.is_empty()).then(|| Instant::now() + self.options.slurm.busy);
        due.chain(again).min()
    }

    /// Sends what is due: signals to tasks whose time is over or that are not wanted, and what waits out of the queue.
    async fn act(&mut self) {
        let now = Instant::now();
        let mut signals: Vec<(u32, Signal)> = Vec::new();
        for (progress, task) in self.tasks.iter_mut().zip(self.pipeline.tasks()) {
            let is_due = progress.due(task.timeout).is_some_and(|due| due <= now);
            let (true, Some(id)) = (is_due, progress.id) else {
                continue;
            };
            let stop = &self.options.run.stop;
            let ending = progress
                .ending
                .get_or_insert_with(|| Ending::new(stop, true));
            signals.extend(
                ending
                    .next(now.max(Instant::now()))
                    .map(|signal| (id, signal)),
            );
            progress
                .watching
                .iter()
                .for_each(|watching| watching.hurry());
        }
        for (id, signal) in signals {
            let tool = &self.watcher.tool;
            let sent = tool.signal(&[id], signal, Reach::All).await;
            if let Err(error) = sent {
                tracing::warn!(%error, "job {id} could not be signalled");
            }
            if signal == Signal::KILL {
                // One that is in the queue again, or on a node that does not answer.
                self.unwanted.push(id);
            }
        }
        if !self.unwanted.is_empty() {
            match self.watcher.tool.cancel(&self.unwanted).await {
                Ok(()) => self.unwanted.clear(),
                // It is tried again.
                Err(error) => tracing::warn!(%error, "jobs could not be cancelled yet"),
            }
        }
    }

    async fn take_all_back(&mut self) {
        let open = self.tasks.iter().filter(|task| task.outcome.is_none());
        let ids: Vec<u32> = open
            .filter_map(|task| task.id)
            .chain(self.unwanted.iter().copied())
            .collect();
        if let Err(error) = self.watcher.tool.cancel(&ids).await {
            tracing::warn!(%error, "jobs may be left: {ids:?}");
        }
    }
}

async fn next(rounds: &mut watch::Receiver<Round>) -> Round {
    if rounds.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    rounds.borrow_and_update().clone()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Returns a task's name as file names and job names can hold it.
fn legible(name: &str) -> String {
    let odd = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_';
    name.replace(odd, "_").chars().take(40).collect()
}
