//! Supervisors that others wrote, and `proc` with the profile of that name: the same program with the
//! same exits under both, and the same decisions.
//!
//! A decision is whether it was started again, how often, whether it was left or given up, and the
//! least pause before a start. Instants are nobody's promise: supervisord looks at its clock once a
//! second.

mod case;
mod ours;
mod runit;
mod s6;
mod supervisord;

use case::{Case, End, Stage};

/// A supervisor at work on the stages of some cases.
trait Rival {
    /// Waits until nothing more will follow in this case, and says how it ended.
    fn end_of(&mut self, case: &Case, stage: &Stage) -> End;
}

/// Plays every case under both, at the same time, and compares each with what is documented.
fn compare(profile: &str, cases: &[Case], start: fn(&[Case], &[Stage]) -> Box<dyn Rival>) {
    let scratch = tempfile::tempdir().expect("a temp dir can be made");
    let stages: Vec<Stage> = cases
        .iter()
        .map(|case| Stage::set(scratch.path(), case))
        .collect();
    let theirs = start(cases, &stages);
    let (ours, our_stages) = ours::start(profile, cases);
    for (mut side, stages, name) in [
        (theirs, stages, profile),
        (ours, our_stages, "proc with that profile"),
    ] {
        for (case, stage) in cases.iter().zip(&stages) {
            let end = side.end_of(case, stage);
            let pauses = stage.pauses();
            let what = format!("{name}, {}: pauses {pauses:?}", case.name);
            assert_eq!((pauses.len(), end), (case.pauses.len(), case.end), "{what}");
            let long_enough = pauses.iter().zip(case.pauses).all(|(p, least)| p >= least);
            assert!(long_enough, "{what}, at least {:?}", case.pauses);
        }
    }
}
