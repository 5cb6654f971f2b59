//! A stop as a state machine that any loop can drive.

mod graceful;
mod kill;
mod members;
mod proof;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::target::{Scope, StopTarget};
use crate::sys::pidfd::{self, Pidfd};
use crate::sys::sched;
use crate::sys::table::{Children, Table};
use crate::{Mechanism, ProcessEnd, Signal, StopReport, StopSequence, StopStep, Survivor};

/// How one call of [`StopDriver::poll`] may be used up by a tree that forks as fast as it is killed.
const SLICE: Duration = Duration::from_millis(50);
/// After this many rounds in one call the tree is a storm, and we raise our own priority.
const STORM: u32 = 4;
/// How often at least to look again after KILL, when nothing says that anything changed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A tree of more than this is not looked through before its first signal: to look at a thousand takes as long as
/// their end, and makes that longer.
const MANY: usize = 64;
/// How often at least to look through such a tree.
const LOOK_AT_MANY: Duration = Duration::from_millis(250);
/// How often at least to look again while a best-effort stop waits for processes that it may not know.
const LOOK_FOR_UNKNOWN: Duration = Duration::from_millis(250);
/// How many direct children a subreaper's blocking wait watches: each end looks at all of them anyway.
const WATCHED: usize = 8;

/// What a stop needs next.
#[derive(Debug)]
pub enum Next {
    /// Call [`StopDriver::poll`] again when something ended or one of its [`fds`](StopDriver::fds) is readable, at the
    /// latest at this moment; `None`: only then.
    Wait {
        /// The moment.
        deadline: Option<Instant>,
    },
    /// It is over.
    Done(StopReport),
}

/// A stop as a state machine: it never blocks and never sleeps, so any loop can drive it.
///
/// Graceful signals go to the leader's process group; once the leader has ended, or where it leads no group, to
/// everybody else as well, once per step. Stopped processes get `CONT`. `KILL` goes to everybody, again and again,
/// until nobody is left or [`StopSequence::AFTER_KILL`] has passed.
///
/// With [`StopTarget::subreaper`] each [`poll`](Self::poll) reaps, and reports whom to its caller.
#[derive(Debug)]
pub struct StopDriver {
    sequence: StopSequence,
    target: StopTarget,
    started: Instant,
    at: usize,
    step: Option<Step>,
    escalated: bool,
    hurried: bool,
    /// Alive when last looked at, for the best-effort means.
    members: BTreeMap<u32, Known>,
    /// Who got a signal, with start ticks, without whom we have reaped; `signalled` counts them all.
    reached: HashMap<u32, u64>,
    signalled: u32,
    /// Members of this group, too many to be looked at before they got its signal, are counted when they are reaped.
    count_reaped: Option<u32>,
    /// When everybody was last looked for in this step, and whether another look is owed.
    looked: Option<Instant>,
    look_owed: bool,
    /// Whether a look before the pause is over finds nobody, or is not worth what it costs.
    look_later: bool,
    leader_gone: bool,
    /// Whether the first signal was refused for want of permission.
    denied: bool,
    raised: Option<sched::Raised>,
    report: Option<StopReport>,
}

/// The step being waited for.
#[derive(Debug)]
struct Step {
    signal: Signal,
    deadline: Option<Instant>,
    /// Members older than this were reached by the group's signal.
    sent_ticks: u64,
    /// Who else got this step's signal.
    sent: HashSet<(u32, u64)>,
}

#[derive(Debug)]
struct Known {
    fd: Pidfd,
    start_ticks: u64,
    comm: String,
}

impl StopDriver {
    /// Begins a stop; the first signal goes out with the first [`poll`](Self::poll).
    pub fn new(sequence: StopSequence, target: StopTarget, now: Instant) -> Self {
        Self {
            sequence,
            target,
            started: now,
            at: 0,
            step: None,
            escalated: false,
            hurried: false,
            members: BTreeMap::new(),
            reached: HashMap::new(),
            signalled: 0,
            count_reaped: None,
            looked: None,
            look_owed: false,
            look_later: false,
            leader_gone: false,
            denied: false,
            raised: None,
            report: None,
        }
    }

    /// Goes on to the next step at the next poll, without waiting for the present one; after the last nothing.
    pub const fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Goes on to `KILL` at the next poll, whatever the sequence says.
    pub fn kill_now(&mut self) {
        if self
            .step
            .as_ref()
            .is_some_and(|step| step.signal == Signal::KILL)
        {
            return;
        }
        self.sequence
            .steps
            .truncate(self.at + usize::from(self.step.is_some()));
        self.sequence.steps.push(StopStep {
            signal: Signal::KILL,
            wait: None,
        });
        self.hurried = true;
    }

    /// Returns the signal that was sent last, if any.
    pub fn current_signal(&self) -> Option<Signal> {
        self.step.as_ref().map(|step| step.signal)
    }

