//! Who belongs to the service at this moment.

use std::collections::BTreeSet;

use proc_core::{Cgroup, Mechanism, ProcessHandle};

use crate::sys::{ADOPTS_ORPHANS, Stat, children, pids, stat};

/// What the tree is found by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a> {
    /// The service's own cgroup.
    pub(crate) cgroup: Option<&'a Cgroup>,
    /// The leader.
    pub(crate) leader: Option<&'a ProcessHandle>,
    /// The leader's group, for a service that is not our child.
    pub(crate) pgid: Option<u32>,
    /// Whether the leader alone is ours: the supervisor, whose descendants are other services.
    pub(crate) leader_only: bool,
}

/// One process of it, verified.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) handle: ProcessHandle,
}

impl Tree<'_> {
    /// Returns the only process that was handed to us, if it is one.
    pub(crate) fn only_orphan() -> Option<Member> {
        let own = std::process::id();
        let mut orphans = children(own)
            .into_iter()
            .filter_map(|pid| open(pid, |stat| stat.ppid == own));
        let only = orphans.next()?;
        orphans.next().is_none().then_some(only)
    }

    /// Returns its living processes, as far as this means sees them; zombies are not living.
    pub(crate) fn members(&self, mechanism: Mechanism) -> Vec<Member> {
        let mut found: Vec<Member> = match (mechanism, self.cgroup) {
            _ if self.leader_only => Vec::new(),
            (Mechanism::Cgroup, Some(cgroup)) => {
                let pids = cgroup.pids().unwrap_or_default();
                pids.into_iter()
                    .filter_map(|pid| open(pid, |_| true))
                    .collect()
            }
            (Mechanism::GroupWalk, _) => self.walk(),
            _ => descendants(std::process::id()),
        };
        // The leader may have moved itself out of what is looked at.
        if let Some(leader) = self.leader
            && found
                .iter()
                .all(|member| member.handle.pid() != leader.pid())
            && !leader.has_exited()
            && let Ok(handle) = leader.try_clone()
        {
            found.push(Member { handle });
        }
        found
    }

    /// Returns the members of the leader's group and session and everybody below them.
    fn walk(&self) -> Vec<Member> {
        let Some(pgid) = self.pgid else {
            // One that shares our own group: whoever is below it is all that can be told from others.
            let alive = self.leader.filter(|leader| !leader.has_exited());
            return match alive.filter(|_| !ADOPTS_ORPHANS) {
                Some(leader) => descendants(leader.pid()),
                None => Vec::new(),
            };
        };
        let mut members: Vec<Member> = pids()
            .filter_map(|pid| open(pid, |stat| stat.pgid == pgid || stat.sid == pgid))
            .collect();
        let mut at = 0;
        while at < members.len() {
            let below = descendants(members[at].handle.pid());
            for member in below {
                if members
                    .iter()
                    .all(|known| known.handle.pid() != member.handle.pid())
                {
                    members.push(member);
                }
            }
            at += 1;
        }
        members
    }
}

/// Returns everybody below a process, itself not included.
fn descendants(root: u32) -> Vec<Member> {
    let own = std::process::id();
    let mut members = Vec::new();
    let mut seen = BTreeSet::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for pid in children(parent) {
            // A parent that ended meanwhile has handed its children to us.
            if seen.insert(pid)
                && let Some(member) = open(pid, |stat| stat.ppid == parent || stat.ppid == own)
            {
                members.push(member);
            }
            parents.push(pid);
            if parents.len() > 1 << 20 {
                return members;
            }
        }
    }
    members
}

/// Opens a process and checks afterwards that the number still means what it was found by.
fn open(pid: u32, still: impl Fn(&Stat) -> bool) -> Option<Member> {
    let handle = ProcessHandle::of(pid).ok()?;
    let stat = stat(pid)?;
    if !still(&stat) || matches!(stat.state, 'Z' | 'X') {
        return None;
    }
    Some(Member { handle })
}

/// Returns the process group of a process.
pub(crate) fn pgid_of(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.pgid)
}
