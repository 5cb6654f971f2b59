//! Everything a change must pass, cheapest first.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::shell::{cargo, run as sh, say, within};
use crate::{cross, deny, outside, suites, tidy};

/// How long the unit tests may run; they take three minutes on two cores.
const UNIT_TESTS: Duration = Duration::from_secs(15 * 60);

/// Runs every step and prints what each took.
///
/// # Errors
/// The first step that fails, by name.
pub(crate) fn run(options: &suites::Run) -> Result<()> {
    let unit_tests = || unit_tests(options.full);
    let suites = || suites::run(None, options, &[]);
    let cross = || other_targets(options.full);
    let steps: [(&str, &dyn Fn() -> Result<()>); 10] = [
        ("format", &format),
        ("tidy", &tidy::run),
        ("clippy", &clippy),
        ("docs", &docs),
        ("other targets", &cross),
        ("unit tests", &unit_tests),
        ("suites", &suites),
        ("outside", &outside::run),
        ("packages", &outside::package),
        ("dependencies", &deny::run),
    ];
    let mut took: Vec<(&str, Duration)> = Vec::new();
    for (name, step) in steps {
        say(&format!("== {name}"));
        let start = Instant::now();
        step().with_context(|| format!("step `{name}` failed"))?;
        took.push((name, start.elapsed()));
    }
    for (name, time) in took {
        say(&format!("{name:<14} {:>6.1} s", time.as_secs_f64()));
    }
    Ok(())
}

fn format() -> Result<()> {
    sh(&mut cargo(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--locked",
    ];
    sh(cargo(args).args(["--", "-D", "warnings"]))
}

fn docs() -> Result<()> {
    let mut doc = cargo([
        "doc",
        "--workspace",
        "--no-deps",
        "--all-features",
        "--locked",
    ]);
    sh(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// One target that is no Linux with every change; in full all of them, and what can run is run.
fn other_targets(full: bool) -> Result<()> {
    if full {
        return cross::run(&[], false);
    }
    cross::first()
}

/// Builds first, so that the limit is for the tests alone. In full the properties are tried far longer.
fn unit_tests(full: bool) -> Result<()> {
    let args = [
        "test",
        "--workspace",
        "--all-features",
        "--locked",
        "--exclude",
        "proc-tests",
        "--no-fail-fast",
    ];
    sh(cargo(args).arg("--no-run"))?;
    let mut test = within(if full { 4 * UNIT_TESTS } else { UNIT_TESTS }, &cargo(args));
    if full {
        test.env("PROC_TEST_FULL", "1");
    }
    sh(&mut test)?;
    if full { a_million_sequences() } else { Ok(()) }
}

/// The lifecycle machine against a million random sequences: minutes with optimisation, hours without.
fn a_million_sequences() -> Result<()> {
    let args = [
        "test",
        "--release",
        "--locked",
        "-p",
        "proc-supervisor",
        "--lib",
        "machine::properties",
    ];
    let mut test = within(4 * UNIT_TESTS, &cargo(args));
    sh(test.env("PROC_TEST_FULL", "1"))
}
