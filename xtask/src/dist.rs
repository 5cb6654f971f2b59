//! Static binaries: no loader, no C library of the host, the same file on every Linux of the architecture.

use anyhow::Result;

use crate::shell::{cargo, read, root, run as sh, say};

/// Builds static `proc` and `proc-shim` into `target/dist`, or says which target to add.
///
/// # Errors
/// A failed build or copy.
pub(crate) fn run() -> Result<()> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let sysroot = read(&mut rustc(["--print", "sysroot"]))?;
    let library = std::path::Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(&target);
    if !library.exists() {
        say(&format!(
            "SKIPPED dist: target {target} is missing; `rustup target add {target}`"
        ));
        return Ok(());
    }
    sh(&mut cargo([
        "build",
        "--locked",
        "--release",
        "-p",
        "proc-cli",
        "--target",
        &target,
    ]))?;
    sh(cargo([
        "build",
        "--locked",
        "--profile",
        "shim",
        "-p",
        "proc-shim",
        "--target",
        &target,
    ])
    .env("RUSTFLAGS", "-C relocation-model=static"))?;
    let dist = root().join("target/dist");
    std::fs::create_dir_all(&dist)?;
    for (profile, name) in [("release", "proc"), ("shim", "proc-shim")] {
        let built = root().join("target").join(&target).join(profile).join(name);
        let size = std::fs::copy(built, dist.join(name))?;
        say(&format!("target/dist/{name}: {} KiB", size / 1024));
    }
    Ok(())
}

fn rustc<const N: usize>(args: [&str; N]) -> std::process::Command {
    let mut command = std::process::Command::new("rustc");
    command.args(args).current_dir(root());
    command
}
