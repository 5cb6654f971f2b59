//! KILL, until nobody is left.

use std::collections::HashSet;
use std::time::Instant;

use super::members::cgroup_members;
use super::{SLICE, STORM, StopDriver};
use crate::stop::target::Scope;
use crate::stop::walk::{self, Member, Root};
use crate::sys::sched;
use crate::{ProcessEnd, Signal};

impl StopDriver {
    /// Kills everybody, until nobody new turns up or the slice is used up; says whether it is over.
    pub(super) fn kill(&mut self, on_reaped: &mut dyn FnMut(u32, ProcessEnd)) -> bool {
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
    pub(super) fn kill_once(&mut self) -> usize {
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
                    let pids = cgroup
                        .pids()
                        .unwrap_or_default()
                        .into_iter()
                        .map(|pid| (pid, 0));
                    for key in pids.filter(|key| alive.insert(*key) && !before.contains(key)) {
                        fresh.push((key, !self.reached.contains_key(&key.0)));
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
}
