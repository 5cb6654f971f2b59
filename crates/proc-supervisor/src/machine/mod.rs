//! The lifecycle of one instance as a pure function: [`Machine::step`] takes an event and the time
//! and answers with actions. It reads no clock, does no I/O and draws no random number, so every
//! timeout in it can be tested in microseconds.
//!
//! Three facts are kept apart: what is **desired** (`up`/`down`, a level that holds until somebody
//! asks otherwise), what **is** (the phase, which the outside sees as a [`State`]), and whether it
//! is **ready**.
//!
//! # The table
//!
//! Rows are phases (with the state they show as), columns are events. `-` is ignored; `*` only
//! notes what is desired; `kill` ends the tree by the stop sequence.
//!
//! | phase (state) | Start | Stop | Restart | Gate | HooksDone | Spawned | SpawnFailed | Exited | TreeGone | Ready / Startup | Unhealthy | Lost | Due |
//! |---|---|---|---|---|---|---|---|---|---|---|---|---|---|
//! | Pending (pending) | - | Stopped | - (joins) | PreStart or Spawning | - | - | - | - | - | - | - | - | - |
//! | PreStart (starting) | - | cancel hooks, Stopped | - (joins) | - | ok: Spawning; else Failed | - | - | - | - | - | - | - | - |
//! | Spawning (starting) | * | * | - (joins) | - | - | desired up: Warming; else kill | policy | kept | - | - | - | - | - |
//! | Warming (starting) | - | PreStop or kill | kill, again | - | - | - | - | Rest | - | Up when nothing is missing | kill, policy | Unattended | start seconds: Up; start timeout: kill, policy |
//! | Up (running) | - | PreStop or kill | kill, again | - | noted | - | - | Rest | - | ready follows | kill, policy | Unattended | healthy: counters reset; start timeout: kill, policy |
//! | Unattended (unattended) | - | kill | kill, again | - | noted | - | - | Rest | - | ready follows | kill, policy | - | - |
//! | PreStop (stopping) | again | * | again | - | kill | - | - | kept | - | - | - | - | - |
//! | Ending (stopping) | again | * | again | - | - | - | - | kept | exit known: PostStop or what follows | - | - | - | exit missing: goes on without it |
//! | Rest (stopping) | - | * | again | - | - | - | - | - | PostStop or what follows | - | - | - | - |
//! | PostStop (stopping) | again | * | again | - | what follows | - | - | - | - | - | - | - | - |
//! | Stopped (stopped) | Pending | - | Pending | - | - | - | - | - | - | - | - | - | - |
//! | Exited (exited) | Pending | Stopped | Pending | - | - | - | - | - | - | - | - | - | - |
//! | Failed (failed) | Pending | Stopped | Pending | - | - | - | - | - | - | - | - | - | - |
//! | Backoff (backoff) | Pending | Stopped | Pending | - | - | - | - | - | - | - | - | - | retry: Pending |
//! | Scheduled (scheduled) | Pending | Stopped | Pending | - | - | - | - | - | - | - | - | - | schedule: Pending |
//!
//! `Recycle`, and the timers `MaxAge` and (with an overlap that replaces) `Schedule`, do to a live
//! leader what Restart does, but clear no limit and count as restarts. With an overlap that allows
//! it, `Schedule` asks for another instance beside a live leader.
//!
//! *What follows* the end of a run: survivors → Failed; asked to come back → Pending; desired down
//! → Stopped; else the restart policy decides between Backoff, Exited and Failed (a scheduled
//! service waits for its next time instead of Exited). `Waits` tells what Pending waits for. `Hasten` cancels the hooks of PreStop and
//! repeats the kill of Ending and Rest with the new sequence. A leader that survived (Failed with a
//! live leader) is killed again by Start, Stop and Restart, before anything else. `Recovered` turns Unattended into Up.
//!
//! # What holds always
//!
//! * `running` and `ready` imply a live leader.
//! * An exit is carried by exactly one [`Transition`]: the one that leaves the end of its run.
//! * A start by hand clears every limit; nothing else leaves Failed, a cool-down excepted.
//! * With a readiness probe, healthy running is being ready; without one it is running.

