//! Supervisors that others wrote, and `proc` with the profile of that name: the same program with the
//! same exits under both, and the same decisions.
//!
//! A decision is whether it was started again, how often, whether it was left or given up, and the
//! least pause before a start. Instants are nobody's promise: supervisord looks at its clock once a
//! second.

#![expect(clippy::print_stderr, reason = "a repetition is told")]

mod case;
mod ours;
mod runit;
mod s6;
mod standstill;
mod supervisord;

use case::{Case, End, Stage};
use standstill::{StandstillWatch, TOLERABLE};

/// A supervisor at work on the stages of some cases.
trait Rival {
    /// Waits until nothing more will follow in this case, and says how it ended.
    fn end_of(&mut self, case: &Case, stage: &Stage) -> End;
}

/// How often a comparison is played before it counts although the machine stood still.
const ATTEMPTS: usize = 3;

/// Plays every case under both, at the same time, and compares each with what is documented.
///
/// supervisord takes a program for up when a second has passed until it looks again. So where the whole machine stood still for
/// a good part of a second, other decisions than those that are documented mean nothing, and all is played again.
fn compare(profile: &str, cases: &[Case], start: fn(&[Case], &[Stage]) -> Box<dyn Rival>) {
    for attempt in 1..=ATTEMPTS {
        let watch = StandstillWatch::begin();
        let differences = play(profile, cases, start);
        let standstill = watch.longest();
        if differences.is_empty() {
            return;
        }
        let excused = standstill > TOLERABLE && attempt < ATTEMPTS;
        assert!(
            excused,
            "{differences:#?}; the longest standstill was {standstill:?}"
        );
        eprintln!("again, after a standstill of {standstill:?}: {differences:?}");
    }
}

/// Returns every decision that is not the documented one.
fn play(
    profile: &str,
    cases: &[Case],
    start: fn(&[Case], &[Stage]) -> Box<dyn Rival>,
) -> Vec<String> {
    let scratch = tempfile::tempdir().expect("a temp dir can be made");
    let stages: Vec<Stage> = cases
        .iter()
        .map(|case| Stage::set(scratch.path(), case))
        .collect();
    let theirs = start(cases, &stages);
    let (ours, our_stages) = ours::start(profile, cases);
    let mut differences = Vec::new();
    for (mut side, stages, name) in [
        (theirs, stages, profile),
        (ours, our_stages, "proc with that profile"),
    ] {
        for (case, stage) in cases.iter().zip(&stages) {
            let end = side.end_of(case, stage);
            let pauses = stage.pauses();
            let alike = (pauses.len(), end) == (case.pauses.len(), case.end);
            let long_enough = pauses.iter().zip(case.pauses).all(|(p, least)| p >= least);
            if !(alike && long_enough) {
                let (least, meant) = (case.pauses, case.end);
                differences.push(format!(
                    "{name}, {}: {end:?} after {pauses:?}, not {meant:?} after at least {least:?}",
                    case.name
                ));
            }
        }
    }
    differences
}
