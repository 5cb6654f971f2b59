//! The life of a run: that it began, how it ended, when its tree was empty, and what follows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proc_core::{
    Cgroup, Mechanism, ProcessEnd, ProcessHandle, Scope, Signal, StopSequence, StopTarget,
};
use rustix::event::PollFlags;
use rustix::process::{WaitOptions, wait};

use super::input::Input;
use super::recorder::Record;
use super::start::Starting;
use super::stop::{Asker, Progress, Stopping};
use super::tree::Tree;
use super::{Shim, Source};
use crate::message::{
    AdoptSpec, Exited, Failure, FailureKind, Notice, Reply, Respawn, Running, StartSpec, Terms,
};
use crate::records::{ExitRecord, RunRecord, ShimRecord};
use crate::sys;
use crate::unstored::Unstored;

/// How long a replacement waits for the parent of its service to reap it, which is when the
/// kernel tells the exit code.
const REAP_WAIT: Duration = Duration::from_secs(2);

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing runs.
    Idle,
    /// Between fork and exec.
    Starting,
    /// The leader lives.
    Running,
    /// The leader of another parent has exited; its end is not known yet.
    Vanished,
}

/// What is needed to start the command again without being asked.
#[derive(Debug)]
struct Again {
    spec: StartSpec,
    fds: Vec<OwnedFd>,
    policy: Respawn,
    /// The delay of the next restart.
    delay: Duration,
    at: Option<Instant>,
}

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    phase: Phase,
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
    began: Instant,
    ooms_before: Option<u64>,
    again: Option<Box<Again>>,
    stop_wanted: bool,
    known_by: Option<Instant>,
    cgroup_events: Option<OwnedFd>,
    /// Where orphans are nobody's to reap: one whom the run has left behind, to look again when it has ended.
    straggler: Option<Box<ProcessHandle>>,
    /// Whether the shim ends with the tree.
    ending: bool,
    /// Whether this shim itself had a run; what the records say is of another's.
    ran: bool,
    /// Whether nothing was left of earlier runs when this one began.
    was_empty: bool,
    /// Whether the leader was named by [`Shim::follow`], so it may be another process's child.
    named: bool,
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
    fn ended(&mut self, exited: Exited) {
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
    pub(super) fn target(&self, tier: Option<Mechanism>) -> StopTarget {
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
    fn out_of_memory(&self, end: Option<ProcessEnd>) -> Option<bool> {
        if let (Some(before), Some(cgroup)) = (self.ooms_before, &self.cgroup) {
            return cgroup.oom_kills().map(|now| now > before);
        }
        match end {
            Some(end) if end.signal() != Some(Signal::KILL) => Some(false),
            _ => None,
        }
    }
}

impl Shim {
    /// Reaps every child that has ended.
    pub(super) fn reap(&mut self) {
        sys::drain_child_events(&self.children);
        let mut reaped = Vec::new();
        let childless = loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or(0);
                    if let Some(end) = ProcessEnd::from_wait_status(status.as_raw()) {
                        reaped.push((pid, end));
                    }
                }
                Ok(None) => break false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break true,
            }
        };
        self.take_note(&reaped, childless);
    }

    /// Acts on the ends of children, and on there being none left.
    fn take_note(&mut self, reaped: &[(u32, ProcessEnd)], childless: bool) {
        let childless = childless && (sys::ADOPTS_ORPHANS || self.nobody_is_left_behind());
        let mut ended = None;
        for (pid, end) in reaped {
            if let Some(starting) = self.service.starting.as_mut().filter(|s| s.pid() == *pid) {
                starting.end = Some(*end);
            } else if !self.service.replacement && self.is_leader(*pid) {
                ended = Some(*end);
            }
        }
        if ended.is_some() {
            // One record says both where both are known.
            self.service.tree_empty = childless;
            self.leader_over(ended, None);
        }
        let service = &self.service;
        let left = service.phase == Phase::Idle && !service.replacement;
        if childless && left && (ended.is_some() || !service.tree_empty) {
            self.tree_ended();
        }
    }

    /// Looks for members of the tree that were never our children, and has the shim look again when one of them has ended.
    fn nobody_is_left_behind(&mut self) -> bool {
        let members = self.tree().members(Mechanism::GroupWalk);
        let first = members.into_iter().next();
        self.service.straggler = first.map(|member| Box::new(member.handle));
        self.service.straggler.is_none()
    }

    fn is_leader(&self, pid: u32) -> bool {
        self.service.is_running()
            && self
                .service
                .running
                .as_ref()
                .is_some_and(|running| running.identity.pid == pid)
    }

    /// A leader that is not our child has exited.
    pub(super) fn leader_is_gone(&mut self) {
        let Some(handle) = &self.service.handle else {
            return;
        };
        // One that was named may be our own child, and then its end was just told.
        if !self.service.is_running() {
            return;
        }
        if let Some(end) = handle.exit_info() {
            self.leader_over(Some(end), None);
        } else if sys::TELLS_ENDS && self.service.phase != Phase::Vanished {
            self.service.phase = Phase::Vanished;
            self.service.known_by = Some(Instant::now() + REAP_WAIT);
        } else {
            let reason = "this shim is not its parent, and the kernel does not tell others";
            self.leader_over(None, Some(reason.to_owned()));
        }
        if self.service.named && !self.service.is_running() {
            // Whoever was its parent may have ended before it was known how it ended.
            self.reap();
        }
    }

    /// The leader has ended so, or nobody knows how.
    pub(super) fn leader_over(&mut self, end: Option<ProcessEnd>, unknown: Option<String>) {
        let Some(running) = self.service.running.take() else {
            return;
        };
        self.streams.drain();
        let (stdout_offset, stderr_offset) = self.streams.offsets();
        let runtime = self.service.began.elapsed();
        let exited = Exited {
            run: running.run,
            end,
            unknown,
            at: unix_ms(),
            runtime_ms: u64::try_from(runtime.as_millis()).unwrap_or(u64::MAX),
            oom: self.service.out_of_memory(end),
            stdout_offset,
            stderr_offset,
        };
        self.service.phase = Phase::Idle;
        self.service.known_by = None;
        self.service.ended(exited.clone());
        if let Some(asker) = self.service.input.shut() {
            let reply = Reply::Failed(Failure::new(FailureKind::NoStdin, "stdin"));
            self.peers.reply(asker, &reply, Vec::new());
        }
        self.streams.retire();
        self.service.former = Some(running.clone());
        if self.service.replacement {
            self.service.running = Some(running);
            self.service.tree_empty = self.adopted_tree_is_gone();
            self.watch_adopted_tree();
        }
        self.put_exit();
        self.streams.mark(&match end {
            Some(end) => format!("run {} {end}", exited.run),
            None => format!("run {} ended", exited.run),
        });
        self.peers.notify(&Notice::Exited(exited));
        if self.service.replacement && self.service.tree_empty {
            self.tree_ended();
        }
        self.plan_respawn(end, runtime);
    }

    fn put_exit(&mut self) {
        if let Some(exited) = &self.service.exited {
            let record = ExitRecord {
                exited: exited.clone(),
                tree_empty: self.service.tree_empty,
                unstored: self.service.unstored.clone(),
            };
            self.recorder.put(Record::Exit, record.encode());
        }
    }

    /// Writes who keeps this instance.
    pub(super) fn put_shim(&mut self, replacement: bool) {
        if let Some(identity) = &self.identity {
            let (identity, socket) = (identity.clone(), self.args.socket.clone());
            self.recorder.put(
                Record::Shim,
                ShimRecord {
                    identity,
                    socket,
                    replacement,
                }
                .encode(),
            );
        }
    }

    /// Nothing of the tree is left.
    fn tree_ended(&mut self) {
        let known = std::mem::replace(&mut self.service.tree_empty, true);
        self.service.running = None;
        self.service.handle = None;
        self.service.cgroup_events = None;
        self.service.straggler = None;
        let Some(run) = self.service.exited.as_ref().map(|exited| exited.run) else {
            return;
        };
        if !known {
            self.put_exit();
        }
        self.peers.notify(&Notice::TreeEmpty { run });
    }

    /// Returns whether a service that was taken over has left nothing behind, as far as can be seen.
    fn adopted_tree_is_gone(&self) -> bool {
        if let Some(cgroup) = &self.service.cgroup {
            return !cgroup.is_populated().unwrap_or(false);
        }
        self.tree().members(Mechanism::GroupWalk).is_empty()
    }

    fn watch_adopted_tree(&mut self) {
        if !self.service.tree_empty {
            self.service.cgroup_events = self
                .service
                .cgroup
                .as_ref()
                .and_then(|cgroup| cgroup.events_file().ok());
        }
    }

    fn plan_respawn(&mut self, end: Option<ProcessEnd>, runtime: Duration) {
        let stop_wanted = self.service.stop_wanted;
        let Some(again) = &mut self.service.again else {
            return;
        };
        let code = end.and_then(ProcessEnd::code);
        if stop_wanted || code.is_some_and(|code| again.policy.is_final(code)) {
            self.service.again = None;
            self.service.ending = true;
            // What it leaves behind are other services, which have shims of their own.
            if let Some(terms) = &mut self.service.terms {
                terms.detached = true;
            }
            return;
        }
        if runtime >= again.policy.reset_after {
            again.delay = again.policy.initial;
        }
        again.at = Some(Instant::now() + again.delay);
        again.delay = (again.delay * 2).min(again.policy.max);
    }

    /// Does what is due.
    pub(super) fn advance_service(&mut self, now: Instant) {
        if self.service.known_by.is_some_and(|at| at <= now) {
            let end = self
                .service
                .handle
                .as_ref()
                .and_then(ProcessHandle::exit_info);
            let unknown = end
                .is_none()
                .then(|| "its parent did not reap it in time".to_owned());
            self.leader_over(end, unknown);
            if self.service.named {
                self.reap();
            }
        }
        let gone = self.service.replacement && self.service.phase == Phase::Idle;
        if gone && !self.service.tree_empty && self.adopted_tree_is_gone() {
            self.tree_ended();
        }
        self.respawn(now);
        if self.service.ending && self.stopping.is_none() && !self.service.is_busy() {
            self.done = true;
        }
    }

    fn respawn(&mut self, now: Instant) {
        let Some(again) = &mut self.service.again else {
            return;
        };
        if again.at.is_none_or(|at| at > now) {
            return;
        }
        again.at = None;
        let spec = again.spec.clone();
        let fds = again
            .fds
            .iter()
            .map(OwnedFd::try_clone)
            .collect::<Result<Vec<_>, _>>();
        self.service.respawns = self.service.respawns.saturating_add(1);
        let started = fds
            .map_err(|error| Failure::os("descriptor", &error))
            .and_then(|fds| self.start(spec, fds, None));
        if started.is_err() {
            self.plan_respawn(None, Duration::ZERO);
        }
    }

    /// Begins a stop, or hurries the one under way.
    pub(super) fn begin_stop(
        &mut self,
        sequence: StopSequence,
        tier: Option<Mechanism>,
        asker: Option<Asker>,
    ) {
        let now = Instant::now();
        self.service.stop_requested();
        let target = self.service.target(tier);
        let stopping = match self.stopping.take() {
            Some(mut stopping) => {
                stopping.hurry(sequence, target, now);
                stopping
            }
            None => Box::new(Stopping::new(sequence, target, now)),
        };
        self.stopping.insert(stopping).askers.extend(asker);
    }

    /// Drives a stop on.
    pub(super) fn advance_stop(&mut self, now: Instant) {
        let Some(mut stopping) = self.stopping.take() else {
            return;
        };
        let Progress {
            signal,
            reaped,
            report,
        } = stopping.advance(now);
        if let Some(signal) = signal {
            let wait = stopping.wait_of(signal);
            self.peers.notify(&Notice::StopProgress { signal, wait });
        }
        if !reaped.is_empty() {
            self.take_note(&reaped, false);
        }
        let Some(report) = report else {
            self.stopping = Some(stopping);
            return;
        };
        // The exit is told before the report, and the emptiness too.
        self.reap();
        if self.service.phase == Phase::Running && self.service.replacement {
            self.leader_is_gone_if_so();
        }
        for asker in stopping.askers {
            self.peers
                .reply(asker, &Reply::Stopped(report.clone()), Vec::new());
        }
    }

    fn leader_is_gone_if_so(&mut self) {
        if self
            .service
            .handle
            .as_ref()
            .is_some_and(ProcessHandle::has_exited)
        {
            self.leader_is_gone();
        }
    }

    /// Acts on the loss of the supervisor.
    pub(super) fn lose_supervisor(&mut self) {
        if !self.peers.became_alone() {
            return;
        }
        let service = &mut self.service;
        let never_ran = service.phase == Phase::Idle && service.tree_empty && !service.ran;
        if never_ran && service.again.is_none() {
            self.done = true;
        }
        let Some(terms) = service.terms.clone() else {
            return;
        };
        if terms.die_with_supervisor && service.again.is_none() {
            service.ending = true;
            service.stop_requested();
            if service.is_busy() && self.stopping.is_none() {
                self.begin_stop(terms.stop, None, None);
            }
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
