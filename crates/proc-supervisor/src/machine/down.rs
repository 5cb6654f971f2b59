//! The phases on the way down, and down.

use std::time::Duration;

use proc_hooks::Phase as HookPhase;

use super::{Action, Event, Exit, Machine, Phase, Timer};
use crate::state::Desired;
use crate::view::Who;

/// How long the exit of a leader may lag behind the proof that its tree is gone.
const EXIT_LAG: Duration = Duration::from_secs(5);

impl Machine {
    /// Ends what has no process yet, or none any more.
    pub(super) fn call_off(
        &mut self,
        kind: &'static str,
        by: Option<Who>,
        actions: &mut Vec<Action>,
    ) {
        self.desired = Desired::Down;
        self.disarm_all();
        self.reason.clear();
        self.asked = by;
        self.enter(Phase::Stopped, kind, None, actions);
    }

    /// Ends a live leader because somebody asked.
    pub(super) fn begin_stop(
        &mut self,
        kind: &'static str,
        by: Option<Who>,
        actions: &mut Vec<Action>,
    ) {
        self.kind = kind;
        self.asked = by;
        if self.rules.hooks.pre_stop {
            self.retire(actions);
            self.enter(Phase::PreStop, kind, None, actions);
            actions.push(Action::Hooks(HookPhase::PreStop));
        } else {
            self.end_tree(kind, actions);
        }
    }

    /// Ends a live leader because it is unhealthy: its end counts as a failure.
    pub(super) fn replace(
        &mut self,
        kind: &'static str,
        evidence: String,
        actions: &mut Vec<Action>,
    ) {
        self.kind = kind;
        self.asked = None;
        self.forced = Some((kind, evidence.clone()));
        self.retire(actions);
        self.reason.clone_from(&evidence);
        self.enter(Phase::Ending, kind, Some(evidence), actions);
        actions.push(Action::End);
    }

    /// Ends a live leader to start another one: neither a failure nor by hand.
    pub(super) fn recycle(
        &mut self,
        kind: &'static str,
        evidence: String,
        actions: &mut Vec<Action>,
    ) {
        self.again = true;
        self.restarts = self.restarts.saturating_add(1);
        self.kind = kind;
        self.asked = None;
        self.retire(actions);
        let next = if self.rules.hooks.pre_stop {
            (Phase::PreStop, Action::Hooks(HookPhase::PreStop))
        } else {
            (Phase::Ending, Action::End)
        };
        self.enter(next.0, kind, Some(evidence.clone()), actions);
        self.reason = evidence;
        actions.push(next.1);
    }

    pub(super) fn end_tree(&mut self, kind: &'static str, actions: &mut Vec<Action>) {
        self.retire(actions);
        self.enter(Phase::Ending, kind, None, actions);
        actions.push(Action::End);
    }

    /// The end has begun: nothing is probed or awaited any more.
    fn retire(&mut self, actions: &mut Vec<Action>) {
        self.ready = false;
        self.tree_gone = false;
        self.survivors = None;
        self.disarm_all();
        self.reason.clear();
        actions.push(Action::Unwatch);
    }

    /// The leader ended by itself. The outside hears of it when the rest of the tree is gone too,
    /// which usually is at once.
    pub(super) fn leader_gone(&mut self, exit: Exit, now: Duration, actions: &mut Vec<Action>) {
        self.retire(actions);
        self.asked = None;
        self.kind = "exit";
        self.live = false;
        self.exit = Some(exit);
        self.phase = Phase::Rest;
        if self.rules.detached {
            self.tree_gone = true;
            self.after_tree(now, actions);
        } else {
            self.reason = "ending the rest of its tree".to_owned();
            actions.push(Action::End);
        }
    }

