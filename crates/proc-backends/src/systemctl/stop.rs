//! Stops: systemd's own first, then the further steps of the sequence, until the unit is down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proc_core::{Mechanism, Signal, StopReport, StopSequence, StopStep, Survivor};
use tokio::sync::watch;

use super::facts::UnitFacts;
use super::instance::Instance;
use super::target::Target;
use super::watch::Watch;
use crate::error::OperateError;
use crate::event::BackendEventKind;
use crate::joined::Turn;
use crate::manager::ManagerError;

/// Returns whether nothing of a unit is left and nothing is about to start it.
pub(super) fn is_down(facts: &UnitFacts) -> bool {
    let at_rest = matches!(facts.active.as_str(), "inactive" | "failed");
    at_rest && !facts.job && !facts.sub.ends_with("before-auto-restart")
}

impl Instance {
    /// Ends the unit. A second stop hastens the first and gets its report.
    pub(super) async fn stop(
        self: &Arc<Self>,
        sequence: StopSequence,
    ) -> Result<StopReport, OperateError> {
        let target = self.known()?;
        let first = match self.stopping.turn(&sequence).await {
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
        self: &Arc<Self>,
        target: &Target,
        sequence: StopSequence,
        mut replaced: watch::Receiver<Option<StopSequence>>,
    ) -> Result<StopReport, ManagerError> {
        let begun = Instant::now();
        let tool = self.tool(target);
        let bus = self.common.bus(target, &tool);
        let mut watch = Watch::new(&bus, &target.unit, None);
        let first = tool.show().await?;
        let mut facts = first.clone();
        let mut steps = sequence.steps.into_iter();
        let (mut number, mut asked) = (0u32, false);
        let mut deadline = None;
        let mut waiting = false;
        while !is_down(&facts) {
            if !waiting {
                let Some(step) = steps.next() else { break };
                asked |= self.step(target, &step, number, &facts).await?;
                deadline = deadline_of(&step);
                (number, waiting) = (number + 1, true);
            }
            // It ended by a signal of ours without systemd having been asked to keep it down.
            if !asked && facts.main_pid != first.main_pid {
                tool.stop().await?;
                asked = true;
            }
            self.reconcile(target, &facts, None).await;
            tokio::select! {
                () = watch.changed() => {}
                () = until(deadline) => waiting = false,
                changed = replaced.changed() => if changed.is_ok() {
                    let next = replaced.borrow_and_update().clone().unwrap_or(StopSequence { steps: Vec::new() });
                    (steps, waiting) = (next.steps.into_iter(), false);
                    number = number.max(1);
                }
            }
            facts = tool.show().await?;
        }
        self.reconcile(target, &facts, None).await;
        Ok(report(&first, &facts, number, begun.elapsed()))
    }

    /// Carries out one step; says whether systemd was asked to keep the unit down.
    async fn step(
        &self,
        target: &Target,
        step: &StopStep,
        number: u32,
        facts: &UnitFacts,
    ) -> Result<bool, ManagerError> {
        let tool = self.tool(target);
        // The unit's own signal comes with systemd's own stop, with its ExecStop; so does TERM for
        // a foreign unit, whose author knows better which signal it wants.
        let usual = facts.kill_signal == Some(step.signal) || facts.main_pid == 0;
        let own_way = number == 0 && (usual || (!target.own && step.signal == Signal::TERM));
        if own_way {
            tool.stop().await?;
        } else if let Err(error) = tool.kill(step.signal, true).await {
            let gone = matches!(
                error,
                ManagerError::NoUnit { .. } | ManagerError::Failed { .. }
            );
            if !gone {
                return Err(error);
            }
        }
        let (signal, wait) = (step.signal, step.wait);
        self.tell_of_run(BackendEventKind::StopProgress { signal, wait })
            .await;
        Ok(own_way)
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
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn report(first: &UnitFacts, last: &UnitFacts, steps: u32, elapsed: Duration) -> StopReport {
    let down = is_down(last);
    let pid = last
        .main_pid
        .max(u32::from(last.main_pid == 0) * last.exec_pid);
    let survivor = || Survivor {
        pid,
        comm: String::new(),
        reason: format!("systemd says {}/{}", last.active, last.sub),
    };
    StopReport {
        // systemd ends the whole control group, unless the unit tells it not to.
        mechanism: match last.kill_mode.as_str() {
            "process" | "none" => Mechanism::GroupWalk,
            _ => Mechanism::Cgroup,
        },
        signalled: u32::from(steps > 0 && first.main_pid > 0),
        escalated: steps > 1 || (steps > 0 && last.result == "timeout"),
        survivors: if down { Vec::new() } else { vec![survivor()] },
        elapsed,
    }
}
