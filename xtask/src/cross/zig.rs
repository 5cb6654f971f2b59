//! A linker for every target: zig, as PyPI's `ziglang`, driven by `cargo-zigbuild`, in an environment of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::toolchain::directory;
use crate::shell::{on_path, root, run as sh};

/// Both by version: a linker that changes by itself makes another program of the same commit.
const PACKAGES: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.1"];

/// An environment that has both.
pub(super) struct Zig {
    bin: PathBuf,
}

impl Zig {
    /// Makes the environment, once.
    ///
    /// # Errors
    /// Without Python's `venv`, or with PyPI out of reach.
    pub(super) fn fetch() -> Result<Self> {
        let home = directory().join("zig");
        let zig = Self {
            bin: home.join("bin"),
        };
        if zig.bin.join("cargo-zigbuild").exists() {
            return Ok(zig);
        }
        if !on_path("python3") {
            bail!("there is no python3 to fetch the linker with");
        }
        sh(Command::new("python3").args(["-m", "venv"]).arg(&home))
            .context("python3 has no `venv` (Debian: python3-venv)")?;
        sh(Command::new(zig.bin.join("pip"))
            .args(["-q", "--disable-pip-version-check", "install"])
            .args(PACKAGES))?;
        Ok(zig)
    }

    /// Prepares `cargo zigbuild`.
    pub(super) fn cargo(&self) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(self.bin.clone()).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(path).expect("parts of PATH hold no colon");
        let mut command = Command::new(self.bin.join("cargo-zigbuild"));
        command
            .arg("zigbuild")
            .env("PATH", path)
            .current_dir(root());
        if let Some(cargo) = std::env::var_os("CARGO") {
            command.env("CARGO", cargo);
        }
        command
    }
}
