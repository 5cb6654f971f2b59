//! The crates as other people use them: alone in a program outside of the workspace, and as packages.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, read, root, run as sh, say};

/// The programs in `tests/outside`, each named after the crate it depends on.
const PROGRAMS: &[&str] = &[
    "core", "policy", "output", "store", "hooks", "probe", "run", "daemon",
];
/// The most direct dependencies, with default features, of the crates that everybody's tree would grow by.
const LIMITS: &[(&str, usize)] = &[("proc-core", 4), ("proc-policy", 3), ("proc-output", 6)];

/// Counts dependencies, then builds and runs each program.
///
/// # Errors
/// A crate with too many dependencies, or a program that does not build or does not end well.
pub(crate) fn run() -> Result<()> {
    dependencies()?;
    let dir = root().join("tests/outside");
    // The versions of the workspace; what is not needed is dropped.
    std::fs::copy(root().join("Cargo.lock"), dir.join("Cargo.lock"))?;
    for program in PROGRAMS {
        let package = format!("outside-{program}");
        let mut run = cargo(["run", "--quiet", "-p", &package, "--target-dir"]);
        sh(run
            .arg(root().join("target/outside"))
            .current_dir(&dir)
            .stdin(Stdio::null()))?;
    }
    Ok(())
}

/// Makes the package of every crate and checks what was packed, all together: what a package forgot does not build.
///
/// `cargo publish` would build each by itself, which takes six times as long.
///
/// # Errors
/// A package that cannot be made or does not build.
pub(crate) fn package() -> Result<()> {
    let made = root().join("target/package");
    let unpacked = root().join("target/unpacked");
    for dir in [&made, &unpacked] {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
    }
    std::fs::create_dir_all(&unpacked)?;
    let package = ["package", "--workspace", "--locked", "--allow-dirty"];
    let others = ["--exclude", "xtask", "--exclude", "proc-tests"];
    sh(cargo(package).args(others).args(["--no-verify", "--quiet"]))?;
    let mut patches = String::new();
    for entry in std::fs::read_dir(&made)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if path.extension().is_some_and(|ending| ending == "crate") {
            let mut tar = Command::new("tar");
            sh(tar.arg("-xzf").arg(&path).arg("-C").arg(&unpacked))?;
            let (name, _version) = stem.rsplit_once('-').context("a version ends the name")?;
            patches.push_str(&format!("{name} = {{ path = \"{stem}\" }}\n"));
        }
    }
    let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n\n[patch.crates-io]\n";
    std::fs::write(unpacked.join("Cargo.toml"), format!("{workspace}{patches}"))?;
    std::fs::copy(root().join("Cargo.lock"), unpacked.join("Cargo.lock"))?;
    let mut check = cargo(["check", "--workspace", "--quiet", "--target-dir"]);
    sh(check.arg(root().join("target")).current_dir(&unpacked))
}

/// Prints how many direct dependencies each crate has, and holds the limits.
fn dependencies() -> Result<()> {
    let metadata = read(&mut cargo([
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--locked",
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut over = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if !name.starts_with("proc-") || name == "proc-tests" {
            continue;
        }
        let direct = direct(package);
        let limit = LIMITS.iter().find(|(limited, _)| *limited == name);
        let most = limit.map_or_else(String::new, |(_, most)| format!(" (at most {most})"));
        let list: Vec<&str> = direct.iter().map(String::as_str).collect();
        say(&format!(
            "{name:<16} {:>2}{most}: {}",
            direct.len(),
            list.join(" ")
        ));
        if limit.is_some_and(|(_, most)| direct.len() > *most) {
            over.push(name);
        }
    }
    if over.is_empty() {
        return Ok(());
    }
    bail!("too many direct dependencies: {}", over.join(", "))
}

/// The normal dependencies of a package with its default features.
fn direct(package: &Value) -> BTreeSet<String> {
    let on = default_features(&package["features"]);
    let all = package["dependencies"].as_array().into_iter().flatten();
    let normal = all.filter(|dep| dep["kind"].is_null());
    let used = normal.filter(|dep| {
        let name = dep["rename"].as_str().or(dep["name"].as_str());
        let name = name.unwrap_or_default();
        dep["optional"] != Value::Bool(true)
            || on.contains(name)
            || on.contains(&format!("dep:{name}"))
    });
    used.filter_map(|dep| dep["name"].as_str().map(str::to_owned))
        .collect()
}

/// `default` and everything that it switches on.
fn default_features(features: &Value) -> BTreeSet<String> {
    let mut on = BTreeSet::new();
    let mut wanted = vec!["default".to_owned()];
    while let Some(feature) = wanted.pop() {
        let more = features[&feature].as_array().into_iter().flatten();
        wanted.extend(more.filter_map(|name| name.as_str().map(str::to_owned)));
        on.insert(feature);
    }
    on
}
