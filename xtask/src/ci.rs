//! Everything a change must pass, cheapest first.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::shell::{cargo, run as sh, say};
use crate::{deny, suites, tidy};

/// Runs every step and prints what each took.
///
/// # Errors
/// The first step that fails, by name.
pub(crate) fn run(options: &suites::Run) -> Result<()> {
    let suites = || suites::run(None, options, &[]);
    let steps: [(&str, &dyn Fn() -> Result<()>); 7] = [
        ("format", &format),
        ("tidy", &tidy::run),
        ("clippy", &clippy),
        ("docs", &docs),
        ("unit tests", &unit_tests),
        ("suites", &suites),
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

fn unit_tests() -> Result<()> {
    sh(&mut cargo([
        "test",
        "--workspace",
        "--all-features",
        "--locked",
        "--exclude",
        "proc-tests",
    ]))
}