mod down;
mod end;
mod event;
mod rules;
mod up;

#[cfg(test)]
mod found;
#[cfg(test)]
mod health;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod table;

use std::time::Duration;

use proc_policy::Counters;

pub use self::event::{Action, Event, Exit, Timer, Transition};
pub use self::rules::{HookSet, Rules};
use crate::state::{Desired, State};
use crate::view::Who;

/// Where an instance is, more finely than its [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waits for its dependencies.
    Pending,
    /// Its `pre_start` hooks run.
    PreStart,
    /// The backend was asked to start it.
    Spawning,
    /// The leader lives and has not yet proved itself.
    Warming,
    /// The leader lives and counts as started.
    Up,
    /// The leader lives; whoever looked after it was lost.
    Unattended,
    /// Its `pre_stop` hooks run; the leader lives.
    PreStop,
    /// Its tree is being ended because that was asked, or it was unhealthy.
    Ending,
    /// Its leader ended by itself; the rest of the tree is being ended.
    Rest,
    /// Its `post_stop` hooks run.
    PostStop,
    /// Down as asked.
    Stopped,
    /// Ended by itself.
    Exited,
    /// Given up.
    Failed,
    /// Waits for its restart delay.
    Backoff,
    /// Waits for its next scheduled time.
    Scheduled,
}

impl Phase {
    /// Returns the state that the outside sees.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::Pending => State::Pending,
            Self::PreStart | Self::Spawning | Self::Warming => State::Starting,
            Self::Up => State::Running,
            Self::Unattended => State::Unattended,
            Self::PreStop | Self::Ending | Self::Rest | Self::PostStop => State::Stopping,
            Self::Stopped => State::Stopped,
            Self::Exited => State::Exited,
            Self::Failed => State::Failed,
            Self::Backoff => State::Backoff,
            Self::Scheduled => State::Scheduled,
        }
    }
}

