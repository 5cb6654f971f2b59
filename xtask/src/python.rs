//! What the suites use of PyPI, in an environment of its own below `target`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::components;
use crate::shell::{read, run as sh, say};

/// Returns what is still missing after trying to install it: `name==version` each.
pub(crate) fn ensure(wanted: &[&'static str]) -> Vec<&'static str> {
    let missing = missing(wanted);
    if missing.is_empty() {
        return missing;
    }
    match install(&missing) {
        Ok(()) => self::missing(wanted),
        Err(error) => {
            say(&format!(
                "installing {} failed: {error:#}",
                missing.join(", ")
            ));
            missing
        }
    }
}

fn missing(wanted: &[&'static str]) -> Vec<&'static str> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut freeze = Command::new(bin("python"));
    freeze.args(["-m", "pip", "--disable-pip-version-check", "freeze"]);
    let there = read(&mut freeze).unwrap_or_default();
    let is_there = |package: &&str| there.lines().any(|line| line == *package);
    wanted
        .iter()
        .filter(|package| !is_there(package))
        .copied()
        .collect()
}

fn install(packages: &[&str]) -> Result<()> {
    // Debian's python3 alone has `venv` and lacks what it needs.
    if !bin("pip").exists() && make().is_err() {
        components::install(&["python3-venv"])?;
        make()?;
    }
    let mut pip = Command::new(bin("python"));
    pip.args(["-m", "pip", "--disable-pip-version-check", "install", "-q"]);
    sh(pip.args(packages))
}

fn make() -> Result<()> {
    let make = ["-m", "venv", "--clear"];
    sh(Command::new("python3").args(make).arg(home()))
}

fn bin(name: &str) -> PathBuf {
    home().join("bin").join(name)
}

/// The directory where the tests look: beside the profile's, in the one we were built to.
fn home() -> PathBuf {
    let us = std::env::current_exe().expect("a running program has a path");
    let target = us.ancestors().nth(2).expect("we run from target/<profile>");
    target.join("python")
}
