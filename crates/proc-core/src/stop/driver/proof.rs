//! The end: its proof, or who is left.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, getpgid, wait, waitpid};

use super::members::{cgroup_members, exited};
use super::{Next, SLICE, StopDriver};
use crate::stop::target::Scope;
use crate::stop::walk::{self, Root};
use crate::sys::{reap, sched};
use crate::{Mechanism, ProcessEnd, Signal, StopReport, Survivor};

impl StopDriver {
    /// Reaps, and says whether it is proven (or, for the best effort, seems) that nobody is left.
    pub(super) fn is_over(&mut self, on_reaped: &mut dyn FnMut(u32, ProcessEnd)) -> bool {
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
    pub(super) fn reap(&mut self, on_reaped: &mut dyn FnMut(u32, ProcessEnd)) -> bool {
        loop {
            let reaped = match self.count_reaped {
                Some(pgid) => self.count_and_reap(pgid),
                None => wait(WaitOptions::NOHANG),
            };
            match reaped {
                Ok(Some((pid, status))) => {
                    let pid = pid.as_raw_nonzero().get().cast_unsigned();
                    self.reached.remove(&pid);
                    if let Some(end) = ProcessEnd::from_wait_status(status.as_raw()) {
                        on_reaped(pid, end);
                    }
                }
                Err(Errno::CHILD) => return true,
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// Reaps one who has ended, and counts it if the group's signal was its first.
    pub(super) fn count_and_reap(&mut self, pgid: u32) -> Result<Option<(Pid, WaitStatus)>, Errno> {
        let Some(pid) = reap::ended_child()? else {
            return Ok(None);
        };
        let child = Pid::from_raw(pid.cast_signed());
        let group = getpgid(child).map(|group| group.as_raw_nonzero().get());
        if group == Ok(pgid.cast_signed()) && !self.reached.contains_key(&pid) {
            self.signalled = self.signalled.saturating_add(1);
        }
        waitpid(child, WaitOptions::NOHANG)
    }

    pub(super) fn done(&mut self, now: Instant, survivors: Vec<Survivor>) -> Next {
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
    pub(super) fn beyond_reach(
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

    pub(super) fn survivors(&self) -> Vec<Survivor> {
        let signal = self.current_signal();
        let mut survivors: BTreeMap<u32, Survivor> = BTreeMap::new();
        for member in self.everybody() {
            let reason = reason(member.stat.state, member.refuses(), signal);
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
            let (comm, state) = crate::sys::stat::Stat::of(pid)
                .map_or((String::new(), b'?'), |stat| (stat.name(), stat.state));
            let denied = self.leader_refuses();
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
