//! Bans, licences and sources of every dependency, by cargo-deny.

use std::process::Command;

use anyhow::Result;

use crate::shell::{cargo, root, run as sh};

/// The version the list in `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Checks the dependency tree, installing cargo-deny below `target/` when it is not there.
///
/// # Errors
/// What cargo-deny found, or why it could not be installed.
pub(crate) fn run() -> Result<()> {
    let check = [
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ];
    if Command::new("cargo-deny")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success())
    {
        return sh(Command::new("cargo-deny").args(check).current_dir(root()));
    }
    let home = root().join("target/tools");
    let program = home.join("bin/cargo-deny");
    if !program.exists() {
        let mut install = cargo([
            "install",
            "--locked",
            "--debug",
            "cargo-deny",
            "--version",
            VERSION,
        ]);
        sh(install.arg("--root").arg(&home))?;
    }
    sh(Command::new(program).args(check).current_dir(root()))
}
