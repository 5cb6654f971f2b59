//! A stop as a state machine that any loop can drive.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{WaitOptions, wait};

use super::target::{Scope, StopTarget};
use super::walk::{self, Member, Root};
use crate::list;
use crate::sys::{clock, pidfd, sched};
use crate::{Mechanism, ProcessEnd, Signal, StopReport, StopSequence, StopStep, Survivor};

/// How one call of [`StopDriver::poll`] may be used up by a tree that forks as fast as it is killed.
const SLICE: Duration = Duration::from_millis(50);
/// After this many rounds in one call the tree is a storm, and we raise our own priority.
const STORM: u32 = 4;
/// How often at least to look again after KILL, when nothing says that anything changed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often at least to look again while a best-effort stop waits for processes that it may not know.
const LOOK_FOR_UNKNOWN: Duration = Duration::from_millis(250);

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
    /// Who got a signal, pruned of those that ended; `signalled` counts them all.
    reached: HashSet<(u32, u64)>,
    signalled: u32,
    /// When everybody was last looked for in this step, and whether another look is owed.
    looked: Option<Instant>,
    look_owed: bool,
    leader_gone: bool,
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
    fd: OwnedFd,
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
            reached: HashSet::new(),
            signalled: 0,
            looked: None,
            look_owed: false,
            leader_gone: false,
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
            let children = list::Children::new(Path::new("/proc")).of(std::process::id());
            fds.extend(
                children
                    .into_iter()
                    .filter_map(|pid| Some((pidfd::open(pid).ok()?, false))),
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
            let survivors = self.beyond_reach(survivors, on_reaped);
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
        let look = Instant::now()
            + if killing || self.look_owed {
                LOOK_AGAIN
            } else {
                LOOK_FOR_UNKNOWN
            };
        Some(deadline.map_or(look, |deadline| deadline.min(look)))
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
            (self.leader_gone, self.looked) = (leader_gone, None);
        }
        let pause = if self.target.mechanism() == Mechanism::GroupWalk {
            LOOK_FOR_UNKNOWN
        } else {
            LOOK_AGAIN
        };
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
        self.looked = None;
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
        }
        true
    }

    // --- the graceful steps ---------------------------------------------------------------------------------------

    /// The leader's group, or the leader where it leads none (its tree follows with the rest).
    fn signal_first(&mut self, signal: Signal) {
        let Some(leader) = self.target.leader.clone() else {
            return;
        };
        let leader = &*leader;
        let scope = self.target.scope;
        let leads = scope != Scope::Single && leads_group(leader);
        if !leads {
            if !leader.has_exited() && leader.signal(signal).is_ok() {
                let key = (leader.pid(), leader.identity().start_ticks);
                self.note(key);
                wake_if_stopped(leader, signal);
            }
            return;
        }
        let pgid = leader.pid();
        let own_group = rustix::process::getpgrp()
            .as_raw_nonzero()
            .get()
            .cast_unsigned()
            == pgid;
        // Whom the group's signal reaches, for the count; before it, because afterwards they may be gone.
        let mut keys = Vec::new();
        let mut stopped = Vec::new();
        if !leader.has_exited() {
            keys.push((pgid, leader.identity().start_ticks));
        }
        let looks_down = self.target.mechanism() == Mechanism::Subreaper;
        if looks_down && !own_group {
            // Everybody is below us: a glance is enough to count, and only who is stopped has to be opened.
            walk::glance(&mut |stat| {
                if stat.pgid == pgid && stat.pid != pgid {
                    keys.push((stat.pid, stat.start_ticks));
                    if stat.is_stopped() {
                        let same = |now: &crate::stat::Stat| {
                            now.start_ticks == stat.start_ticks && now.pgid == pgid
                        };
                        stopped.extend(walk::open_if(stat.pid, &same));
                    }
                }
            });
        } else {
            for member in self.everybody() {
                if member.stat.pgid != pgid || member.stat.pid == pgid {
                    continue;
                }
                keys.push(member.key());
                if own_group {
                    let _gone_or_not_ours = member.signal(signal);
                }
                if member.stat.is_stopped() {
                    stopped.push(member);
                }
            }
        }
        if own_group {
            // The caller itself is in it: everybody else one by one.
            let _gone = leader.signal(signal);
        } else {
            let _nobody_left = leader.signal_group(signal);
        }
        if signal != Signal::PROBE {
            wake_if_stopped(leader, signal);
            for member in stopped {
                let _gone = member.signal(Signal::CONT);
            }
        }
        let now = clock::ticks_since_boot();
        if let Some(step) = &mut self.step {
            step.sent_ticks = now;
        }
        keys.into_iter().for_each(|key| self.note(key));
    }

    /// Once the leader has ended (or leads no group): everybody who has not had this step's signal.
    fn signal_the_rest(&mut self, signal: Signal) {
        if self.target.scope != Scope::Tree || signal == Signal::PROBE || !self.may_look() {
            return;
        }
        if let Some(leader) = &self.target.leader
            && !leader.has_exited()
            && leads_group(leader)
        {
            if self.target.mechanism() == Mechanism::GroupWalk {
                self.remember();
            }
            return;
        }
        let pgid = self.target.leader.as_ref().map(|leader| leader.pid());
        if self.target.mechanism() == Mechanism::Subreaper
            && let Some(step) = &self.step
        {
            // Most often the group's signal reached everybody; then nobody has to be opened.
            let mut missed = false;
            walk::glance(&mut |stat| {
                let had = Some(stat.pgid) == pgid && stat.start_ticks <= step.sent_ticks;
                missed |= !had
                    && Some(stat.pid) != pgid
                    && !step.sent.contains(&(stat.pid, stat.start_ticks));
            });
            if !missed {
                return;
            }
        }
        for member in self.everybody() {
            let key = member.key();
            let Some(step) = &mut self.step else { return };
            let had = Some(member.stat.pgid) == pgid && member.stat.start_ticks <= step.sent_ticks;
            if had || !step.sent.insert(key) || Some(key.0) == pgid {
                continue;
            }
            if member.signal(signal).is_ok() {
                if member.stat.is_stopped() {
                    let _gone = member.signal(Signal::CONT);
                }
                self.note(key);
            }
        }
    }

    // --- KILL -----------------------------------------------------------------------------------------------------

    /// Kills everybody, until nobody new turns up or the slice is used up; says whether it is over.
    fn kill(&mut self, on_reaped: &mut dyn FnMut(u32, ProcessEnd)) -> bool {
        let begun = Instant::now();
        for round in 1.. {
            let found = self.kill_once();
            if self.is_over(on_reaped) {
                return true;
            }
            if found == 0 || begun.elapsed() >= SLICE {
                return false;
            }
            if round == STORM && self.raised.is_none() {
                self.raised = sched::raise();
            }
        }
        false
    }

    /// One round; returns how many got their first KILL.
    fn kill_once(&mut self) -> usize {
        let mut alive: HashSet<(u32, u64)> = HashSet::new();
        let before = std::mem::take(match &mut self.step {
            Some(step) => &mut step.sent,
            None => return 0,
        });
        let leader = self.target.leader.as_ref();
        let leader_lived = leader.is_some_and(|leader| !leader.has_exited());
        let mut fresh = Vec::new();
        let kill = |member: &Member,
                    alive: &mut HashSet<(u32, u64)>,
                    fresh: &mut Vec<((u32, u64), bool)>| {
            let sent = member.signal(Signal::KILL).is_ok();
            // Who may not be killed is not counted, and not tried for ever.
            if alive.insert(member.key()) && !before.contains(&member.key()) {
                fresh.push((member.key(), sent));
            }
        };
        match (self.target.scope, &self.target.cgroup) {
            (Scope::Tree, Some(cgroup)) => {
                if cgroup.can_kill() {
                    // Counted first, because it leaves nobody to be counted; who had an earlier signal is counted.
                    let counted: HashSet<u32> = self.reached.iter().map(|(pid, _)| *pid).collect();
                    let pids = cgroup
                        .pids()
                        .unwrap_or_default()
                        .into_iter()
                        .map(|pid| (pid, 0));
                    for key in pids.filter(|key| alive.insert(*key) && !before.contains(key)) {
                        fresh.push((key, !counted.contains(&key.0)));
                    }
                    let _gone_meanwhile = cgroup.kill();
                } else {
                    cgroup_members(cgroup)
                        .iter()
                        .for_each(|member| kill(member, &mut alive, &mut fresh));
                }
                if self.target.subreaper && !cgroup.is_populated().unwrap_or(false) {
                    // Who got out of the cgroup, which takes root, is still below us.
                    walk::walk(&Root::Caller, &mut |member| {
                        let _gone = member.signal(Signal::KILL);
                    });
                }
            }
            (Scope::Tree, None) if self.target.subreaper => {
                walk::walk(&Root::Caller, &mut |member| {
                    kill(&member, &mut alive, &mut fresh)
                })
            }
            (Scope::Single, _) => {}
            _ => {
                let members = self.walked();
                // First of all: a shell that sees its child killed would end by itself and report that.
                if let Some(leader) = &self.target.leader {
                    let _counted_below = leader.signal(Signal::KILL);
                }
                members
                    .iter()
                    .for_each(|member| kill(member, &mut alive, &mut fresh));
                self.keep(members);
            }
        }
        if self.target.cgroup.is_none()
            && let Some(leader) = &self.target.leader
        {
            let key = (leader.pid(), leader.identity().start_ticks);
            if leader_lived && alive.insert(key) && !before.contains(&key) {
                fresh.push((key, leader.signal(Signal::KILL).is_ok()));
            } else if leader_lived {
                let _gone = leader.signal(Signal::KILL);
            }
        }
        if let Some(step) = &mut self.step {
            step.sent = alive;
        }
        let count = fresh.len();
        fresh
            .into_iter()
            .filter(|(_, sent)| *sent)
            .for_each(|(key, _)| self.note(key));
        count
    }

    // --- who is there ---------------------------------------------------------------------------------------------

    /// Everybody alive that the means at hand can find, the leader not always among them.
    fn everybody(&self) -> Vec<Member> {
        if self.target.scope == Scope::Tree {
            if let Some(cgroup) = &self.target.cgroup {
                return cgroup_members(cgroup);
            }
            if self.target.subreaper {
                let mut members = Vec::new();
                walk::walk(&Root::Caller, &mut |member| members.push(member));
                return members;
            }
        }
        self.walked()
    }

    /// The best effort: descendants of the leader and of everybody known, and members of the leader's group and
    /// session.
    fn walked(&self) -> Vec<Member> {
        let mut found: BTreeMap<u32, Member> = BTreeMap::new();
        let mut add = |member: Member| {
            found.entry(member.stat.pid).or_insert(member);
        };
        let scope = self.target.scope;
        if scope == Scope::Tree {
            if let Some(leader) = self
                .target
                .leader
                .as_ref()
                .filter(|leader| !leader.has_exited())
            {
                walk::walk(&Root::Process(leader), &mut add);
            }
            for (pid, known) in &self.members {
                if let Some(member) =
                    walk::open_if(*pid, &|stat| stat.start_ticks == known.start_ticks)
                {
                    add(member);
                    walk::walk(&Root::Pidfd(*pid, &known.fd), &mut add);
                }
            }
        }
        let Some(leader) = self
            .target
            .leader
            .as_ref()
            .filter(|_| scope != Scope::Single)
        else {
            return found.into_values().collect();
        };
        // The kernel itself says whether anybody is in the group whose id is this process's number; as long as that
        // is so, the number is not given away.
        let pgid = leader.pid();
        let group_lives = || {
            pidfd::send(leader.as_fd(), Signal::PROBE, pidfd::Whom::Group).is_ok()
                || !walk_reaped(leader)
        };
        if !group_lives() {
            return found.into_values().collect();
        }
        for pid in list::pids(Path::new("/proc")).unwrap_or_default() {
            if pid == pgid || found.contains_key(&pid) {
                continue;
            }
            let belongs = |stat: &crate::stat::Stat| {
                stat.pgid == pgid || (scope == Scope::Tree && stat.sid == pgid)
            };
            if crate::stat::Stat::of(pid).is_ok_and(|stat| belongs(&stat))
                && let Some(member) = walk::open_if(pid, &belongs)
                && group_lives()
            {
                found.insert(pid, member);
            }
        }
        found.into_values().collect()
    }

    /// Keeps a descriptor of everybody found, so that their ends are noticed and their children found later.
    fn remember(&mut self) {
        let members = self.walked();
        self.keep(members);
    }

    fn keep(&mut self, found: Vec<Member>) {
        let mut members = BTreeMap::new();
        for member in found {
            let (pid, start_ticks, comm) =
                (member.stat.pid, member.stat.start_ticks, member.stat.name());
            // Without a descriptor left it is found again by the next walk, if it can be.
            if let Some(fd) = member.into_fd() {
                members.insert(
                    pid,
                    Known {
                        fd,
                        start_ticks,
                        comm,
                    },
                );
            }
        }
        self.members = members;
    }

    fn note(&mut self, key: (u32, u64)) {
        if self.reached.insert(key) {
            self.signalled = self.signalled.saturating_add(1);
        }
        // The numbers of a long storm; whoever is forgotten here has ended long ago.
        if self.reached.len() > 1 << 16 {
            self.reached.clear();
        }
    }

    // --- the end --------------------------------------------------------------------------------------------------

    /// Reaps, and says whether it is proven (or, for the best effort, seems) that nobody is left.
    fn is_over(&mut self, on_reaped: &mut dyn FnMut(u32, ProcessEnd)) -> bool {
        let childless = self.target.subreaper && self.reap(on_reaped);
        let leader_gone = self
            .target
            .leader
            .as_ref()
            .is_none_or(|leader| leader.has_exited());
        match (self.target.mechanism(), &self.target.cgroup) {
            (Mechanism::Cgroup, Some(cgroup)) => {
                // Gone with all that was in it is as good as empty.
                let empty = !cgroup
                    .is_populated()
                    .unwrap_or_else(|error| error.kind() != io::ErrorKind::NotFound);
                empty && (childless || !self.target.subreaper)
            }
            (Mechanism::Subreaper, _) => childless,
            _ if !leader_gone => false,
            _ if self.target.scope == Scope::Single => true,
            _ => {
                self.members.retain(|_, known| !exited(&known.fd));
                // Once more when nobody known is left, and in a first look for members without a leader.
                if self.members.is_empty() {
                    self.remember();
                }
                self.members.is_empty()
            }
        }
    }

    /// Reaps everybody who has ended; says whether there are no children at all (`ECHILD`).
    fn reap(&mut self, on_reaped: &mut dyn FnMut(u32, ProcessEnd)) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(end) = ProcessEnd::from_wait_status(status.as_raw()) {
                        on_reaped(pid.as_raw_nonzero().get().cast_unsigned(), end);
                    }
                }
                Err(rustix::io::Errno::CHILD) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }

    fn done(&mut self, now: Instant, survivors: Vec<Survivor>) -> Next {
        if let Some(raised) = self.raised.take() {
            sched::restore(&raised);
        }
        let report = StopReport {
            mechanism: self.target.mechanism(),
            signalled: self.signalled,
            escalated: self.escalated,
            survivors,
            // A caller's clock may run ahead of ours; ours knows how long this call took.
            elapsed: now
                .max(Instant::now())
                .saturating_duration_since(self.started),
        };
        self.members.clear();
        self.report = Some(report.clone());
        Next::Done(report)
    }

    /// Adds whom a forced best effort has not reached, where stronger means know of them.
    fn beyond_reach(
        &mut self,
        mut survivors: Vec<Survivor>,
        on_reaped: &mut dyn FnMut(u32, ProcessEnd),
    ) -> Vec<Survivor> {
        let Some(beyond) = self.target.beyond.take() else {
            return survivors;
        };
        if self.target.scope != Scope::Tree {
            return survivors;
        }
        let begun = Instant::now();
        loop {
            let childless = beyond.subreaper && self.reap(on_reaped);
            let mut found = Vec::new();
            if beyond.subreaper {
                walk::walk(&Root::Caller, &mut |member| found.push(member));
            } else if let Some(cgroup) = &beyond.cgroup {
                found = cgroup_members(cgroup);
            }
            for member in found {
                let (pid, comm) = (member.stat.pid, member.stat.name());
                if survivors.iter().all(|known| known.pid != pid) {
                    let reason = "out of reach: left group, session and parents".to_owned();
                    survivors.push(Survivor { pid, comm, reason });
                }
            }
            let empty = beyond
                .cgroup
                .as_ref()
                .is_some_and(|cgroup| !beyond.subreaper && !cgroup.is_populated().unwrap_or(false));
            // Somebody is there, and moves too fast to be met in one look: look again.
            if childless || empty || !survivors.is_empty() || begun.elapsed() > SLICE {
                return survivors;
            }
        }
    }

    fn survivors(&self) -> Vec<Survivor> {
        let signal = self.current_signal();
        let mut survivors: BTreeMap<u32, Survivor> = BTreeMap::new();
        for member in self.everybody() {
            let denied = member
                .signal(Signal::PROBE)
                .is_err_and(|error| error.raw_os_error() == Some(libc::EPERM));
            let reason = reason(member.stat.state, denied, signal);
            let (pid, comm) = (member.stat.pid, member.stat.name());
            survivors.insert(pid, Survivor { pid, comm, reason });
        }
        if let Some(leader) = self
            .target
            .leader
            .as_ref()
            .filter(|leader| !leader.has_exited())
        {
            let pid = leader.pid();
            let (comm, state) = crate::stat::Stat::of(pid)
                .map_or((String::new(), b'?'), |stat| (stat.name(), stat.state));
            let denied = matches!(
                leader.signal(Signal::PROBE),
                Err(crate::SignalError::PermissionDenied { .. })
            );
            survivors.entry(pid).or_insert_with(|| Survivor {
                pid,
                comm,
                reason: reason(state, denied, signal),
            });
        }
        for (pid, known) in &self.members {
            if !survivors.contains_key(pid) && !walk::is_reaped(&known.fd) && !exited(&known.fd) {
                let (pid, comm) = (*pid, known.comm.clone());
                survivors.insert(
                    pid,
                    Survivor {
                        pid,
                        comm,
                        reason: reason(b'?', false, signal),
                    },
                );
            }
        }
        survivors.into_values().collect()
    }
}

