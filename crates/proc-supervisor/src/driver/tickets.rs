//! Requests that are answered later: when what they asked for has come about, or cannot any more.

use std::time::Duration;

use super::roll::Begun;
use super::{Driver, Instance};
use crate::graph::Gate;
use crate::handle::Reply;
use crate::machine::Phase;
use crate::request::{Outcome, Report, StopOptions, WaitFor};
use crate::state::State;
use crate::view::Who;

/// How long an answer waits for the disk.
const DURABLE: Duration = Duration::from_secs(2);

/// One request that waits.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) targets: Vec<Target>,
    pub(crate) answer: Answer,
    /// Who asked for the targets to be restarted one after the other.
    pub(crate) rolling: Option<Who>,
}

/// What has to come about for one instance.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) key: String,
    /// The name to answer by.
    pub(crate) name: String,
    pub(crate) goal: Goal,
    /// How it turned out.
    pub(crate) outcome: Option<Outcome>,
}

/// What has to come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// As asked for by `wait`.
    Wait(WaitFor),
    /// Ready by a run after this one.
    After(u64),
    /// Nothing of it lives.
    Down,
    /// Its turn in a row has not come yet.
    Turn,
    /// A new instance is on its way to take its place.
    Roll,
}

/// Whom to answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Report(Reply<Report>),
    Applied(
        Reply<(Vec<proc_spec::Change>, Report)>,
        Vec<proc_spec::Change>,
    ),
    /// Somebody who does not wait.
    Nobody,
}

impl Answer {
    fn is_closed(&self) -> bool {
        match self {
            Self::Report(reply) => reply.is_closed(),
            Self::Applied(reply, _) => reply.is_closed(),
            Self::Nobody => true,
        }
    }

    pub(crate) fn send(self, report: Report) {
        // Whoever asked may have stopped waiting: what was asked for holds all the same.
        match self {
            Self::Report(reply) => drop(reply.send(Ok(report))),
            Self::Applied(reply, plan) => drop(reply.send(Ok((plan, report)))),
            Self::Nobody => {}
        }
    }
}

impl Driver {
    /// Makes a request wait for its instances, under one goal.
    pub(super) fn await_goal(&mut self, keys: &[String], goal: Goal, answer: Answer) {
        let targets = keys.iter().map(|key| self.target(key, goal)).collect();
        self.tickets.push(Ticket {
            targets,
            answer,
            rolling: None,
        });
    }

    pub(super) fn target(&self, key: &str, goal: Goal) -> Target {
        Target {
            key: key.to_owned(),
            name: self.shown(key),
            goal,
            outcome: None,
        }
    }

    /// Answers every request whose time has come.
    pub(super) fn settle_tickets(&mut self) {
        for mut ticket in std::mem::take(&mut self.tickets) {
            // A row that has begun goes on, whether or not somebody still waits for it.
            if ticket.answer.is_closed() && ticket.rolling.is_none() {
                continue;
            }
            for target in &mut ticket.targets {
                if target.outcome.is_none() && !matches!(target.goal, Goal::Turn | Goal::Roll) {
                    target.outcome = self.outcome(target);
                }
            }
            if let Some(who) = ticket.rolling.clone() {
                self.roll_on(&mut ticket.targets, &who);
            }
            if ticket.targets.iter().all(|target| target.outcome.is_some()) {
                self.answer(ticket.answer, self.report(&ticket.targets));
            } else {
                self.tickets.push(ticket);
            }
        }
    }

    /// Answers once what was asked for is on the disk too, so that no crash takes it back. A disk
    /// that refuses delays nobody for long; it is told as trouble.
    pub(super) fn answer(&self, answer: Answer, report: Report) {
        let recorder = self.recorder.clone();
        tokio::spawn(async move {
            let _told_as_trouble = recorder.flush(DURABLE).await;
            answer.send(report);
        });
    }

    /// Restarts the next of a row, once the one before is ready again. One that does not become
    /// ready ends the row: the others keep running as they are.
    fn roll_on(&mut self, targets: &mut [Target], who: &Who) {
        let failed = targets
            .iter()
            .find(|target| target.outcome.as_ref().is_some_and(|o| !o.ok));
        if let Some(failed) = failed.map(|target| target.name.clone()) {
            for target in targets
                .iter_mut()
                .filter(|target| target.goal == Goal::Turn)
            {
                let message = format!("not restarted: `{failed}` did not become ready");
                target.outcome = Some(Outcome {
                    name: target.name.clone(),
                    ok: false,
                    message,
                });
            }
            return;
        }
        if targets
            .iter()
            .any(|target| target.goal != Goal::Turn && target.outcome.is_none())
        {
            return;
        }
        if let Some(next) = targets.iter_mut().find(|target| target.goal == Goal::Turn) {
            match self.begin_roll(&next.key, who) {
                Begun::New => {
                    next.goal = Goal::Roll;
                    // Nothing else need happen before it may start.
                    self.open_gates();
                }
                Begun::InPlace => {
                    let run = self.instances.get(&next.key).map_or(0, |i| i.last_run);
                    next.goal = Goal::After(run);
                    let keys = [next.key.clone()];
                    self.order_stop(&keys, ("restart", Some(who)), true, &StopOptions::default());
                    self.release_stops();
                }
                Begun::NotYet => {}
                Begun::Not(message) => {
                    next.outcome = Some(Outcome {
                        name: next.name.clone(),
                        ok: false,
                        message,
                    });
                }
            }
        }
    }

