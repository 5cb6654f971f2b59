//! Who is there, and who has had a signal.

use std::collections::BTreeMap;

use super::{Known, StopDriver};
use crate::stop::target::Scope;
use crate::stop::walk::{self, Member, Root};
use crate::sys::pidfd::{self, Pidfd};
use crate::sys::table::Table;
use crate::{ProcessHandle, Signal};

impl StopDriver {
    /// Everybody alive that the means at hand can find, the leader not always among them.
    pub(super) fn everybody(&self) -> Vec<Member> {
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
    pub(super) fn walked(&self) -> Vec<Member> {
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
            pidfd::send(leader.pidfd(), Signal::PROBE, pidfd::Whom::Group).is_ok()
                || !walk_reaped(leader)
        };
        if !group_lives() {
            return found.into_values().collect();
        }
        for pid in Table::own().pids().unwrap_or_default() {
            if pid == pgid || found.contains_key(&pid) {
                continue;
            }
            let belongs = |stat: &crate::sys::stat::Stat| {
                stat.pgid == pgid || (scope == Scope::Tree && stat.sid == pgid)
            };
            if crate::sys::stat::Stat::of(pid).is_ok_and(|stat| belongs(&stat))
                && let Some(member) = walk::open_if(pid, &belongs)
                && group_lives()
            {
                found.insert(pid, member);
            }
        }
        found.into_values().collect()
    }

    /// Keeps a descriptor of everybody found, so that their ends are noticed and their children found later.
    pub(super) fn remember(&mut self) {
        let members = self.walked();
        self.keep(members);
    }

    pub(super) fn keep(&mut self, found: Vec<Member>) {
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

    pub(super) fn note(&mut self, key: (u32, u64)) {
        if self.reached.insert(key.0, key.1) != Some(key.1) {
            self.signalled = self.signalled.saturating_add(1);
        }
        // The numbers of a long storm; whoever is forgotten here has ended long ago.
        if self.reached.len() > 1 << 16 {
            self.reached.clear();
        }
    }
}

/// Says whether the process leads a process group, also when it has ended.
pub(super) fn leads_group(leader: &ProcessHandle) -> bool {
    match pidfd::send(leader.pidfd(), Signal::PROBE, pidfd::Whom::Group) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => true,
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
        // Before Linux 6.9.
        Err(_) => {
            crate::sys::stat::Stat::of(leader.pid()).is_ok_and(|stat| stat.pgid == leader.pid())
                && !walk_reaped(leader)
        }
    }
}

pub(super) fn walk_reaped(leader: &ProcessHandle) -> bool {
    matches!(
        leader.signal(Signal::PROBE),
        Err(crate::SignalError::NoSuchProcess { .. })
    )
}

pub(super) fn exited(fd: &Pidfd) -> bool {
    let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
    let zero = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&zero)).is_ok_and(|ready| ready > 0)
}

/// Opens the members of a cgroup, each verified to be in it while its number is its own.
pub(super) fn cgroup_members(cgroup: &crate::Cgroup) -> Vec<Member> {
    let pids = cgroup.pids().unwrap_or_default();
    let inside = |stat: &crate::sys::stat::Stat| cgroup.contains(stat.pid);
    pids.into_iter()
        .filter_map(|pid| walk::open_if(pid, &inside))
        .collect()
}
