//! Debian's `rustc-web`: a recent compiler with the source of its library, from which cargo builds that for any target.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::toolchain::directory;
use crate::shell::{cargo, on_path, read, root, run as sh};

/// What is fetched; the packages that these name by version are asked for.
const PACKAGES: &[&str] = &[
    "rustc-web",
    "rust-web-src",
    "rust-web-clippy",
    "libstd-rust-web-dev",
];

/// The toolchain, unpacked into a directory of ours and installed nowhere.
pub(super) struct Debian {
    usr: PathBuf,
}

impl Debian {
    /// Downloads and unpacks it, once.
    ///
    /// # Errors
    /// Where there is no apt, its archive is out of reach, or what it has is older than this workspace needs.
    pub(super) fn fetch() -> Result<Self> {
        let base = directory().join("toolchain");
        let (tree, ready) = (base.join("root"), base.join("ready"));
        let toolchain = Self {
            usr: tree.join("usr"),
        };
        if ready.exists() {
            return Ok(toolchain);
        }
        if !(on_path("apt-get") && on_path("dpkg-deb")) {
            bail!("there is no apt to fetch Debian's `rustc-web` with");
        }
        let archives = base.join("deb");
        let _begin_anew = std::fs::remove_dir_all(&base);
        std::fs::create_dir_all(&archives)?;
        std::fs::create_dir_all(&tree)?;
        if crate::components::is_root() {
            // Lists of another day name files that the archive no longer has.
            sh(Command::new("apt-get").args(["update", "-qq"]))?;
        }
        sh(Command::new("apt-get")
            .args(["download", "-qq"])
            .args(packages()?)
            .current_dir(&archives))?;
        for archive in std::fs::read_dir(&archives)? {
            sh(Command::new("dpkg-deb")
                .arg("-x")
                .arg(archive?.path())
                .arg(&tree))?;
        }
        let _only_space = std::fs::remove_dir_all(&archives);
        toolchain.is_new_enough()?;
        std::fs::write(ready, "")?;
        Ok(toolchain)
    }

    fn is_new_enough(&self) -> Result<()> {
        let mut rustc = Command::new(self.usr.join("bin/rustc"));
        rustc.arg("-V").env("LD_LIBRARY_PATH", self.libraries());
        let found = read(&mut rustc)?;
        let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
        let line = manifest
            .lines()
            .find_map(|line| line.strip_prefix("rust-version = "));
        let needed = line.context("the workspace names no `rust-version`")?;
        if minor(&found) < minor(needed) {
            bail!(
                "Debian's `rustc-web` is {}, this workspace needs {needed}",
                found.trim()
            );
        }
        Ok(())
    }

    /// Prepares cargo with this compiler; `clippy` is this compiler's too.
    pub(super) fn cargo(&self, verb: &str) -> Command {
        let own = cargo([verb]);
        let mut command = match verb {
            "clippy" => {
                let mut clippy = Command::new(self.usr.join("bin/cargo-clippy"));
                clippy.arg(verb).env("CARGO", own.get_program());
                clippy.current_dir(root());
                clippy
            }
            _ => own,
        };
        self.prepare(&mut command);
        command
    }

    /// Makes a cargo use this compiler and build the standard library.
    pub(super) fn prepare(&self, command: &mut Command) {
        command
            .arg("-Zbuild-std=std,panic_abort")
            .env("RUSTC", self.usr.join("bin/rustc"))
            // `-Z` flags are for nightly cargos, and for this.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("LD_LIBRARY_PATH", self.libraries());
    }

    fn libraries(&self) -> String {
        let lib = self.usr.join("lib");
        let multiarch = lib.join(format!("{}-linux-gnu", std::env::consts::ARCH));
        [multiarch.as_path(), Path::new(&lib)]
            .map(|path| path.display().to_string())
            .join(":")
    }
}

/// Adds the packages whose names hold a version: the library of the compiler, and LLVM.
fn packages() -> Result<Vec<String>> {
    let mut names: Vec<String> = PACKAGES.iter().map(|name| (*name).to_owned()).collect();
    let library = depends("libstd-rust-web-dev", "libstd-rust-web-")?;
    names.push(depends(&library, "libllvm")?);
    names.push(library);
    Ok(names)
}

fn depends(package: &str, prefix: &str) -> Result<String> {
    let text = read(Command::new("apt-cache").args(["depends", package]))?;
    let mut names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    let found = names.find(|name| name.starts_with(prefix));
    found
        .map(str::to_owned)
        .with_context(|| format!("no `{package}` in this archive depends on a `{prefix}…`"))
}

/// Returns the second number of the first version in a text: 96 of `rustc 1.96.0 (…)`.
fn minor(text: &str) -> Option<u32> {
    let mut version = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let version = version.find(|word| word.contains('.'))?;
    version.split('.').nth(1)?.parse().ok()
}
