//! The phases on the way up, and up.

use std::time::Duration;

use proc_hooks::Phase as HookPhase;

use super::{Action, Event, Machine, Phase, Timer};
use crate::state::Desired;
use crate::view::Who;

impl Machine {
    /// A start by hand clears every limit.
    pub(super) fn clear_limits(&mut self) {
        self.counters.clear();
        self.restarts = 0;
        self.attempt = 0;
    }

    fn want_up(&mut self, by_hand: bool, by: Option<Who>) {
        self.desired = Desired::Up;
        if by_hand {
            self.clear_limits();
            self.kind = "start";
            self.asked = by;
        }
    }

    pub(super) fn pending(&mut self, event: Event, _now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Gate if self.rules.hooks.pre_start => {
                self.reason.clear();
                self.enter(Phase::PreStart, self.kind, None, actions);
                actions.push(Action::Hooks(HookPhase::PreStart));
            }
            Event::Gate => self.spawn(actions),
            Event::Waits { kind, reason } => {
                self.enter(Phase::Pending, kind, Some(reason.clone()), actions);
                self.reason = reason;
            }
            Event::Stop { kind, by } => self.call_off(kind, by, actions),
            Event::Start { by_hand, by } => self.want_up(by_hand, by),
            // The start that is about to happen is after this request.
            Event::Restart { by, .. } => self.want_up(true, by),
            Event::Hasten
            | Event::Recycle { .. }
            | Event::HooksDone(..)
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::TreeGone { .. }
            | Event::StartupPassed
            | Event::Ready { .. }
            | Event::NotReady { .. }
            | Event::Unhealthy { .. }
            | Event::Lost { .. }
            | Event::Recovered
            | Event::NextAt(_)
            | Event::Extend(_)
            | Event::Due(_) => {}
        }
    }

    pub(super) fn pre_start(&mut self, event: Event, _now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::HooksDone(HookPhase::PreStart, Ok(())) => self.spawn(actions),
            Event::HooksDone(HookPhase::PreStart, Err(why)) => {
                self.reason.clone_from(&why);
                self.enter(Phase::Failed, "hook", Some(why), actions);
            }
            Event::Stop { kind, by } => {
                actions.push(Action::CancelHooks);
                self.call_off(kind, by, actions);
            }
            Event::Start { by_hand, by } => self.want_up(by_hand, by),
            Event::Restart { by, .. } => self.want_up(true, by),
            Event::HooksDone(..)
            | Event::Gate
            | Event::Waits { .. }
            | Event::Hasten
            | Event::Recycle { .. }
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::TreeGone { .. }
            | Event::StartupPassed
            | Event::Ready { .. }
            | Event::NotReady { .. }
            | Event::Unhealthy { .. }
            | Event::Lost { .. }
            | Event::Recovered
            | Event::NextAt(_)
            | Event::Extend(_)
            | Event::Due(_) => {}
        }
    }

    pub(super) fn spawning(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Spawned { run } => self.spawned(run, now, actions),
            Event::SpawnFailed {
                reason,
                code,
                random,
            } => {
                self.spawn_failed(reason, code, random, now, actions);
            }
            // The end of a very short run can overtake the answer to its start.
            Event::Exited { run, exit } => {
                self.run = Some(run);
                self.exit = Some(exit);
            }
            // Whether it was executed is not known yet; the answer decides.
            Event::Stop { kind, by } => {
                self.desired = Desired::Down;
                self.kind = kind;
                self.asked = by;
            }
            Event::Start { by_hand, by } => self.want_up(by_hand, by),
            Event::Restart { by, .. } => self.want_up(true, by),
            Event::Gate
            | Event::Waits { .. }
            | Event::Hasten
            | Event::Recycle { .. }
            | Event::HooksDone(..)
            | Event::TreeGone { .. }
            | Event::StartupPassed
            | Event::Ready { .. }
            | Event::NotReady { .. }
            | Event::Unhealthy { .. }
            | Event::Lost { .. }
            | Event::Recovered
            | Event::NextAt(_)
            | Event::Extend(_)
            | Event::Due(_) => {}
        }
    }

    pub(super) fn warming(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Due(Timer::StartSeconds) => {
                self.start_seconds_left = false;
                self.promote("start", None, now, actions);
            }
            Event::StartupPassed => {
                self.startup_left = false;
                actions.push(Action::Watch);
                self.promote("start", None, now, actions);
            }
            // What says of itself that it is ready has started, whatever the clock says.
            Event::Ready { evidence } => {
                self.is_ready_from(now);
                self.start_seconds_left = false;
                self.startup_left = false;
                self.promote("ready", evidence, now, actions);
            }
            Event::NotReady { evidence } => self.reason = format!("not ready: {evidence}"),
            other => self.live_event(other, now, actions),
        }
    }

    pub(super) fn up(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Ready { .. } if self.ready => {}
            Event::Ready { evidence } => {
                self.is_ready_from(now);
                self.disarm(Timer::StartTimeout);
                self.await_health(now);
                self.reason.clear();
                self.tell("ready", evidence, None, None, actions);
            }
            Event::NotReady { evidence } => {
                self.reason = format!("not ready: {evidence}");
                if self.is_not_ready() {
                    self.tell("probe", Some(evidence), None, None, actions);
                }
            }
            Event::Due(Timer::Healthy) => {
                if let Some(healthy) = self.rules.policy.reset_after {
                    self.rules.policy.on_healthy(&mut self.counters, healthy);
                }
                self.attempt = 0;
            }
            Event::HooksDone(HookPhase::PostStart, Err(why)) => {
                self.tell("hook", Some(why), None, None, actions);
            }
            other => self.live_event(other, now, actions),
        }
    }

    pub(super) fn unattended(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Recovered => {
                self.phase = Phase::Warming;
                self.reason.clear();
                if self.started() {
                    self.come_up("adopt", None, now, actions);
                } else {
                    self.tell("adopt", None, None, None, actions);
                }
            }
            Event::Lost { .. } => {}
            other => self.live_event(other, now, actions),
        }
    }

    /// What every phase with a live leader does alike.
    fn live_event(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Stop { kind, by } => {
                self.desired = Desired::Down;
                self.begin_stop(kind, by, actions);
            }
            Event::Restart { kind, by } => {
                self.want_up(true, None);
                self.again = true;
                self.begin_stop(kind, by, actions);
            }
            Event::Recycle { kind, evidence } => self.recycle(kind, evidence, actions),
            Event::Due(Timer::MaxAge) => {
                let age = self.rules.max_age.unwrap_or_default();
                let evidence = format!("it has run for {age:?}, the longest it may");
                self.recycle("max_age", evidence, actions);
            }
            Event::NextAt(due) if self.rules.is_due_while_it_runs() => {
                self.arm(Timer::Schedule, due.max(now))
            }
            Event::Due(Timer::Schedule) if self.rules.overlap_allows => {
                actions.extend([Action::Another, Action::Schedule]);
            }
            Event::Due(Timer::Schedule) => {
                let evidence = "due again while it still runs".to_owned();
                self.recycle("schedule", evidence, actions);
            }
            Event::Start { by_hand, by } => {
                let (kind, asked) = (self.kind, self.asked.clone());
                self.want_up(by_hand, by);
                (self.kind, self.asked) = (kind, asked);
            }
            Event::Exited { run, exit } if self.run == Some(run) => {
                self.leader_gone(exit, now, actions);
            }
            Event::Unhealthy { evidence } => self.replace("probe", evidence, actions),
            Event::Due(Timer::StartTimeout) => {
                let why = if self.reason.is_empty() {
                    "not ready within the start timeout".to_owned()
                } else {
                    format!("start timeout; {}", self.reason)
                };
                self.replace("timeout", why, actions);
            }
            Event::Lost { cause } => {
                self.reason.clone_from(&cause);
                self.enter(Phase::Unattended, "lost", Some(cause), actions);
            }
            Event::Ready { .. } => self.is_ready_from(now),
            Event::NotReady { .. } => drop(self.is_not_ready()),
            Event::StartupPassed => {
                self.startup_left = false;
                actions.push(Action::Watch);
            }
            Event::Due(Timer::StartSeconds) => self.start_seconds_left = false,
            Event::Extend(time) => {
                if let Some(due) = self.deadline(Timer::StartTimeout) {
                    self.arm(Timer::StartTimeout, due.max(now + time));
                }
            }
            Event::Exited { .. }
            | Event::Gate
            | Event::Waits { .. }
            | Event::Hasten
            | Event::HooksDone(..)
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::TreeGone { .. }
            | Event::Recovered
            | Event::NextAt(_)
            | Event::Due(_) => {}
        }
    }

    fn spawn(&mut self, actions: &mut Vec<Action>) {
        self.reason.clear();
        self.run = None;
        self.exit = None;
        self.forced = None;
        self.again = false;
        self.survivors = None;
        self.tree_gone = false;
        self.ready_since = None;
        self.enter(Phase::Spawning, self.kind, None, actions);
        actions.push(Action::Spawn);
    }

    fn spawned(&mut self, run: u64, now: Duration, actions: &mut Vec<Action>) {
        let ended = self.exit.take().filter(|_| self.run == Some(run));
        self.run = Some(run);
        self.live = true;
        self.phase = Phase::Warming;
        self.start_seconds_left = true;
        self.startup_left = self.rules.startup;
        self.arm(Timer::StartSeconds, now + self.rules.start_seconds);
        if let (true, Some(limit)) = (self.awaits_evidence(), self.rules.start_timeout) {
            self.arm(Timer::StartTimeout, now + limit);
        }
        if let Some(age) = self.rules.max_age {
            self.arm(Timer::MaxAge, now + age);
        }
        if let Some(exit) = ended {
            self.leader_gone(exit, now, actions);
        } else if self.desired == Desired::Down {
            self.end_tree(self.kind, actions);
        } else {
            actions.push(Action::Watch);
            if self.rules.is_due_while_it_runs() {
                actions.push(Action::Schedule);
            }
        }
    }

    pub(super) fn awaits_evidence(&self) -> bool {
        self.rules.readiness || self.rules.startup
    }

    pub(super) fn started(&self) -> bool {
        !self.start_seconds_left && !self.startup_left
    }

    fn promote(
        &mut self,
        kind: &'static str,
        detail: Option<String>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if self.started() {
            self.come_up(kind, detail, now, actions);
            if self.rules.hooks.post_start {
                actions.push(Action::Hooks(HookPhase::PostStart));
            }
        }
    }

    /// The leader counts as started.
    pub(super) fn come_up(
        &mut self,
        kind: &'static str,
        detail: Option<String>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if !self.rules.readiness {
            self.ready = !self.rules.oneshot;
        }
        self.disarm(Timer::StartSeconds);
        if self.ready || !self.rules.readiness {
            self.disarm(Timer::StartTimeout);
            self.reason.clear();
        }
        self.await_health(now);
        self.enter(Phase::Up, kind, detail, actions);
    }

    fn is_ready_from(&mut self, now: Duration) {
        self.ready = !self.rules.oneshot;
        self.ready_since.get_or_insert(now);
    }

    /// Returns whether it was ready until now. What it has been healthy for counts no more.
    fn is_not_ready(&mut self) -> bool {
        self.ready_since = None;
        if self.rules.readiness {
            self.disarm(Timer::Healthy);
        }
        std::mem::take(&mut self.ready)
    }

    /// Begins to count healthy running: being up, and ready where a probe tells.
    fn await_health(&mut self, now: Duration) {
        let healthy = !self.rules.readiness || self.ready_since.is_some();
        let due = self.rules.policy.reset_after.map(|after| now + after);
        if let (true, None, Some(due)) = (healthy, self.deadline(Timer::Healthy), due) {
            self.arm(Timer::Healthy, due);
        }
    }
}
