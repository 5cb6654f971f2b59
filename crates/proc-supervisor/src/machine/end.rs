//! What follows the end of a run.

use std::time::Duration;

use proc_hooks::Phase as HookPhase;
use proc_policy::{Decision, ExitFacts, StayState};

use super::{Action, Exit, Machine, Phase, Timer};
use crate::state::Desired;

impl Machine {
    /// The tree is gone: its last hooks, then what follows.
    pub(super) fn after_tree(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.rules.hooks.post_stop {
            if self.phase == Phase::Ending {
                self.enter(Phase::PostStop, self.kind, None, actions);
            }
            // After an exit nobody asked for, the outside hears of both together.
            self.phase = Phase::PostStop;
            actions.push(Action::Hooks(HookPhase::PostStop));
        } else {
            self.follow(now, actions);
        }
    }

    /// Decides where a run that has ended leads.
    pub(super) fn follow(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let exit = self.exit.take();
        let again = std::mem::take(&mut self.again);
        let forced = self.forced.take();
        if !self.live {
            self.run = None;
        }
        if let Some(survivors) = self.survivors.take() {
            let why = format!("survivors: {survivors}");
            self.settle(Phase::Failed, "survivors", why, exit, actions);
        } else if self.desired == Desired::Down {
            let why = unseen(exit.as_ref());
            self.settle(Phase::Stopped, self.kind, why, exit, actions);
        } else if again {
            let why = unseen(exit.as_ref());
            self.settle(Phase::Pending, self.kind, why, exit, actions);
        } else {
            let kind = forced.as_ref().map_or("exit", |(kind, _)| kind);
            let evidence = forced.map(|(_, evidence)| evidence);
            self.consult(kind, evidence, exit, now, actions);
        }
    }

    /// Asks the policy about an end that nobody asked for.
    fn consult(
        &mut self,
        kind: &'static str,
        evidence: Option<String>,
        exit: Option<Exit>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let mut facts = self.facts(exit.as_ref(), kind);
        if self.rules.readiness {
            let ready_for = self.ready_since.map(|since| now.saturating_sub(since));
            facts.healthy_for = Some(ready_for.unwrap_or_default().min(facts.runtime));
        }
        let random = self.random;
        let decision = self
            .rules
            .policy
            .on_exit(&mut self.counters, &facts, now, random);
        let lead = evidence.or_else(|| exit.as_ref().map(describe));
        match decision {
            Decision::Restart {
                delay,
                attempt,
                arithmetic,
            } => {
                self.attempt = attempt;
                self.phase = Phase::Backoff;
                self.arm(Timer::Retry, now + delay);
                self.reason = join(lead, &arithmetic);
                self.tell(kind, Some(self.reason.clone()), exit, Some(delay), actions);
            }
            Decision::Stay {
                state: StayState::Failed,
                reason,
                retry_in,
            } => {
                let why = join(lead, &reason);
                self.settle(Phase::Failed, kind, why, exit, actions);
                self.cool_down(retry_in, now);
            }
            Decision::Stay {
                state: StayState::Exited,
                reason,
                ..
            } => {
                // The policy names the exit itself; what went before it is only told here.
                let why = if kind == "exit" {
                    reason
                } else {
                    join(lead, &reason)
                };
                if self.rules.scheduled {
                    self.settle(Phase::Scheduled, kind, why, exit, actions);
                    actions.push(Action::Schedule);
                } else {
                    self.settle(Phase::Exited, kind, why, exit, actions);
                }
            }
        }
    }

    /// Books the end of a run that another one has followed, while no record of it could be written: it is counted and told,
    /// and what followed it is decided already.
    pub fn book_missed(&mut self, exit: Exit) -> Vec<Action> {
        let mut actions = Vec::new();
        let at = Duration::from_millis(u64::try_from(exit.at_ms).unwrap_or(0));
        let facts = self.facts(Some(&exit), "exit");
        let decision = self
            .rules
            .policy
            .on_exit(&mut self.counters, &facts, at, 0.0);
        if let Decision::Restart { attempt, .. } = decision {
            self.attempt = attempt;
        }
        self.booked(1);
        let detail = Some(describe(&exit));
        self.tell("exit", detail, Some(exit), None, &mut actions);
        actions
    }