impl Drop for StopDriver {
    fn drop(&mut self) {
        if let Some(raised) = self.raised.take() {
            sched::restore(&raised);
        }
    }
}

fn reason(state: u8, denied: bool, signal: Option<Signal>) -> String {
    if denied {
        return "no permission to signal it".to_owned();
    }
    match (state, signal) {
        (b'D', _) => "in a system call that cannot be interrupted (state D)".to_owned(),
        (_, Some(Signal::KILL)) => "still there after KILL".to_owned(),
        (_, Some(signal)) => format!("did not end on {signal}, and the sequence has no KILL"),
        (_, None) => "still there".to_owned(),
    }
}

/// Says whether the process leads a process group, also when it has ended.
fn leads_group(leader: &crate::ProcessHandle) -> bool {
    match pidfd::send(leader.as_fd(), Signal::PROBE, pidfd::Whom::Group) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => true,
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
        // Before Linux 6.9.
        Err(_) => {
            crate::stat::Stat::of(leader.pid()).is_ok_and(|stat| stat.pgid == leader.pid())
                && !walk_reaped(leader)
        }
    }
}

fn walk_reaped(leader: &crate::ProcessHandle) -> bool {
    matches!(
        leader.signal(Signal::PROBE),
        Err(crate::SignalError::NoSuchProcess { .. })
    )
}

fn wake_if_stopped(leader: &crate::ProcessHandle, signal: Signal) {
    if signal != Signal::PROBE
        && crate::stat::Stat::of(leader.pid()).is_ok_and(|stat| stat.is_stopped())
    {
        let _gone = leader.signal(Signal::CONT);
    }
}

fn exited(fd: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
    let zero = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&zero)).is_ok_and(|ready| ready > 0)
}

/// Opens the members of a cgroup, each verified to be in it while its number is its own.
fn cgroup_members(cgroup: &crate::Cgroup) -> Vec<Member> {
    let pids = cgroup.pids().unwrap_or_default();
    let inside = |stat: &crate::stat::Stat| cgroup.contains(stat.pid);
    pids.into_iter()
        .filter_map(|pid| walk::open_if(pid, &inside))
        .collect()
}
