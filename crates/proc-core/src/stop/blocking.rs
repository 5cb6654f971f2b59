//! A stop for callers that may wait.

use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::driver::{Next, StopDriver};
use super::target::{Scope, StopTarget};
use crate::{Cgroup, Mechanism, ProcessEnd, ProcessHandle, StopReport, StopSequence};

/// How [`stop_tree`] goes about it; the default is the tree of the process by the best means.
#[derive(Debug, Default)]
pub struct StopOptions {
    /// How far it reaches.
    pub scope: Scope,
    /// The cgroup in which the whole tree lives, if there is one.
    pub cgroup: Option<Cgroup>,
    /// The calling process is the tree's subreaper and has no other children; see [`StopTarget::subreaper`].
    pub subreaper: bool,
    /// Forgets every means but this one.
    pub force: Option<Mechanism>,
}

/// Stops a process and its tree, and returns when nobody is left or the sequence is at its end.
///
/// Blocks as long as the sequence says, and at most [`StopSequence::AFTER_KILL`] after `KILL`. A child of the caller
/// stays a zombie until the caller reaps it, which does not count as a survivor.
///
/// # Errors
/// When no descriptor is left.
pub fn stop_tree(
    leader: &ProcessHandle,
    sequence: &StopSequence,
    options: StopOptions,
) -> std::io::Result<StopReport> {
    let mut target = StopTarget::new(leader.try_clone()?).scope(options.scope);
    if let Some(cgroup) = options.cgroup {
        target = target.cgroup(cgroup);
    }
    if options.subreaper {
        target = target.subreaper();
    }
    if let Some(mechanism) = options.force {
        target = target.force(mechanism);
    }
    Ok(run(
        StopDriver::new(sequence.clone(), target, Instant::now()),
        &mut |_, _| {},
    ))
}

/// Drives a stop to its end on the calling thread; `on_reaped` is told of every child that was reaped.
pub fn run(mut driver: StopDriver, on_reaped: &mut dyn FnMut(u32, ProcessEnd)) -> StopReport {
    loop {
        match driver.poll(Instant::now(), on_reaped) {
            Next::Done(report) => return report,
            Next::Wait { deadline } => wait(&driver, deadline),
        }
    }
}

/// Waits until a known process ends or the moment comes.
fn wait(driver: &StopDriver, deadline: Option<Instant>) {
    let fds = driver.wait_fds();
    let mut fds: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(fd, priority)| {
            PollFd::new(
                fd,
                if *priority {
                    PollFlags::PRI
                } else {
                    PollFlags::IN
                },
            )
        })
        .collect();
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    // An interruption, like any other early return, only makes the driver look again.
    let _ready = poll(&mut fds, left.as_ref());
}
