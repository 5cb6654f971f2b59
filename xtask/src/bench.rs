//! Benchmarks: ratios to a raw loop or a rival, measured in the same run.

use anyhow::{Result, bail};

use crate::shell::{cargo, run as sh};

/// A benchmark program: its name and the package it lies in.
const BENCHES: &[(&str, &str)] = &[("core", "proc-core"), ("output", "proc-output")];

/// Runs one benchmark, or all of them.
///
/// # Errors
/// An unknown name, or a benchmark that fails.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    let chosen: Vec<_> = BENCHES
        .iter()
        .filter(|(name, _)| only.is_none_or(|o| o == *name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
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
    }
    Ok(())
}
