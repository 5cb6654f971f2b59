//! Stops: our signals through scancel(1), so that the exit stays the program's; out of the queue when it waits.

use std::sync::Arc;

use proc_core::{Mechanism, Signal, StopReport, StopSequence, StopStep, Survivor};
use tokio::sync::watch;
use tokio::time::Instant;

use super::facts::{SlurmFacts, SlurmPhase};
use super::instance::{Instance, is_down};
use super::record::JobId;
use super::tool::Reach;
use super::watch::Seen;
use crate::error::OperateError;
use crate::event::BackendEventKind;
use crate::joined::Turn;
use crate::manager::ManagerError;

/// A stop that is under way.
struct Stop {
    job: JobId,
    name: String,
    steps: std::vec::IntoIter<StopStep>,
    number: u32,
    /// Whether the job was taken from Slurm altogether, so that it cannot come back.
    cancelled: bool,
    deadline: Option<Instant>,
    waiting: bool,
    /// Slurm did not know it the last time.
    missed: bool,
}

impl Instance {
    /// Ends the job. A second stop hastens the first and gets its report.
    pub(super) async fn stop(
        self: &Arc<Self>,
        sequence: StopSequence,
    ) -> Result<StopReport, OperateError> {
        self.known()?;
        let first = match self.stops.turn(&sequence).await {
            Turn::Joined(report) => return Ok(report),
            Turn::First(first) => first,
        };
        let replaced = first.replaced.clone();
        let result = self.carry_out(sequence, replaced).await;
        if let Ok(report) = &result {
            first.done(report);
        }
        result.map_err(self.refused("stop"))
    }

    async fn carry_out(
        &self,
        sequence: StopSequence,
        mut replaced: watch::Receiver<Option<StopSequence>>,
    ) -> Result<StopReport, ManagerError> {
        let begun = Instant::now();
        let Some((job, name)) = self.present().await else {
            return Ok(report(None, 0, begun));
        };
        let mut watching = self.common.watcher.watch(job.id);
        watching.hurry();
        let mut facts = self.look(job, &name).await?;
        if facts.is_none() {
            // A controller that has just begun may not have read all its records.
            facts = self.look(job, &name).await?;
        }
        let mut stop = Stop {
            job,
            name,
            steps: sequence.steps.into_iter(),
            number: 0,
            cancelled: false,
            deadline: None,
            waiting: false,
            missed: false,
        };
        while let Some(now) = facts.as_ref().filter(|facts| !is_down(Some(facts))) {
            if !stop.waiting {
                let Some(step) = stop.steps.next() else { break };
                self.step(&mut stop, &step, now).await?;
                watching.hurry();
            }
            if now.phase() == SlurmPhase::Waiting && !stop.cancelled {
                self.common.watcher.tool.cancel(&[job.id]).await?;
                stop.cancelled = true;
            }
            self.reconcile(Some(now)).await;
            tokio::select! {
                seen = watching.next() => facts = stop.taken(seen, facts),
                () = until(stop.deadline) => stop.waiting = false,
                told = replaced.changed() => if told.is_ok() {
                    let next = replaced.borrow_and_update().clone();
                    stop.steps = next.map(|next| next.steps).unwrap_or_default().into_iter();
                    (stop.waiting, stop.number) = (false, stop.number.max(1));
                }
            }
        }
        self.reconcile(facts.as_ref()).await;
        if facts.is_none() {
            // Twice in a row.
            self.reconcile(None).await;
        }
        Ok(report(facts.as_ref(), stop.number, begun))
    }

    /// Carries out one step.
    async fn step(
        &self,
        stop: &mut Stop,
        step: &StopStep,
        facts: &SlurmFacts,
    ) -> Result<(), ManagerError> {
        let tool = &self.common.watcher.tool;
        let id = [stop.job.id];
        tool.signal(&id, step.signal, Reach::All).await?;
        if step.signal == Signal::KILL || facts.phase() == SlurmPhase::Waiting {
            // A node that does not answer cannot be told; the job must not run again elsewhere.
            tool.cancel(&id).await?;
            stop.cancelled = true;
        }
        stop.deadline = deadline_of(step);
        (stop.number, stop.waiting) = (stop.number + 1, true);
        let (signal, wait) = (step.signal, step.wait);
        self.tell_of_run(BackendEventKind::StopProgress { signal, wait })
            .await;
        Ok(())
    }
}

impl Stop {
    /// Takes an answer; silence, and a job that is missed for the first time, leave things as they were.
    fn taken(&mut self, seen: Seen, before: Option<SlurmFacts>) -> Option<SlurmFacts> {
        match seen {
            Seen::Job(facts) if self.job.is(&facts, &self.name) => {
                self.missed = false;
                // A requeue on the way changes its time of submission.
                self.job.note(&facts);
                Some(facts)
            }
            Seen::Silence(_) | Seen::NotAsked => before,
            Seen::Job(_) | Seen::Nothing if std::mem::replace(&mut self.missed, true) => None,
            Seen::Job(_) | Seen::Nothing => before,
        }
    }
}

fn deadline_of(step: &StopStep) -> Option<Instant> {
    let wait = match step.wait {
        None if step.signal == Signal::KILL => Some(StopSequence::AFTER_KILL),
        wait => wait,
    };
    wait.and_then(|wait| Instant::now().checked_add(wait))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn report(facts: Option<&SlurmFacts>, steps: u32, begun: Instant) -> StopReport {
    let left = facts.filter(|facts| !is_down(Some(facts)));
    let survivor = left.map(|facts| Survivor {
        pid: 0,
        comm: format!("job {}", facts.id),
        reason: format!("Slurm says {} on {}", facts.state, facts.node),
    });
    StopReport {
        mechanism: Mechanism::GroupWalk,
        signalled: u32::from(steps > 0),
        escalated: steps > 1,
        survivors: survivor.into_iter().collect(),
        elapsed: begun.elapsed(),
    }
}
