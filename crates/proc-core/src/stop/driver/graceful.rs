//! The steps before KILL.

use std::time::Instant;

use super::members::leads_group;
use super::{MANY, StopDriver};
use crate::stop::target::Scope;
use crate::stop::walk::{self, Member};
use crate::sys::clock;
use crate::{Mechanism, ProcessHandle, Signal, SignalError};

impl StopDriver {
    /// The leader's group, or the leader where it leads none (its tree follows with the rest).
    pub(super) fn signal_first(&mut self, signal: Signal) {
        let Some(leader) = self.target.leader.clone() else {
            return;
        };
        let leader = &*leader;
        let scope = self.target.scope;
        let leads = scope != Scope::Single && leads_group(leader);
        if !leads {
            if leader.has_exited() {
                return;
            }
            match leader.signal(signal) {
                Ok(()) => {
                    let key = (leader.pid(), leader.identity().start_ticks);
                    self.note(key);
                    wake_if_stopped(leader, signal);
                }
                Err(error) => self.denied = is_denied(&error),
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
            let mut others = false;
            let all = walk::glance(MANY, &mut |stat| {
                others |= stat.pgid != pgid;
                if stat.pgid == pgid && stat.pid != pgid {
                    keys.push((stat.pid, stat.start_ticks));
                    if stat.is_stopped() {
                        let same = |now: &crate::sys::stat::Stat| {
                            now.start_ticks == stat.start_ticks && now.pgid == pgid
                        };
                        stopped.extend(walk::open_if(stat.pid, &same));
                    }
                }
            });
            if !all {
                self.count_reaped = Some(pgid);
            }
            if !all || !others {
                (self.look_later, self.looked) = (true, Some(Instant::now()));
            }
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
            let sent = leader.signal_group(signal);
            if sent.is_err_and(|error| is_denied(&error)) {
                self.denied = true;
                return;
            }
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

    pub(super) fn leader_refuses(&self) -> bool {
        let probe = |leader: &ProcessHandle| leader.signal(Signal::PROBE);
        let probed = self.target.leader.as_deref().map(probe);
        probed.is_some_and(|sent| sent.is_err_and(|error| is_denied(&error)))
    }

    /// Says whether a best-effort stop may signal nobody at all of those that it is aimed at.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.target.mechanism() == Mechanism::GroupWalk
            && self.everybody().iter().all(Member::refuses)
    }

    /// Once the leader has ended (or leads no group): everybody who has not had this step's signal.
    pub(super) fn signal_the_rest(&mut self, signal: Signal) {
        if self.target.scope != Scope::Tree || signal == Signal::PROBE || !self.may_look() {
            return;
        }
        let leads = |leader: &ProcessHandle| !leader.has_exited() && leads_group(leader);
        let led = self.target.leader.as_deref().is_some_and(leads);
        let mechanism = self.target.mechanism();
        if led && mechanism == Mechanism::GroupWalk {
            self.remember();
        }
        if led && (mechanism != Mechanism::Subreaper || self.count_reaped.is_none()) {
            return;
        }
        // Most often the group's signal reached everybody; then nobody has to be opened.
        if mechanism == Mechanism::Subreaper && !self.somebody_was_missed() || led {
            return;
        }
        let pgid = self.target.leader.as_ref().map(|leader| leader.pid());
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

    /// Looks for members that this step's signal has not reached, and continues those that it has but are stopped.
    pub(super) fn somebody_was_missed(&self) -> bool {
        let Some(step) = &self.step else { return false };
        let pgid = self.target.leader.as_ref().map(|leader| leader.pid());
        let (mut missed, mut stopped) = (false, Vec::new());
        walk::glance(walk::MOST, &mut |stat| {
            let by_group = Some(stat.pgid) == pgid && stat.start_ticks <= step.sent_ticks;
            let had = by_group || step.sent.contains(&(stat.pid, stat.start_ticks));
            missed |= !had && Some(stat.pid) != pgid;
            if had && stat.is_stopped() {
                stopped.push(stat);
            }
        });
        for stat in stopped {
            let same = |now: &crate::sys::stat::Stat| now.start_ticks == stat.start_ticks;
            if let Some(member) = walk::open_if(stat.pid, &same) {
                let _gone = member.signal(Signal::CONT);
            }
        }
        missed
    }
}

fn is_denied(error: &SignalError) -> bool {
    matches!(error, SignalError::PermissionDenied { .. })
}

fn wake_if_stopped(leader: &ProcessHandle, signal: Signal) {
    if signal != Signal::PROBE
        && crate::sys::stat::Stat::of(leader.pid()).is_ok_and(|stat| stat.is_stopped())
    {
        let _gone = leader.signal(Signal::CONT);
    }
}
