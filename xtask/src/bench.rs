//! Benchmarks: ratios to a raw loop or a rival, measured in the same run.

use anyhow::{Result, bail};

use crate::shell::{cargo, run as sh};

/// A benchmark program: its name and the package it lies in.
const BENCHES: &[(&str, &str)] = &[
    ("core", "proc-core"),
    ("output", "proc-output"),
    ("pipeline", "proc-run"),
    ("probes", "proc-probe"),
];

/// The one that measures a running program from outside.
const SHIM: &str = "shim";

/// Runs one benchmark, or all of them.
///
/// # Errors
/// An unknown name, or a benchmark that fails.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    if only.is_none_or(|name| name == SHIM) {
        crate::shims::run()?;
    }
    if only == Some(SHIM) {
        return Ok(());
    }
    let chosen: Vec<_> = BENCHES
        .iter()
        .filter(|(name, _)| only.is_none_or(|o| o == *name))
        .collect();
    if chosen.is_empty() {
        let names = BENCHES.iter().map(|(name, _)| *name);
        let names: Vec<&str> = names.chain([SHIM]).collect();
        bail!(
            "no benchmark `{}`; there are: {}",
            only.unwrap_or_default(),
            names.join(", ")
        );
    }
    for (name, package) in chosen {
        sh(&mut cargo([
            "bench", "--locked", "-p", package, "--bench", name,
        ]))?;
        if *name == "core" {
            crate::shims::run_starts()?;
        }
        if *name == "output" {
            crate::shims::run_writing()?;
        }
    }
    Ok(())
}