    fn report(&self, targets: &[Target]) -> Report {
        let downs = targets.iter().filter(|target| target.goal == Goal::Down);
        let survivors = downs
            .filter_map(|target| self.instances.get(&target.key))
            .flat_map(|instance| instance.survivors.clone());
        Report {
            survivors: survivors.collect(),
            outcomes: targets
                .iter()
                .filter_map(|target| target.outcome.clone())
                .collect(),
        }
    }

    fn outcome(&self, target: &Target) -> Option<Outcome> {
        let found = match self.instances.get(&target.key) {
            // A surplus instance that is no more.
            None if target.goal == Goal::Down => Ok(String::new()),
            None => Err("it is no more".to_owned()),
            Some(instance) => self.judge(&target.key, instance, target.goal)?,
        };
        let (ok, message) = match found {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        Some(Outcome {
            name: target.name.clone(),
            ok,
            message,
        })
    }

    /// Returns whether a goal has come about (`Ok`), cannot any more (`Err`), or is still open.
    fn judge(&self, key: &str, instance: &Instance, goal: Goal) -> Option<Result<String, String>> {
        let state = instance.machine.state();
        if instance.doubt.as_ref().is_some_and(|doubt| doubt.looking) {
            return None;
        }
        match goal {
            Goal::Down => self.is_down(instance),
            Goal::Turn | Goal::Roll => None,
            Goal::After(run) if instance.last_run <= run && !settled_without_run(state) => {
                self.blocked(key, instance)
            }
            Goal::After(_) | Goal::Wait(WaitFor::Settled | WaitFor::Ready) => {
                self.is_settled(key, instance)
            }
            Goal::Wait(WaitFor::Running) => match state {
                State::Running => Some(Ok(String::new())),
                State::Failed | State::Exited => Some(Err(self.why(instance))),
                State::Pending => self.blocked(key, instance),
                _ => None,
            },
            Goal::Wait(WaitFor::Stopped) => {
                let idle = state.is_down() || state == State::Scheduled;
                idle.then(|| Ok(String::new()))
            }
            Goal::Wait(WaitFor::Exited) => {
                let ended = matches!(state, State::Exited | State::Failed)
                    || (state == State::Stopped && instance.last_exit.is_some());
                ended.then(|| Ok(String::new()))
            }
        }
    }

    fn is_down(&self, instance: &Instance) -> Option<Result<String, String>> {
        if instance.order.is_some() {
            return None;
        }
        match instance.machine.phase() {
            Phase::Stopped | Phase::Exited => Some(Ok(String::new())),
            Phase::Failed if instance.survivors.is_empty() => Some(Ok(String::new())),
            Phase::Failed => Some(Err(self.why(instance))),
            // Somebody has started it again meanwhile: it was down in between.
            Phase::Pending | Phase::Scheduled | Phase::Backoff => Some(Ok(String::new())),
            _ => None,
        }
    }

    fn is_settled(&self, key: &str, instance: &Instance) -> Option<Result<String, String>> {
        if instance.order.is_some() {
            return None;
        }
        match instance.machine.state() {
            State::Running if instance.machine.is_ready() => Some(Ok(String::new())),
            State::Scheduled => Some(Ok("waits for its time".to_owned())),
            State::Exited if self.ended_well(instance) => Some(Ok(self.why(instance))),
            State::Exited | State::Failed => Some(Err(self.why(instance))),
            State::Stopped => Some(Err("stopped".to_owned())),
            State::Pending => self.blocked(key, instance),
            State::Starting
            | State::Running
            | State::Stopping
            | State::Backoff
            | State::Unattended => None,
        }
    }

    /// A pending instance whose needs cannot hold by themselves any more has failed for now.
    fn blocked(&self, key: &str, instance: &Instance) -> Option<Result<String, String>> {
        if instance.machine.phase() != Phase::Pending {
            return None;
        }
        match self.gate(key) {
            Gate::Blocked(reason) => Some(Err(reason)),
            Gate::Open | Gate::Waits(_) => None,
        }
    }

    fn why(&self, instance: &Instance) -> String {
        let state = instance.machine.state();
        match instance.machine.reason() {
            "" => state.to_string(),
            reason => format!("{state}: {reason}"),
        }
    }
}

/// A start that fails before there is a run, or is called off, is an answer too.
const fn settled_without_run(state: State) -> bool {
    matches!(state, State::Failed | State::Stopped)
}
