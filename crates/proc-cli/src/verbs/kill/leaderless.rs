//! A process group whose leader has ended: nothing stands for it as a whole, so it is ended member by member, for as long
//! as somebody is in it.

use std::io;
use std::time::{Duration, Instant};

use proc_core::{
    Mechanism, ProcessHandle, Scope, Signal, SignalError, StopOptions, StopReport, StopSequence,
    list, stop_tree,
};

use super::at_once;

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
            let stop = |member: &ProcessHandle| {
                let options = StopOptions {
                    scope: Scope::Single,
                    ..StopOptions::default()
                };
                stop_tree(member, sequence, options)
            };
            for report in at_once(&members, stop) {
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
            let member = ProcessHandle::of(info.pid).ok()?;
            (member.identity().start_ticks == info.start_ticks).then_some(member)
        });
        let members: Vec<ProcessHandle> = opened.collect();
        // The number is the group's as long as somebody is in it. Who has it as a pid leads a new group.
        if list::get(self.0).is_ok() {
            return Ok(Vec::new());
        }
        Ok(members)
    }
}
