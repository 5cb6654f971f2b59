//! What the command left behind: TERM, the grace period, KILL, and no longer than that.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use proc_core::{Identity, ProcessHandle, Signal, list};

use crate::init::{InitOptions, reap_orphan};
use crate::sys::{Signals, init as sys, is_own_table};

/// How long after KILL the kernel may take; a task in uninterruptible sleep can outlast any wait.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Ends the rest and reaps the leader, which must be a zombie still: until it is reaped, its group number is its own.
pub(super) fn end(leader: i32, options: &InitOptions, signals: &Signals) {
    _ = sys::send(leader, libc::SIGTERM, true);
    // A stopped member takes the TERM only once it continues.
    _ = sys::send(leader, libc::SIGCONT, true);
    sys::reap(leader);
    let deadline = options.grace.map(|grace| Instant::now() + grace);
    if !gone(options, signals, leader, Signal::TERM, deadline) {
        gone(
            options,
            signals,
            leader,
            Signal::KILL,
            Some(Instant::now() + AFTER_KILL),
        );
    }
}

/// Signals everything that is left, new arrivals too, and tells whether it was gone by the deadline.
fn gone(
    options: &InitOptions,
    signals: &Signals,
    group: i32,
    signal: Signal,
    deadline: Option<Instant>,
) -> bool {
    if rustix::process::getpid().is_init() {
        everyone_gone(options, signals, signal, deadline)
    } else {
        members_gone(options, group, signal, deadline)
    }
}

fn reap_orphans(options: &InitOptions) {
    while let Some((pid, end)) = sys::ended_child() {
        reap_orphan(options, pid, end);
    }
}

/// PID 1 owns its whole pid namespace: one call reaches everybody, and ECHILD is the proof.
fn everyone_gone(
    options: &InitOptions,
    signals: &Signals,
    signal: Signal,
    deadline: Option<Instant>,
) -> bool {
    sys::send_everyone(signal.raw());
    sys::send_everyone(libc::SIGCONT);
    loop {
        reap_orphans(options);
        if !sys::has_children() {
            return true;
        }
        if expired(deadline) {
            return false; // Children that keep ending would hold the wait up past it.
        }
        match signals.wait(remaining(deadline)) {
            // A child that was born meanwhile was not killed yet; a second TERM would only confuse.
            Some(libc::SIGCHLD) if signal == Signal::KILL => sys::send_everyone(libc::SIGKILL),
            // Time is up; or somebody asks a second time, who wants it faster.
            None | Some(libc::SIGTERM | libc::SIGINT) => return false,
            Some(_) => {}
        }
    }
}

/// Elsewhere the rest is the command's group and our descendants, each reached through a verified handle.
fn members_gone(
    options: &InitOptions,
    group: i32,
    signal: Signal,
    deadline: Option<Instant>,
) -> bool {
    let mut signalled = HashSet::new();
    loop {
        reap_orphans(options);
        let members = left(group);
        for member in &members {
            if signalled.insert(member.pid()) {
                // It may have ended since the look; then there is nothing to signal.
                _ = member.signal(signal);
                _ = member.signal(Signal::CONT);
            }
        }
        let Some(first) = members.first() else {
            // Who has ended since the look for children is a member no more, and ours all the same.
            reap_orphans(options);
            return true;
        };
        if expired(deadline) {
            return false; // As above: members that end one after the other.
        }
        match first.wait(remaining(deadline)) {
            Ok(true) => {}
            Ok(false) | Err(_) => return false,
        }
    }
}

/// Returns who is left, and says nobody only after a second look: a member that forks and ends during the first one is seen as
/// ended, and its child, born behind the listing, not at all.
fn left(group: i32) -> Vec<ProcessHandle> {
    let seen = members(group);
    if seen.is_empty() {
        members(group)
    } else {
        seen
    }
}

/// Returns the living members of the group and our own descendants, none when what is listed is not our own pid namespace.
fn members(group: i32) -> Vec<ProcessHandle> {
    if !is_own_table() {
        return Vec::new();
    }
    let me = std::process::id();
    let all = list::all().unwrap_or_default();
    let mut ours: HashSet<u32> = HashSet::from([me]);
    // Parents may come after their children in the listing: go on until nothing is added.
    loop {
        let before = ours.len();
        ours.extend(
            all.iter()
                .filter(|p| ours.contains(&p.ppid))
                .map(|p| p.pid)
                .collect::<Vec<_>>(),
        );
        if ours.len() == before {
            break;
        }
    }
    let rest = all
        .iter()
        .filter(|p| p.pid != me && (ours.contains(&p.pid) || p.pgid == group.cast_unsigned()));
    // A zombie is dead, and its parent may never reap it. The handle knows it, not the state: a process whose first thread
    // has ended while others go on is listed as a zombie too.
    rest.filter_map(|p| Identity::of(p.pid).ok()?.open().ok())
        .filter(|member| !member.has_exited())
        .collect()
}

fn expired(deadline: Option<Instant>) -> bool {
    remaining(deadline).is_some_and(|left| left.is_zero())
}

fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|at| at.saturating_duration_since(Instant::now()))
}
