//! A Rust for another target: the one that is installed, or Debian's with its library built here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{debian::Debian, zig::Zig};
use crate::shell::{cargo, read, root};

/// How cargo is run for one target.
pub(crate) struct Toolchain {
    target: String,
    way: Way,
}

enum Way {
    /// The toolchain that runs us has the target's library.
    Own,
    /// Debian's compiler and library source, unpacked in `target/cross`.
    Debian(Debian),
}

impl Toolchain {
    /// Finds or fetches one. Whether a toolchain of the user's gets a target is for the user to say (`rustup target add`), so
    /// nothing is changed outside of `target/cross`.
    ///
    /// # Errors
    /// Why there is none: what to say in a skip.
    pub(crate) fn of(target: &str) -> Result<Self> {
        let way = if library_of(target)?.exists() {
            Way::Own
        } else {
            Way::Debian(Debian::fetch().with_context(|| {
                format!("target {target} is missing; `rustup target add {target}`")
            })?)
        };
        Ok(Self {
            target: target.to_owned(),
            way,
        })
    }

    /// Says in a few words which one it is.
    pub(crate) fn name(&self) -> &'static str {
        match self.way {
            Way::Own => "the installed toolchain",
            Way::Debian(_) => "Debian's toolchain, its library built here",
        }
    }

    /// Prepares `cargo check` or `cargo clippy` for the target.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = match &self.way {
            Way::Own => cargo([verb]),
            Way::Debian(debian) => debian.cargo(verb),
        };
        command.arg("--target").arg(&self.target);
        self.set_directory(&mut command);
        command
    }

    /// Prepares a build that links, with `rustflags`.
    ///
    /// # Errors
    /// Without a linker for the target.
    pub(crate) fn build(&self, rustflags: &str) -> Result<Command> {
        let musl = self.target.ends_with("-musl");
        let mut flags = rustflags.to_owned();
        let mut command = match &self.way {
            // This target brings its own start files and C library.
            Way::Own if musl => cargo(["build"]),
            Way::Own => Zig::fetch()?.cargo(),
            Way::Debian(debian) => {
                let mut build = Zig::fetch()?.cargo();
                debian.prepare(&mut build);
                if musl {
                    // Debian has no start files and no libc.a of musl; zig has.
                    flags.push_str(" -C link-self-contained=no");
                }
                build
            }
        };
        command.arg("--target").arg(&self.target);
        self.set_directory(&mut command);
        if !flags.trim().is_empty() {
            command.env("RUSTFLAGS", flags.trim());
        }
        Ok(command)
    }

    /// Returns where a profile's programs lie afterwards.
    pub(crate) fn output(&self, profile: &str) -> PathBuf {
        directory().join("build").join(&self.target).join(profile)
    }

    /// Two compilers must not share one directory: each would throw away what the other built.
    fn set_directory(&self, command: &mut Command) {
        command.env("CARGO_TARGET_DIR", directory().join("build"));
    }
}

/// Returns the directory that holds everything for other targets; `cargo clean` removes it.
pub(super) fn directory() -> PathBuf {
    root().join("target/cross")
}

fn library_of(target: &str) -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    let sysroot = read(rustc.args(["--print", "sysroot"]).current_dir(root()))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib").join(target))
}
