//! The example stack in the foreground, with whatever it needs.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{cargo, root, run as sh};
use crate::{components, suites};

/// Installs the components, builds `proc` and runs `proc up` in `examples/stack`.
///
/// # Errors
/// A missing component that cannot be installed here, or a failed step.
pub(crate) fn run() -> Result<()> {
    let missing = suites::ensure_components("stack");
    if !missing.is_empty() {
        bail!(
            "the example needs {}: install them first",
            missing.join(", ")
        );
    }
    sh(&mut cargo([
        "build",
        "--locked",
        "-p",
        "proc-cli",
        "-p",
        "proc-shim",
    ]))?;
    let stack = root().join("examples/stack");
    let bin = components::postgres_bin()?;
    sh(Command::new("./prepare.sh")
        .env("POSTGRES_BIN", &bin)
        .current_dir(&stack))?;
    let mut up = Command::new(root().join("target/debug/proc"));
    up.args(["-f", "proc.toml"])
        .env("POSTGRES_BIN", &bin)
        .current_dir(&stack);
    if components::is_root() {
        up.args(["-f", "root.toml"]);
    }
    sh(up.arg("up"))
}
