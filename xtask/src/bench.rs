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

/// A benchmark that runs by itself.
type Bench = fn() -> Result<()>;

/// Those that measure running programs from outside.
const OUTSIDE: &[(&str, Bench)] = &[
    ("shim", crate::shims::run),
    ("starts", crate::shims::run_starts),
    ("writing", crate::shims::run_writing),
];

/// What `core` asks for beside itself: the same promises, kept by the shim.
const WITH_CORE: [&str; 2] = ["shim", "starts"];

/// Runs one benchmark, or all of them.
///
/// # Errors
/// An unknown name, or a benchmark that fails.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    let wanted = |name: &str| {
        only.is_none_or(|only| only == name || only == "core" && WITH_CORE.contains(&name))
    };
    for (_, bench) in OUTSIDE.iter().filter(|(name, _)| wanted(name)) {
        bench()?;
    }
    if only.is_some_and(|only| OUTSIDE.iter().any(|(name, _)| *name == only)) {
        return Ok(());
    }
    let chosen: Vec<_> = BENCHES.iter().filter(|(name, _)| wanted(name)).collect();
    if chosen.is_empty() {
        let names = BENCHES.iter().map(|(name, _)| *name);
        let names: Vec<&str> = names.chain(OUTSIDE.iter().map(|(name, _)| *name)).collect();
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
