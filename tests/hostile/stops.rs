//! Every program, as every user, by every tier: nobody survives an exact tier, and the best effort names who does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proc_core::{Mechanism, StopReport};

use crate::cases::{CASES, Case, Ends, Known};
use crate::stage::{Stage, User, Witness};

#[test]
fn cgroup_as_root() {
    everything(User::Root, Mechanism::Cgroup);
}

#[test]
fn cgroup_unprivileged() {
    everything(User::Nobody, Mechanism::Cgroup);
}

#[test]
fn subreaper_as_root() {
    everything(User::Root, Mechanism::Subreaper);
}

#[test]
fn subreaper_unprivileged() {
    everything(User::Nobody, Mechanism::Subreaper);
}

#[test]
fn best_effort_as_root() {
    everything(User::Root, Mechanism::GroupWalk);
}

#[test]
fn best_effort_unprivileged() {
    everything(User::Nobody, Mechanism::GroupWalk);
}

/// How often the whole corpus is gone through.
fn rounds() -> u32 {
    if proc_tests::full() { 25 } else { 1 }
}

#[expect(clippy::print_stderr, reason = "what took how long is worth a line")]
fn everything(user: User, tier: Mechanism) {
    let Some(mut stage) = Stage::new(user, tier) else {
        return;
    };
    let cases = || {
        let cases = CASES.iter();
        cases.filter(|case| user == User::Root || !case.needs_root)
    };
    for _ in 0..rounds() {
        for case in cases() {
            let begun = Instant::now();
            one(&mut stage, tier, case);
            eprintln!("{tier} {user:?} {:?}: {:?}", case.words, begun.elapsed());
        }
    }
}

fn one(stage: &mut Stage, tier: Mechanism, case: &Case) {
    let (_, mut witness) = stage.start(case.words, case.ready);
    // What ends on TERM has all the time of a busy machine to do so; nothing else waits longer than it has to.
    let steps = match case.ends {
        Ends::OnTerm => "TERM/60s, KILL",
        Ends::OnKill if tier.is_exact() => "TERM/50ms, KILL/30s",
        Ends::OnKill => "TERM/50ms, KILL/1s",
    };
    let report = stage.stop(steps);
    let told = format!("{:?}: {report:?}", case.words);
    assert_eq!(report.mechanism, tier, "{told}");
    if tier.is_exact() {
        assert_eq!(report.escalated, case.ends == Ends::OnKill, "{told}");
    }
    // A best effort that meets nobody has nobody to signal.
    let escaped = !tier.is_exact() && case.known == Known::Escaped;
    assert!(report.signalled > 0 || escaped, "{told}");
    match (tier.is_exact(), case.known) {
        (true, _) | (false, Known::Whole) => {
            assert!(report.survivors.is_empty(), "{told}");
            assert!(
                witness.nobody_left(Duration::ZERO),
                "{told}: {:?} live",
                stage.alive()
            );
        }
        (false, known) => best_effort(stage, &mut witness, &report, known, &told),
    }
}

/// Reported is who lives; of what never stands still, that somebody does.
fn best_effort(
    stage: &mut Stage,
    witness: &mut Witness,
    report: &StopReport,
    known: Known,
    told: &str,
) {
    let reported: BTreeSet<u32> = report.survivors.iter().map(|one| one.pid).collect();
    if known == Known::Moving {
        // Who was reported may have ended by himself since; who lives was reported.
        assert!(
            !reported.is_empty() || witness.nobody_left(Duration::ZERO),
            "{told}: {:?} live",
            stage.alive()
        );
    } else {
        assert_eq!(reported, stage.alive(), "{told}");
        assert!(
            !reported.is_empty(),
            "{told}: this one cannot be found, so it has to be reported"
        );
    }
    stage.clear(witness);
}