    pub(super) fn pre_stop(&mut self, event: Event, _now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::HooksDone(HookPhase::PreStop, result) => {
                if let Err(why) = result {
                    self.tell("hook", Some(why), None, None, actions);
                }
                self.phase = Phase::Ending;
                actions.push(Action::End);
            }
            Event::Hasten => {
                actions.push(Action::CancelHooks);
                self.phase = Phase::Ending;
                actions.push(Action::End);
            }
            other => self.ending_common(other),
        }
    }

    pub(super) fn ending(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::TreeGone { survivors, random } => {
                self.tree_gone = true;
                self.survivors = survivors;
                self.random = random;
                if self.live {
                    self.arm(Timer::ExitMissing, now + EXIT_LAG);
                } else {
                    self.after_tree(now, actions);
                }
            }
            Event::Due(Timer::ExitMissing) => {
                // A leader that survived KILL still lives; it is named among the survivors.
                self.live = self.survivors.is_some();
                self.after_tree(now, actions);
            }
            Event::Hasten if !self.tree_gone => actions.push(Action::End),
            other => {
                self.ending_common(other);
                if self.tree_gone && !self.live {
                    self.disarm(Timer::ExitMissing);
                    self.after_tree(now, actions);
                }
            }
        }
    }

    pub(super) fn rest(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::TreeGone { survivors, random } => {
                self.tree_gone = true;
                self.survivors = survivors;
                self.random = random;
                self.after_tree(now, actions);
            }
            Event::Hasten => actions.push(Action::End),
            other => self.ending_common(other),
        }
    }

    pub(super) fn post_stop(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::HooksDone(HookPhase::PostStop, result) => {
                if let Err(why) = result {
                    self.tell("hook", Some(why), None, None, actions);
                }
                self.follow(now, actions);
            }
            Event::Hasten => {
                actions.push(Action::CancelHooks);
                self.follow(now, actions);
            }
            other => self.ending_common(other),
        }
    }

    /// What every phase of an end does alike: it goes on, and notes what is to come after it.
    fn ending_common(&mut self, event: Event) {
        match event {
            Event::Start { by_hand: true, by } => {
                self.desired = Desired::Up;
                self.again = true;
                self.kind = "start";
                self.asked = by;
                self.clear_limits();
            }
            // Where it is wanted up already, whatever ends it decides; no limit is cleared.
            Event::Start { by_hand: false, .. } if self.desired == Desired::Up => {}
            Event::Start { by_hand: false, .. } => {
                self.desired = Desired::Up;
                self.again = true;
                self.kind = "start";
                self.asked = None;
            }
            Event::Restart { kind, by } => {
                self.desired = Desired::Up;
                self.again = true;
                self.kind = kind;
                self.asked = by;
                self.clear_limits();
            }
            Event::Stop { kind, by } => {
                self.desired = Desired::Down;
                self.again = false;
                self.kind = kind;
                self.asked = by;
            }
            Event::Exited { run, exit } if self.run == Some(run) && self.live => {
                self.live = false;
                self.exit = Some(exit);
            }
            Event::Exited { .. }
            | Event::Gate
            | Event::Waits { .. }
            | Event::Hasten
            | Event::Recycle { .. }
            | Event::HooksDone(..)
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
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

    pub(super) fn at_rest(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Start { by_hand: true, by } => self.wake("start", by, actions),
            Event::Start { by_hand: false, .. } => {
                self.desired = Desired::Up;
                if self.phase == Phase::Stopped {
                    self.kind = "start";
                    self.begin(actions);
                }
            }
            Event::Restart { kind, by } => {
                self.wake(kind, by, actions);
                if self.phase == Phase::Scheduled {
                    // Somebody wants it now, not at its next time.
                    self.phase = Phase::Pending;
                }
            }
            // A leader that survived an earlier stop: try again.
            Event::Stop { kind, by } if self.live => {
                self.desired = Desired::Down;
                self.kind = kind;
                self.asked = by;
                self.end_tree(kind, actions);
            }
            Event::Stop { kind, by } => self.call_off(kind, by, actions),
            Event::Due(Timer::Retry) if self.phase == Phase::Backoff => {
                self.restarts = self.restarts.saturating_add(1);
                self.kind = "delay";
                self.asked = None;
                self.phase = Phase::Pending;
            }
            Event::Due(Timer::Retry) if self.phase == Phase::Failed => {
                self.wake("delay", None, actions);
            }
            Event::NextAt(due) if self.phase == Phase::Scheduled => {
                self.arm(Timer::Schedule, due.max(now));
            }
            Event::Due(Timer::Schedule) if self.phase == Phase::Scheduled => {
                self.kind = "schedule";
                self.asked = None;
                self.phase = Phase::Pending;
            }
            // A survivor of an earlier stop ended after all.
            Event::Exited { run, exit } if self.run == Some(run) && self.live => {
                self.live = false;
                self.run = None;
                self.tell("exit", None, Some(exit), None, actions);
            }
            Event::Exited { .. }
            | Event::Gate
            | Event::Waits { .. }
            | Event::Hasten
            | Event::Recycle { .. }
            | Event::HooksDone(..)
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
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

    fn wake(&mut self, kind: &'static str, by: Option<Who>, actions: &mut Vec<Action>) {
        let waited = self.phase == Phase::Scheduled;
        self.desired = Desired::Up;
        self.clear_limits();
        self.disarm_all();
        self.kind = kind;
        self.asked = by;
        if self.live {
            // Never a second copy: what survived the last stop has to end first.
            self.again = true;
            self.end_tree(kind, actions);
        } else if waited {
            self.phase = Phase::Pending;
        } else {
            self.begin(actions);
        }
    }

    /// Leaves rest: to wait for what it needs, or for its time.
    fn begin(&mut self, actions: &mut Vec<Action>) {
        self.reason.clear();
        if self.rules.scheduled {
            self.enter(Phase::Scheduled, self.kind, None, actions);
            actions.push(Action::Schedule);
        } else {
            // Told when it turns out that it has to wait.
            self.phase = Phase::Pending;
        }
    }
}
