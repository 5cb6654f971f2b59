//! A process group whose leader has ended: nothing stands for it as a whole, so it is ended member by member, for as long
//! as somebody is in it.

use std::io;
use std::time::{Duration, Instant};

use proc_core::{
    Identity, Mechanism, ProcessHandle, Scope, Signal, SignalError, StopOptions, StopReport,
    StopSequence, list, stop_tree,
};

/// How often members that were born meanwhile are looked for.
const ROUNDS: usize = 100;

/// Such a group, named by its number.
#[derive(Debug)]
pub(super) struct Leaderless(pub(super) u32);

impl Leaderless {
    /// Ends everybody in it.
    pub(super) fn stop(&self, sequence: &StopSequence) -> io::Result<StopReport> {
        let begun = Instant::now();
        let mut all = StopReport {
            mechanism: Mechanism::GroupWalk,
            signalled: 0,
            escalated: false,
            survivors: Vec::new(),
            elapsed: Duration::ZERO,
        };
        for _ in 0..ROUNDS {
            let members = self.members()?;
            if members.is_empty() || !all.survivors.is_empty() {
                break;
            }
            for report in stop_each(&members, sequence) {
                let report = report?;
                all.signalled += report.signalled;
                all.escalated |= report.escalated;
                all.survivors.extend(report.survivors);
            }
        }
        all.elapsed = begun.elapsed();
        Ok(all)
    }

    /// Sends a signal once to everybody in it; returns how many got it.
    pub(super) fn send(&self, signal: Signal) -> Result<usize, SignalError> {
        let members = self.members().unwrap_or_default();
        let sent = members.iter().map(|member| member.signal(signal));
        let (mut reached, mut refused) = (0, None);
        for sent in sent {
            match sent {
                Ok(()) => reached += 1,
                // It has ended meanwhile, and needs no signal.
                Err(SignalError::NoSuchProcess { .. }) => {}
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if reached == 0 => Err(error),
            _ => Ok(reached),
        }
    }

    /// Opens whoever is in it now.
    fn members(&self) -> io::Result<Vec<ProcessHandle>> {
        let in_it =
            |info: &list::ProcessInfo| info.pgid == self.0 && info.state != list::State::Zombie;
        let found = list::all()?.into_iter().filter(in_it);
        let opened = found.filter_map(|info| {
            let identity = Identity::of(info.pid).ok()?;
            let same = identity.start_ticks == info.start_ticks;
            same.then(|| identity.open().ok()).flatten()
        });
        let members: Vec<ProcessHandle> = opened.collect();
        // The number is the group's as long as somebody is in it. Who has it as a pid leads a new group.
        if list::get(self.0).is_ok() {
            return Ok(Vec::new());
        }
        Ok(members)
    }
}

/// Stops all of them at the same time, so that they share one grace.
fn stop_each(members: &[ProcessHandle], sequence: &StopSequence) -> Vec<io::Result<StopReport>> {
    let stop = |member| {
        let options = StopOptions {
            scope: Scope::Single,
            ..StopOptions::default()
        };
        stop_tree(member, sequence, options)
    };
    std::thread::scope(|threads| {
        let running: Vec<_> = members
            .iter()
            .map(|member| threads.spawn(move || stop(member)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a stop does not panic"))
            .collect()
    })
}
