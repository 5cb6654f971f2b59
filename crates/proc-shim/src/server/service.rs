//! The service: where its run is, what is known of it, and by what means it is ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proc_core::{Cgroup, Mechanism, ProcessEnd, ProcessHandle, Scope, Signal, StopTarget};
use rustix::event::PollFlags;

use super::Source;
use super::input::Input;
use super::respawn::Again;
use super::start::Starting;
use super::tree::Tree;
use crate::message::{AdoptSpec, Exited, Running, StartSpec, Terms};
use crate::records::{ExitRecord, RunRecord};
use crate::sys;
use crate::unstored::Unstored;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing runs.
    Idle,
    /// Between fork and exec.
    Starting,
    /// The leader lives.
    Running,
    /// The leader of another parent has exited; its end is not known yet.
    Vanished,
}

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) phase: Phase,
    pub(super) last_run: u64,
    /// Boxed, as what follows: most of the time there is none, and a shim is small.
    pub(super) starting: Option<Box<Starting>>,
    pub(super) running: Option<Running>,
    pub(super) handle: Option<ProcessHandle>,
    pub(super) exited: Option<Exited>,
    pub(super) acknowledged: bool,
    /// The ends before that one which nobody has acknowledged either.
    pub(super) unstored: Unstored,
    pub(super) tree_empty: bool,
    /// Whether the current run was taken over, so its processes are not our descendants.
    pub(super) replacement: bool,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) input: Input,
    pub(super) respawns: u32,
    /// How the current or last run is treated.
    pub(super) terms: Option<Terms>,
    pub(super) began: Instant,
    pub(super) ooms_before: Option<u64>,
    pub(super) again: Option<Box<Again>>,
    pub(super) stop_wanted: bool,
    pub(super) known_by: Option<Instant>,
    pub(super) cgroup_events: Option<OwnedFd>,
    /// Where orphans are nobody's to reap: one whom the run has left behind, to look again when it has ended.
    pub(super) straggler: Option<Box<ProcessHandle>>,
    /// Whether the shim ends with the tree.
    pub(super) ending: bool,
    /// Whether this shim itself had a run; what the records say is of another's.
    pub(super) ran: bool,
    /// Whether nothing was left of earlier runs when this one began.
    pub(super) was_empty: bool,
    /// Whether the leader was named by [`Shim::follow`], so it may be another process's child.
    pub(super) named: bool,
    /// The run that ended last, should it turn out to go on in another process.
    pub(super) former: Option<Running>,
}

impl Service {
    /// Returns a service that does not run, with what its records say of the past.
    pub(super) fn from_records(dir: &Path) -> Self {
        let run = RunRecord::read(dir).ok().flatten();
        let exit = ExitRecord::read(dir).ok().flatten();
        let last_run = run.map_or(0, |record| record.running.run);
        let (exited, unstored) = exit.map_or_else(Default::default, |record| {
            (Some(record.exited), record.unstored)
        });
        Self {
            phase: Phase::Idle,
            last_run: last_run.max(exited.as_ref().map_or(0, |exited| exited.run)),
            starting: None,
            running: None,
            handle: None,
            exited,
            acknowledged: false,
            unstored,
            tree_empty: true,
            replacement: false,
            cgroup: None,
            input: Input::default(),
            respawns: 0,
            terms: None,
            began: Instant::now(),
            ooms_before: None,
            again: None,
            stop_wanted: false,
            known_by: None,
            cgroup_events: None,
            straggler: None,
            ending: false,
            ran: false,
            was_empty: true,
            named: false,
            former: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Vanished)
    }