    /// Returns descriptors that become readable when a known process ends; needed only where the caller is not told
    /// by `SIGCHLD`, that is without [`StopTarget::subreaper`]. They change with each poll.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let leader = self
            .target
            .leader
            .iter()
            .filter(|leader| !leader.has_exited())
            .map(|leader| leader.as_fd());
        leader
            .chain(self.members.values().map(|known| known.fd.as_fd()))
            .collect()
    }

    /// What a blocking wait polls: descriptors of our own making, because the direct children of a subreaper change
    /// all the time; `true`: wait for `POLLPRI`.
    pub(crate) fn wait_fds(&self) -> Vec<(OwnedFd, bool)> {
        let mut fds: Vec<(OwnedFd, bool)> = self
            .fds()
            .into_iter()
            .filter_map(|fd| Some((fd.try_clone_to_owned().ok()?, false)))
            .collect();
        if self.target.subreaper {
            // It is not over before these have ended, whoever else there is.
            let children = Children::new(&Table::own()).of(std::process::id());
            let some = children.into_iter().take(WATCHED);
            fds.extend(
                some.filter_map(|pid| Some((pidfd::into_owned(pidfd::open(pid).ok()?), false))),
            );
        }
        if let Some(cgroup) = &self.target.cgroup {
            fds.extend(cgroup.events_file().map(|fd| (fd, true)));
        }
        fds
    }

    /// Does what is due and says what to wait for. `on_reaped` is told of every child that was reaped.
    pub fn poll(&mut self, now: Instant, on_reaped: &mut dyn FnMut(u32, ProcessEnd)) -> Next {
        if let Some(report) = &self.report {
            return Next::Done(report.clone());
        }
        if self.is_over(on_reaped) {
            let survivors = self.beyond_reach(Vec::new(), on_reaped);
            return self.done(now, survivors);
        }
        if self.step.is_none() && self.target.mechanism() == Mechanism::GroupWalk {
            // Before the first signal: a leader that ends of it takes the way to its descendants along.
            self.remember();
        }
        if self.next_step_is_due(now) && !self.begin_step(now) {
            let survivors = self.survivors();
            if self.count_reaped.is_some() {
                let counted = |survivor: &&Survivor| !self.reached.contains_key(&survivor.pid);
                let more = survivors.iter().filter(counted).count();
                self.signalled = self
                    .signalled
                    .saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
            }
            let survivors = self.beyond_reach(survivors, on_reaped);
            return self.done(now, survivors);
        }
        if std::mem::take(&mut self.denied) && self.is_out_of_reach() {
            // Nobody was told to end, so there is nothing to wait for.
            let survivors = self.survivors();
            return self.done(now, survivors);
        }
        let over = match self.current_signal() {
            Some(Signal::KILL) => self.kill(on_reaped),
            Some(signal) => {
                self.signal_the_rest(signal);
                self.is_over(on_reaped)
            }
            None => false,
        };
        if over {
            let survivors = self.beyond_reach(Vec::new(), on_reaped);
            self.done(now, survivors)
        } else {
            Next::Wait {
                deadline: self.deadline(),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let deadline = self.step.as_ref().and_then(|step| step.deadline);
        let best_effort = self.target.mechanism() == Mechanism::GroupWalk;
        let unwatched = self.target.cgroup.is_some() && !self.target.subreaper;
        let killing = self.current_signal() == Some(Signal::KILL);
        if !killing && !best_effort && !unwatched && !self.look_owed {
            return deadline;
        }
        let look = match self.looked.filter(|_| self.look_owed) {
            Some(looked) => looked + self.pause(),
            None if killing || self.look_owed => Instant::now() + LOOK_AGAIN,
            None => Instant::now() + LOOK_FOR_UNKNOWN,
        };
        Some(deadline.map_or(look, |deadline| deadline.min(look)))
    }

    /// How long to leave between two looks at everybody.
    fn pause(&self) -> Duration {
        if self.target.mechanism() == Mechanism::GroupWalk {
            return LOOK_FOR_UNKNOWN;
        }
        if self.count_reaped.is_some() {
            return LOOK_AT_MANY;
        }
        LOOK_AGAIN
    }

    /// Says whether it is time to look for everybody again: at once in a new step and when the leader has ended,
    /// else not with every single end of a thousand.
    fn may_look(&mut self) -> bool {
        let leader_gone = self
            .target
            .leader
            .as_ref()
            .is_none_or(|leader| leader.has_exited());
        if leader_gone != self.leader_gone {
            self.leader_gone = leader_gone;
            if !self.look_later {
                self.looked = None;
            }
        }
        let pause = self.pause();
        self.look_owed = self.looked.is_some_and(|looked| looked.elapsed() < pause);
        if !self.look_owed {
            self.looked = Some(Instant::now());
        }
        !self.look_owed
    }

    fn next_step_is_due(&mut self, now: Instant) -> bool {
        let hurried = std::mem::take(&mut self.hurried);
        let Some(step) = &self.step else { return true };
        let more = self.at + 1 < self.sequence.steps.len();
        (hurried && more) || step.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Sends the next step's signal; `false` when there is none left.
    fn begin_step(&mut self, now: Instant) -> bool {
        if self.step.is_some() {
            self.at += 1;
        }
        let Some(StopStep { signal, wait }) = self.sequence.steps.get(self.at).cloned() else {
            // An empty sequence waits for ever; anything else is at its end.
            return self.sequence.steps.is_empty();
        };
        self.escalated |= self.at > 0;
        (self.looked, self.look_later) = (None, false);
        let last = self.at + 1 == self.sequence.steps.len();
        let wait = if signal == Signal::KILL && last {
            Some(wait.unwrap_or(StopSequence::AFTER_KILL))
        } else {
            wait
        };
        let deadline = wait.and_then(|wait| now.checked_add(wait));
        self.step = Some(Step {
            signal,
            deadline,
            sent_ticks: 0,
            sent: HashSet::new(),
        });
        if signal != Signal::KILL {
            // Before the signal: a leader that ends at once orphans those in sessions of their own, and then nothing
            // leads to them any more.
            if self.target.mechanism() == Mechanism::GroupWalk && self.target.scope == Scope::Tree {
                self.remember();
            }
            self.signal_first(signal);
        } else {
            self.denied = self.leader_refuses();
        }
        true
    }
}

impl Drop for StopDriver {
    fn drop(&mut self) {
        if let Some(raised) = self.raised.take() {
            sched::restore(&raised);
        }
    }
}
