//! Other targets than this machine's: type-checked, linted, linked, and run where that is possible.

mod debian;
mod toolchain;
mod zig;

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{run as sh, say};

pub(crate) use toolchain::Toolchain;

/// Every target that the documentation makes a claim about; the first is what each change is checked against.
const TARGETS: &[&str] = &[
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-gnu",
];

/// The step of every change: one target that is no Linux, checked and linted.
///
/// Where no toolchain can be had this skips, also in CI: the archive that it comes from is no part of this workspace, and an
/// unchanged commit must not fail because a mirror does.
///
/// # Errors
/// What does not compile or lint.
pub(crate) fn first() -> Result<()> {
    each(&TARGETS[..1], |toolchain, _| check(toolchain))
}

/// Checks and lints targets, all of them if none is named; with `link` builds their programs too, and runs what can run.
///
/// # Errors
/// What does not compile, lint, link or run.
pub(crate) fn run(targets: &[String], link: bool) -> Result<()> {
    let named: Vec<&str> = targets.iter().map(String::as_str).collect();
    let chosen = if named.is_empty() { TARGETS } else { &named };
    each(chosen, |toolchain, target| {
        check(toolchain)?;
        let runs = target == format!("{}-unknown-linux-musl", std::env::consts::ARCH);
        if link || runs {
            build(toolchain, target, runs)?;
        }
        Ok(())
    })
}

fn each(targets: &[&str], task: impl Fn(&Toolchain, &str) -> Result<()>) -> Result<()> {
    for target in targets {
        match Toolchain::of(target) {
            Err(error) => say(&format!("SKIPPED {target}: {error:#}")),
            Ok(toolchain) => {
                say(&format!("== {target}, with {}", toolchain.name()));
                task(&toolchain, target).with_context(|| format!("target {target}"))?;
            }
        }
    }
    Ok(())
}

/// Clippy type-checks on its way. The suites and the tasks themselves are for the machine that runs them.
fn check(toolchain: &Toolchain) -> Result<()> {
    let mut clippy = toolchain.cargo("clippy");
    clippy.args(["--all-features", "--locked", "--workspace"]);
    clippy.args(["--exclude", "proc-tests", "--exclude", "xtask"]);
    sh(clippy.args(["--", "-D", "warnings"]))
}

/// Links both programs. A Linux program of this architecture is then asked for a service's exit code.
fn build(toolchain: &Toolchain, target: &str, runs: bool) -> Result<()> {
    let mut build = toolchain.build("")?;
    build.args(["--locked", "-p", "proc-cli", "-p", "proc-shim"]);
    sh(&mut build)?;
    let built = toolchain.output("debug");
    say(&format!("linked for {target}: {}", built.display()));
    if !runs {
        return Ok(());
    }
    let mut proc = Command::new(built.join("proc"));
    let status = proc
        .args(["run", "--", "sh", "-c", "exit 7"])
        .status()
        .context("failed to start `proc`")?;
    if status.code() != Some(7) {
        bail!("`proc run` of a program that exits with 7 ended with {status}");
    }
    say(&format!("ran on {target}: exit 7 came through"));
    Ok(())
}