/// One instance's lifecycle.
#[derive(Debug, Clone)]
pub struct Machine {
    rules: Rules,
    phase: Phase,
    desired: Desired,
    ready: bool,
    /// Since when the run has been ready without interruption.
    ready_since: Option<Duration>,
    reason: String,
    /// The state of the last transition that was told.
    told: State,
    counters: Counters,
    restarts: u32,
    attempt: u32,
    /// The live run; survives its exit until the end of the run was dealt with.
    run: Option<u64>,
    /// Whether the leader lives.
    live: bool,
    /// How the run that is being ended, ended.
    exit: Option<Exit>,
    /// Why the tree is being ended though nobody asked: the end counts as a failure.
    forced: Option<(&'static str, String)>,
    /// Whether it comes back after the end under way.
    again: bool,
    /// What outlived the stop, in words.
    survivors: Option<String>,
    /// Whether the backend has said that the tree is gone.
    tree_gone: bool,
    /// The random number of that moment, for the policy.
    random: f64,
    /// What has still to come before a warming instance counts as started.
    start_seconds_left: bool,
    startup_left: bool,
    /// Why and by whom the start or end under way was asked for.
    kind: &'static str,
    asked: Option<Who>,
    deadlines: [Option<Duration>; Timer::COUNT],
}

impl Machine {
    /// Returns a machine at rest: stopped, and desired down.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            phase: Phase::Stopped,
            desired: Desired::Down,
            ready: false,
            ready_since: None,
            reason: String::new(),
            told: State::Stopped,
            counters: Counters::default(),
            restarts: 0,
            attempt: 0,
            run: None,
            live: false,
            exit: None,
            forced: None,
            again: false,
            survivors: None,
            tree_gone: false,
            random: 0.0,
            start_seconds_left: false,
            startup_left: false,
            kind: "start",
            asked: None,
            deadlines: [None; Timer::COUNT],
        }
    }

    /// Takes one event at time `now` (since an epoch of the caller's choice that outlives it, as
    /// the counters are kept) and returns what is to be done, in order.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Event::Due(timer) = event {
            // A deadline is taken once, and only when it has come.
            if self.deadline(timer).is_none_or(|due| due > now) {
                return actions;
            }
            self.disarm(timer);
        }
        match self.phase {
            Phase::Pending => self.pending(event, now, &mut actions),
            Phase::PreStart => self.pre_start(event, now, &mut actions),
            Phase::Spawning => self.spawning(event, now, &mut actions),
            Phase::Warming => self.warming(event, now, &mut actions),
            Phase::Up => self.up(event, now, &mut actions),
            Phase::Unattended => self.unattended(event, now, &mut actions),
            Phase::PreStop => self.pre_stop(event, now, &mut actions),
            Phase::Ending => self.ending(event, now, &mut actions),
            Phase::Rest => self.rest(event, now, &mut actions),
            Phase::PostStop => self.post_stop(event, now, &mut actions),
            Phase::Stopped | Phase::Exited | Phase::Failed | Phase::Backoff | Phase::Scheduled => {
                self.at_rest(event, now, &mut actions);
            }
        }
        actions
    }

    /// Returns the next deadline and what it is for; the caller answers with [`Event::Due`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Duration, Timer)> {
        Timer::ALL
            .into_iter()
            .filter_map(|timer| self.deadlines[timer as usize].map(|due| (due, timer)))
            .min_by_key(|(due, _)| *due)
    }

    /// Returns when the given deadline is due, if it stands.
    #[must_use]
    pub fn deadline(&self, timer: Timer) -> Option<Duration> {
        self.deadlines[timer as usize]
    }

    /// Returns the phase.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the state that the outside sees.
    #[must_use]
    pub const fn state(&self) -> State {
        self.phase.state()
    }

    /// Returns what is desired.
    #[must_use]
    pub const fn desired(&self) -> Desired {
        self.desired
    }

    /// Returns whether the instance is ready.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Returns whether the leader lives.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.live
    }

    /// Returns the present run, until its end was dealt with.
    #[must_use]
    pub const fn run(&self) -> Option<u64> {
        self.run
    }

    /// Returns why it is in this state, for a human.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the restarts by policy since the last start by hand.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Returns the number of the restart in the present row; 0 after a healthy run.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the policy's memory, for the record.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns what the machine goes by.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Replaces what the machine goes by; it takes effect at the next event.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Puts the policy's memory back, from a record.
    pub fn restore_counters(&mut self, counters: Counters, restarts: u32, attempt: u32) {
        self.counters = counters;
        self.restarts = restarts;
        self.attempt = attempt;
    }

    /// Puts a state without a process back, from a record: nothing is told.
    pub fn restore_rest(&mut self, state: State, desired: Desired, reason: String) {
        self.live = false;
        self.run = None;
        self.phase = match state {
            State::Exited => Phase::Exited,
            State::Failed => Phase::Failed,
            _ => Phase::Stopped,
        };
        self.told = state;
        self.desired = desired;
        self.reason = reason;
    }

    /// Puts a restart delay back, from a record; `due` may have passed.
    pub fn restore_backoff(&mut self, due: Duration, reason: String) {
        self.phase = Phase::Backoff;
        self.told = State::Backoff;
        self.desired = Desired::Up;
        self.reason = reason;
        self.arm(Timer::Retry, due);
    }

    /// Says which state was told last, where that is not the present one.
    pub fn set_told(&mut self, told: State) {
        self.told = told;
    }

    /// Returns whether the startup probe has passed, or there is none.
    #[must_use]
    pub const fn has_passed_startup(&self) -> bool {
        !self.startup_left
    }

    /// Puts a run back that ended while nobody watched; the caller then sends [`Event::Exited`]. Until that is told
    /// nothing is: that it was adopted as well would be an event about nothing.
    pub fn restore_ended_run(&mut self, run: u64, told: State) {
        self.run = Some(run);
        self.live = true;
        self.desired = Desired::Up;
        self.told = told;
        self.phase = Phase::Warming;
    }

    /// Puts a living run back that an earlier supervisor started. `running_for` is its age; `was_ready` what was
    /// known of it.
    pub fn restore_run(
        &mut self,
        run: u64,
        running_for: Duration,
        was_ready: bool,
        told: State,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.run = Some(run);
        self.live = true;
        self.desired = Desired::Up;
        self.told = told;
        self.phase = Phase::Warming;
        self.start_seconds_left = running_for < self.rules.start_seconds;
        self.startup_left = self.rules.startup && !was_ready;
        self.ready = was_ready && !self.start_seconds_left;
        self.ready_since = self.ready.then(|| now.saturating_sub(running_for));
        actions.push(Action::Watch);
        if self.start_seconds_left {
            self.arm(
                Timer::StartSeconds,
                now + (self.rules.start_seconds - running_for),
            );
        }
        if let Some(age) = self.rules.max_age {
            self.arm(Timer::MaxAge, now + age.saturating_sub(running_for));
        }
        if self.rules.is_due_while_it_runs() {
            actions.push(Action::Schedule);
        }
        if let (false, true, Some(timeout)) =
            (self.ready, self.awaits_evidence(), self.rules.start_timeout)
        {
            self.arm(Timer::StartTimeout, now + timeout);
        }
        if self.started() {
            self.come_up("adopt", None, now, actions);
        }
    }

    /// Puts a run back of which nobody can tell whether it lives: taken for one that survived, so that nothing is started over it.
    pub fn restore_doubt(&mut self, run: u64, why: String, told: State) -> Vec<Action> {
        let mut actions = Vec::new();
        self.run = Some(run);
        self.live = true;
        self.desired = Desired::Up;
        self.told = told;
        self.reason.clone_from(&why);
        self.enter(Phase::Failed, "adopt", Some(why), &mut actions);
        actions
    }

    /// Returns the state that was told last.
    #[must_use]
    pub const fn told(&self) -> State {
        self.told
    }

    /// Returns whether the start it waits for is a restart that nobody asked for.
    #[must_use]
    pub fn comes_back_by_itself(&self) -> bool {
        self.phase == Phase::Pending && matches!(self.kind, "delay" | "group" | "dependency")
    }

    /// Tells something of an instance whose state it does not change.
    #[must_use]
    pub fn note(&self, kind: &'static str, by: Option<Who>, detail: String) -> Action {
        Action::Tell(Transition {
            from: self.told,
            to: self.told,
            ready: self.ready,
            kind,
            by,
            detail: Some(detail),
            exit: None,
            delay: None,
        })
    }

    fn arm(&mut self, timer: Timer, due: Duration) {
        self.deadlines[timer as usize] = Some(due);
    }

    fn disarm(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = None;
    }

    fn disarm_all(&mut self) {
        self.deadlines = [None; Timer::COUNT];
    }

    /// Changes the phase and tells it, if the outside can see a difference.
    fn enter(
        &mut self,
        phase: Phase,
        kind: &'static str,
        detail: Option<String>,
        actions: &mut Vec<Action>,
    ) {
        self.phase = phase;
        if self.told != phase.state() {
            self.tell(kind, detail, None, None, actions);
        }
    }

    /// Tells a transition from the state told last to the present one.
    fn tell(
        &mut self,
        kind: &'static str,
        detail: Option<String>,
        exit: Option<Exit>,
        delay: Option<Duration>,
        actions: &mut Vec<Action>,
    ) {
        let from = std::mem::replace(&mut self.told, self.phase.state());
        actions.push(Action::Tell(Transition {
            from,
            to: self.told,
            ready: self.ready,
            kind,
            by: self.asked.clone(),
            detail,
            exit,
            delay,
        }));
    }
}