    fn detached(&self) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.detached)
    }

    /// Decides what the loss of the supervisor does.
    pub(super) fn set_die_with_supervisor(&mut self, die: bool) {
        if let Some(terms) = &mut self.terms {
            terms.die_with_supervisor = die;
        }
    }

    /// Returns whether the shim is still needed.
    pub(super) fn is_busy(&self) -> bool {
        self.phase != Phase::Idle || !(self.tree_empty || self.detached() || self.again.is_some())
    }

    /// Returns a process that must be gone before the next run.
    pub(super) fn in_the_way(&self, tree: &Tree<'_>) -> Option<u32> {
        if let Some(starting) = &self.starting {
            return Some(starting.pid());
        }
        if self.phase != Phase::Idle {
            return Some(
                self.running
                    .as_ref()
                    .map_or(0, |running| running.identity.pid),
            );
        }
        if self.tree_empty || self.detached() || self.again.is_some() {
            return None;
        }
        let member = tree.members(self.best_mechanism()).into_iter().next();
        Some(member.map_or(0, |member| member.handle.pid()))
    }

    /// Remembers how this run is to be treated.
    pub(super) fn accept(&mut self, spec: StartSpec, kept: Option<Vec<OwnedFd>>) {
        self.terms = Some(Terms {
            log: spec.log.clone(),
            detached: spec.detached,
            die_with_supervisor: spec.die_with_supervisor,
            stop: spec.stop.clone(),
        });
        self.stop_wanted = false;
        let delay = self.again.as_ref().map(|again| again.delay);
        self.again = spec.respawn.clone().zip(kept).map(|(policy, fds)| {
            Box::new(Again {
                spec,
                fds,
                delay: delay.unwrap_or(policy.initial),
                policy,
                at: None,
            })
        });
    }

    pub(super) fn begin(&mut self, starting: Box<Starting>) {
        self.phase = Phase::Starting;
        self.ran = true;
        self.was_empty = std::mem::replace(&mut self.tree_empty, false);
        self.replacement = false;
        self.named = false;
        self.former = None;
        self.began = Instant::now();
        self.ooms_before = self.cgroup.as_ref().and_then(Cgroup::oom_kills);
        self.starting = Some(starting);
    }

    pub(super) fn run_began(&mut self, running: Running, handle: Option<ProcessHandle>) {
        self.phase = Phase::Running;
        self.running = Some(running);
        self.handle = handle;
    }

    /// The run goes on, in a process that was named.
    pub(super) fn go_on(&mut self, running: Running) {
        self.phase = Phase::Running;
        self.running = Some(running);
        self.named = true;
        self.exited = None;
        self.acknowledged = false;
        self.known_by = None;
    }

    pub(super) fn run_failed(&mut self) {
        self.phase = Phase::Idle;
        self.tree_empty = self.was_empty;
        self.input = Input::default();
        self.running = None;
        self.handle = None;
    }

    pub(super) fn take_over(
        &mut self,
        spec: AdoptSpec,
        running: Running,
        handle: Option<ProcessHandle>,
    ) {
        self.phase = Phase::Running;
        self.ran = true;
        self.last_run = self.last_run.max(running.run);
        self.running = Some(running);
        self.handle = handle;
        self.replacement = true;
        self.tree_empty = false;
        self.terms = Some(spec.terms);
        self.stop_wanted = false;
        let age = Duration::from_millis(unix_ms().saturating_sub(spec.started_at));
        self.began = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        self.ooms_before = self.cgroup.as_ref().and_then(Cgroup::oom_kills);
    }

    /// Says that the service is not to come back by itself.
    pub(super) fn stop_requested(&mut self) {
        self.stop_wanted = true;
        if let Some(again) = &mut self.again {
            again.at = None;
        }
    }

    pub(super) fn acknowledge(&mut self, run: u64) {
        self.unstored.acknowledge(run);
        if self.exited.as_ref().is_some_and(|exited| exited.run <= run) {
            self.acknowledged = true;
        }
    }

    /// The last exit is this one; the one before it is kept unless somebody has it on record. Nobody keeps books of a command
    /// that the shim itself restarts.
    pub(super) fn ended(&mut self, exited: Exited) {
        let run = exited.run;
        let before = self.exited.replace(exited);
        let acknowledged = std::mem::replace(&mut self.acknowledged, false);
        if !acknowledged && self.again.is_none() {
            let before = before.filter(|before| before.run < run);
            before
                .into_iter()
                .for_each(|before| self.unstored.keep(before));
        }
    }

    /// Returns the strongest means there is.
    pub(super) fn best_mechanism(&self) -> Mechanism {
        if self.cgroup.as_ref().is_some_and(Cgroup::can_kill) {
            Mechanism::Cgroup
        } else if self.replacement || !sys::ADOPTS_ORPHANS {
            Mechanism::GroupWalk
        } else {
            Mechanism::Subreaper
        }
    }

    /// Returns what a stop is aimed at, and its means.
    pub(super) fn target(&self, tier: Option<Mechanism>, group: bool) -> StopTarget {
        let starting = self
            .starting
            .as_ref()
            .and_then(|starting| starting.handle());
        let leader = self
            .handle
            .as_ref()
            .or(starting)
            .and_then(|handle| handle.try_clone().ok());
        let mut target = leader.map_or_else(StopTarget::leaderless, StopTarget::new);
        if self.again.is_some() {
            // What the supervisor started are other services: they have shims of their own.
            return target.scope(Scope::Single);
        }
        if group {
            return target.scope(Scope::Group);
        }
        if let Some(cgroup) = &self.cgroup {
            target = target.cgroup(cgroup.clone());
        }
        if !self.replacement {
            target = target.subreaper();
        }
        match tier {
            Some(tier) => target.force(tier),
            None => target,
        }
    }

    pub(super) fn tree(&self) -> Tree<'_> {
        let pgid = if sys::ADOPTS_ORPHANS {
            self.running.as_ref().map(|running| running.pgid)
        } else {
            self.pgid_of_tree()
        };
        Tree {
            cgroup: self.cgroup.as_ref(),
            leader: self.handle.as_ref(),
            pgid,
            leader_only: self.again.is_some(),
        }
    }

    /// Where nobody hands orphans to us, whom a run has left behind is found by its group, unless that is our own.
    fn pgid_of_tree(&self) -> Option<u32> {
        let run = self.running.as_ref().or(self.former.as_ref());
        let own = rustix::process::getpgrp().as_raw_nonzero().get();
        run.map(|running| running.pgid)
            .filter(|pgid| i32::try_from(*pgid) != Ok(own))
    }

    /// Returns the descriptors to poll.
    pub(super) fn fds(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>, PollFlags)> {
        let report = self
            .starting
            .as_ref()
            .map(|s| (Source::Report, s.report(), PollFlags::IN));
        let input = self.input.fd().filter(|_| self.input.is_busy());
        let input = input.map(|fd| (Source::Input, fd.as_fd(), PollFlags::OUT));
        // A leader that is not our child: readable once it exited, hung up once it was reaped.
        let leader = self
            .handle
            .as_ref()
            .filter(|_| (self.replacement || self.named) && self.is_running());
        let flags = if self.phase == Phase::Vanished {
            PollFlags::empty()
        } else {
            PollFlags::IN
        };
        let leader = leader.map(|handle| (Source::Leader, handle.as_fd(), flags));
        let events = self.cgroup_events.as_ref();
        let events = events.map(|fd| (Source::CgroupEvents, fd.as_fd(), PollFlags::PRI));
        let straggler = self.straggler.as_ref();
        let straggler = straggler.map(|handle| (Source::Straggler, handle.as_fd(), PollFlags::IN));
        [report, input, leader, events, straggler]
            .into_iter()
            .flatten()
    }

    /// Reads the event away.
    pub(super) fn cgroup_changed(&self) {
        if let Some(fd) = &self.cgroup_events {
            let mut bytes = [0_u8; 256];
            let _only_to_clear_it = rustix::io::pread(fd, &mut bytes, 0);
        }
    }

    /// Returns when [`Shim::advance_service`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let again = self.again.as_ref().and_then(|again| again.at);
        [again, self.known_by].into_iter().flatten().min()
    }

    /// Returns whether the kernel's out-of-memory killer ended the run; `None` where it does not say.
    pub(super) fn out_of_memory(&self, end: Option<ProcessEnd>) -> Option<bool> {
        if let (Some(before), Some(cgroup)) = (self.ooms_before, &self.cgroup) {
            return cgroup.oom_kills().map(|now| now > before);
        }
        match end {
            Some(end) if end.signal() != Some(Signal::KILL) => Some(false),
            _ => None,
        }
    }
}

/// Returns the time in Unix milliseconds.
pub(super) fn unix_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
