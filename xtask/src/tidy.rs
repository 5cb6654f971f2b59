//! The checks no other tool makes: the arrows between crates, the face of each file, words that must not appear.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, read, root, say};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Runs every check and lists every finding.
///
/// # Errors
/// When there is a finding.
pub(crate) fn run() -> Result<()> {
    let mut findings = Vec::new();
    arrows(&mut findings)?;
    acceptance(&mut findings)?;
    for file in tracked_files()? {
        source_file(&file, &mut findings)?;
    }
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        say(finding);
    }
    bail!("{} findings", findings.len());
}

/// Compares the arrows printed in `ARCHITECTURE.md` with those of `cargo metadata`.
fn arrows(findings: &mut Vec<String>) -> Result<()> {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let written = written_arrows(&page)?;
    let metadata = read(&mut cargo([
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--locked",
    ]))?;
    let real = real_arrows(&serde_json::from_str(&metadata)?);
    for name in written.keys().chain(real.keys()).collect::<BTreeSet<_>>() {
        let (page, code) = (written.get(name), real.get(name));
        if page != code {
            findings.push(format!(
                "ARCHITECTURE.md: `{name}` depends on {code:?}, the page says {page:?}"
            ));
        }
    }
    Ok(())
}

/// Finds the test of each row in `tests/ACCEPTANCE.md`.
fn acceptance(findings: &mut Vec<String>) -> Result<()> {
    let page = std::fs::read_to_string(root().join("tests/ACCEPTANCE.md"))?;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        let [_, _, file, test, _] = cells.as_slice() else {
            findings.push(format!("tests/ACCEPTANCE.md: a row of three cells: {row}"));
            continue;
        };
        if *file == "where" {
            continue;
        }
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        if !text.contains(&format!("fn {test}(")) {
            findings.push(format!(
                "tests/ACCEPTANCE.md: `{file}` has no test `{test}`"
            ));
        }
    }
    Ok(())
}

fn written_arrows(page: &str) -> Result<Arrows> {
    let (_, rest) = page
        .split_once("<!-- arrows:begin -->")
        .context("ARCHITECTURE.md has no arrows:begin")?;
    let (table, _) = rest
        .split_once("<!-- arrows:end -->")
        .context("ARCHITECTURE.md has no arrows:end")?;
    let rows = table.lines().filter(|line| line.contains('`'));
    Ok(rows
        .filter_map(|row| {
            let mut names = row.split('`').skip(1).step_by(2).map(str::to_owned);
            Some((names.next()?, names.collect()))
        })
        .collect())
}

fn real_arrows(metadata: &Value) -> Arrows {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter_map(|package| Some((package["name"].as_str()?, package)))
        .filter(|(name, _)| name.starts_with("proc-") && *name != "proc-tests")
        .map(|(name, package)| {
            let deps = package["dependencies"].as_array().into_iter().flatten();
            let normal = deps.filter(|dep| dep["kind"].is_null());
            let ours = normal
                .filter_map(|dep| dep["name"].as_str())
                .filter(|dep| dep.starts_with("proc-"));
            (name.to_owned(), ours.map(str::to_owned).collect())
        })
        .collect()
}

fn tracked_files() -> Result<Vec<PathBuf>> {
    let list = read(
        std::process::Command::new("git")
            .arg("ls-files")
            .current_dir(root()),
    )?;
    Ok(list.lines().map(PathBuf::from).collect())
}

/// Looks at one file: Rust modules begin with their docs, text has no trailing blanks and no machine path.
fn source_file(path: &Path, findings: &mut Vec<String>) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(root().join(path)) else {
        return Ok(()); // deleted in the work tree, or not text
    };
    let name = path.display();
    let rust = path.extension().is_some_and(|ext| ext == "rs");
    if rust && !text.starts_with("//!") && !text.starts_with("#!") {
        findings.push(format!("{name}: does not begin with `//!` module docs"));
    }
    let prose = rust
        || path
            .extension()
            .is_some_and(|ext| ext == "toml" || ext == "md");
    for (number, line) in text.lines().enumerate().filter(|_| prose) {
        if line.ends_with([' ', '\t']) {
            findings.push(format!("{name}:{}: trailing blank", number + 1));
        }
    }
    if rust
        && path.starts_with("crates")
        && text.contains("unsafe {")
        && path.components().any(|c| c.as_os_str() == "src")
        && !path
            .components()
            .any(|c| c.as_os_str() == "sys" || c.as_os_str() == "sys.rs")
    {
        findings.push(format!("{name}: `unsafe` outside a `sys` module"));
    }
    Ok(())
}
