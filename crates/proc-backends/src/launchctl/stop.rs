//! Stops: signals through launchd, so that it still tells how the process ended.

use std::sync::Arc;
use std::time::Duration;

use proc_core::{Mechanism, Signal, StopReport, StopSequence, StopStep, Survivor};
use tokio::sync::watch;
use tokio::time::Instant;

use super::facts::{JobState, job_state};
use super::instance::{Instance, changed, is_down};
use super::target::Target;
use super::tool::Seen;
use crate::error::OperateError;
use crate::event::BackendEventKind;
use crate::joined::Turn;
use crate::manager::ManagerError;

impl Instance {
    /// Ends the job's process. A second stop hastens the first and gets its report.
    pub(super) async fn stop(
        self: &Arc<Self>,
        sequence: StopSequence,
    ) -> Result<StopReport, OperateError> {
        let target = self.known()?;
        let first = match self.stops.turn(&sequence).await {
            Turn::Joined(report) => return Ok(report),
            Turn::First(first) => first,
        };
        let replaced = first.replaced.clone();
        let result = self.carry_out(&target, sequence, replaced).await;
        if let Ok(report) = &result {
            first.done(report);
        }
        result.map_err(self.refused("stop"))
    }

    async fn carry_out(
        &self,
        target: &Target,
        sequence: StopSequence,
        mut replaced: watch::Receiver<Option<StopSequence>>,
    ) -> Result<StopReport, ManagerError> {
        let begun = Instant::now();
        let tool = self.tool(target);
        let mut seen = tool.look().await?;
        let pid = pid_of(&seen);
        let mut steps = sequence.steps.into_iter();
        let (mut number, mut removed, mut waiting) = (0u32, false, false);
        let mut deadline = None;
        while !is_down(&seen) {
            if !waiting {
                let Some(step) = steps.next() else { break };
                removed |= self.step(target, &step, number, &seen).await?;
                deadline = deadline_of(&step);
                (number, waiting) = (number + 1, true);
            }
            // launchd itself is bringing it back.
            if !removed && pid_of(&seen) != pid && !is_down(&seen) {
                tool.bootout().await?;
                removed = true;
            }
            self.reconcile(target, &seen).await;
            let handle = self
                .life
                .lock()
                .await
                .handle
                .as_ref()
                .and_then(|h| h.try_clone().ok());
            tokio::select! {
                () = soon(handle.as_ref()) => {}
                () = until(deadline) => waiting = false,
                told = replaced.changed() => if told.is_ok() {
                    let next = replaced.borrow_and_update().clone();
                    steps = next.map(|next| next.steps).unwrap_or_default().into_iter();
                    waiting = false;
                    number = number.max(1);
                }
            }
            seen = tool.look().await?;
        }
        self.reconcile(target, &seen).await;
        Ok(StopReport {
            mechanism: Mechanism::GroupWalk,
            signalled: u32::from(number > 0 && pid.is_some()),
            escalated: number > 1,
            survivors: survivors(&seen),
            elapsed: begun.elapsed(),
        })
    }

    /// Carries out one step; says whether launchd was told to remove the job, and so not to
    /// restart it by itself.
    async fn step(
        &self,
        target: &Target,
        step: &StopStep,
        number: u32,
        seen: &Seen,
    ) -> Result<bool, ManagerError> {
        let tool = self.tool(target);
        let starting = matches!(seen, Seen::Job(facts) if job_state(facts).0 == JobState::Starting);
        // A job that exists may have a rule to be kept alive: only its removal ends it.
        let remove = number == 0 && (!target.own || starting);
        if remove {
            tool.bootout().await?;
        }
        if !remove || step.signal != Signal::TERM {
            match tool.kill(step.signal).await {
                // It has just ended.
                Ok(()) | Err(ManagerError::NoUnit { .. } | ManagerError::Failed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let (signal, wait) = (step.signal, step.wait);
        self.tell_of_run(BackendEventKind::StopProgress { signal, wait })
            .await;
        Ok(remove)
    }
}

fn pid_of(seen: &Seen) -> Option<u32> {
    match seen {
        Seen::Job(facts) => facts.pid,
        Seen::Nothing => None,
    }
}

fn deadline_of(step: &StopStep) -> Option<Instant> {
    let wait = match step.wait {
        None if step.signal == Signal::KILL => Some(StopSequence::AFTER_KILL),
        wait => wait,
    };
    wait.and_then(|wait| Instant::now().checked_add(wait))
}

/// Somebody waits: looks more often than usual.
async fn soon(handle: Option<&proc_core::ProcessHandle>) {
    let often = Duration::from_millis(200);
    tokio::select! {
        () = changed(handle) => {}
        () = tokio::time::sleep(often) => {}
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn survivors(seen: &Seen) -> Vec<Survivor> {
    let Seen::Job(facts) = seen else {
        return Vec::new();
    };
    if is_down(seen) {
        return Vec::new();
    }
    vec![Survivor {
        pid: facts.pid.unwrap_or(0),
        comm: String::new(),
        reason: format!("launchd says `{}`", facts.state.escape_debug()),
    }]
}
