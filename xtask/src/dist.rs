//! Static binaries: no loader, no C library of the host, the same file on every Linux of the architecture.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cross::Toolchain;
use crate::shell::{root, run as sh, say, strict};

/// Builds static `proc` and `proc-shim` (or the shim alone) into `target/dist`, or says what is missing for that.
///
/// # Errors
/// A failed build or copy.
pub(crate) fn run(shim_alone: bool) -> Result<()> {
    let Some(toolchain) = toolchain("dist")? else {
        return Ok(());
    };
    let mut built = vec![shim(&toolchain)?];
    if !shim_alone {
        let args = ["--locked", "--release", "-p", "proc-cli"];
        sh(toolchain.build("")?.args(args))?;
        built.push(toolchain.output("release").join("proc"));
    }
    let dist = root().join("target/dist");
    std::fs::create_dir_all(&dist)?;
    for built in built {
        let name = built.file_name().context("a program has a name")?;
        let to = dist.join(name);
        let size = std::fs::copy(&built, &to)?;
        say(&format!("{}: {} KiB", to.display(), size / 1024));
    }
    Ok(())
}

/// Builds the static shim and returns where it lies; `None`, said aloud for `task`, where that cannot be done.
///
/// # Errors
/// A failed build.
pub(crate) fn static_shim(task: &str) -> Result<Option<PathBuf>> {
    match toolchain(task)? {
        Some(toolchain) => shim(&toolchain).map(Some),
        None => Ok(None),
    }
}

fn toolchain(task: &str) -> Result<Option<Toolchain>> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    match Toolchain::of(&target) {
        Ok(toolchain) => Ok(Some(toolchain)),
        Err(error) if strict() => bail!("{task}: {error:#}"),
        Err(error) => {
            say(&format!("SKIPPED {task}: {error:#}"));
            Ok(None)
        }
    }
}

fn shim(toolchain: &Toolchain) -> Result<PathBuf> {
    let args = ["--locked", "--profile", "shim", "-p", "proc-shim"];
    sh(toolchain.build("-C relocation-model=static")?.args(args))?;
    Ok(toolchain.output("shim").join("proc-shim"))
}