    /// Books as many runs of which nothing else is known any more.
    pub fn book_dropped(&mut self, count: u32, detail: String) -> Vec<Action> {
        let mut actions = Vec::new();
        self.booked(count);
        self.tell("exit", Some(detail), None, None, &mut actions);
        actions
    }

    /// It was started again each time. Should this supervisor be killed now, the next one finds it on its way back.
    fn booked(&mut self, count: u32) {
        self.restarts = self.restarts.saturating_add(count);
        self.phase = Phase::Backoff;
        self.desired = Desired::Up;
    }

    /// Returns what the policy goes by. However politely it ended on TERM, being unhealthy or late is
    /// a failure, which the policy knows from `watchdog` and `timed_out`.
    fn facts(&self, exit: Option<&Exit>, kind: &'static str) -> ExitFacts {
        ExitFacts {
            code: exit.and_then(|exit| exit.code),
            signal: exit.and_then(|exit| exit.signal),
            oom: exit.is_some_and(|exit| exit.oom),
            runtime: exit.map_or(Duration::ZERO, |exit| exit.runtime),
            start_failed: kind == "timeout",
            watchdog: kind == "probe",
            timed_out: kind == "timeout",
            completes: self.rules.oneshot || self.rules.scheduled,
            ..ExitFacts::default()
        }
    }

    /// The backend could not start it: a failed start, unless a stop came in between.
    pub(super) fn spawn_failed(
        &mut self,
        reason: String,
        code: i32,
        random: f64,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.run = None;
        if self.desired == Desired::Down {
            self.settle(Phase::Stopped, self.kind, String::new(), None, actions);
            return;
        }
        let facts = ExitFacts {
            code: Some(code),
            ..ExitFacts::start_failed()
        };
        self.asked = None;
        match self
            .rules
            .policy
            .on_exit(&mut self.counters, &facts, now, random)
        {
            Decision::Restart {
                delay,
                attempt,
                arithmetic,
            } => {
                self.attempt = attempt;
                self.phase = Phase::Backoff;
                self.arm(Timer::Retry, now + delay);
                self.reason = join(Some(reason), &arithmetic);
                self.tell(
                    "spawn",
                    Some(self.reason.clone()),
                    None,
                    Some(delay),
                    actions,
                );
            }
            // It never ran, so it cannot have `exited`.
            Decision::Stay {
                reason: rest,
                retry_in,
                ..
            } => {
                let why = join(Some(reason), &rest);
                self.settle(Phase::Failed, "spawn", why, None, actions);
                self.cool_down(retry_in, now);
            }
        }
    }

    /// Some policies try again a good while after they gave up.
    fn cool_down(&mut self, retry_in: Option<Duration>, now: Duration) {
        if let Some(after) = retry_in {
            self.arm(Timer::Retry, now + after);
        }
    }

    fn settle(
        &mut self,
        phase: Phase,
        kind: &'static str,
        why: String,
        exit: Option<Exit>,
        actions: &mut Vec<Action>,
    ) {
        self.phase = phase;
        self.disarm_all();
        let detail = (!why.is_empty()).then(|| why.clone());
        self.reason = why;
        if exit.is_some() || self.told != phase.state() {
            self.tell(kind, detail, exit, None, actions);
        }
    }
}

/// Returns why nobody knows how a run ended; nothing where it is known.
fn unseen(exit: Option<&Exit>) -> String {
    let unknown = exit.filter(|exit| exit.unknown.is_some());
    unknown.map(describe).unwrap_or_default()
}

/// Returns an exit in words.
pub(super) fn describe(exit: &Exit) -> String {
    match (exit.code, exit.signal, &exit.unknown) {
        (_, Some(signal), _) if exit.oom => format!("out of memory (signal {signal})"),
        (Some(code), _, _) => format!("exit code {code}"),
        (None, Some(signal), _) => {
            let name = proc_core::Signal::from_raw(signal).map(|s| s.name());
            format!("signal {signal} ({})", name.as_deref().unwrap_or("?"))
        }
        (None, None, Some(why)) => format!("its end is not known: {why}"),
        (None, None, None) => "its end is not known".to_owned(),
    }
}

fn join(lead: Option<String>, rest: &str) -> String {
    match lead {
        Some(lead) if rest.is_empty() => lead,
        Some(lead) => format!("{lead}; {rest}"),
        None => rest.to_owned(),
    }
}
