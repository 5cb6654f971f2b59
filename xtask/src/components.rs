//! The real programs the suites supervise, and how to get them on a machine that lacks them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};

use crate::shell::{run as sh, say};

/// A program a suite needs.
pub(crate) struct Component {
    /// What is looked for: a name on PATH, or an absolute path pattern with one `*`.
    pub(crate) program: &'static str,
    /// The Debian package that holds it.
    pub(crate) package: &'static str,
}

impl Component {
    fn present(&self) -> bool {
        match self.program.split_once('*') {
            Some((head, tail)) => std::fs::read_dir(head).is_ok_and(|entries| {
                entries
                    .flatten()
                    .any(|e| Path::new(&format!("{}{tail}", e.path().display())).exists())
            }),
            None => on_path(self.program),
        }
    }
}

/// Returns what is still missing after trying to install it.
///
/// Installs by apt when we are root on Debian; elsewhere only looks.
pub(crate) fn ensure(wanted: &[Component]) -> Vec<&'static str> {
    let missing = |list: &[Component]| -> Vec<&'static str> {
        list.iter()
            .filter(|c| !c.present())
            .map(|c| c.package)
            .collect()
    };
    let packages = missing(wanted);
    if packages.is_empty() || !can_apt() {
        return packages;
    }
    if let Err(error) = install(&packages) {
        say(&format!(
            "installing {} failed: {error:#}",
            packages.join(", ")
        ));
    }
    missing(wanted)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin"].map(Path::new);
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
        || extra.iter().any(|dir| dir.join(program).is_file())
}

/// Tells whether we run as root.
pub(crate) fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|out| out.stdout == b"0\n")
}

/// Returns the directory of the newest installed PostgreSQL server.
///
/// # Errors
/// When none is installed.
pub(crate) fn postgres_bin() -> Result<PathBuf> {
    let base = Path::new("/usr/lib/postgresql");
    let versions = std::fs::read_dir(base).context("no PostgreSQL server is installed")?;
    let newest = versions
        .flatten()
        .map(|e| e.path().join("bin"))
        .filter(|p| p.is_dir())
        .max();
    newest.context("no PostgreSQL server is installed")
}

fn can_apt() -> bool {
    is_root() && on_path("apt-get")
}

/// Installs Debian packages.
///
/// # Errors
/// When we are not root, or apt fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    anyhow::ensure!(can_apt(), "only root installs packages");
    static UPDATED: OnceLock<()> = OnceLock::new();
    if UPDATED.set(()).is_ok() {
        sh(apt().args(["update", "-qq"]))?;
    }
    sh(apt()
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages))
}

/// Prepares apt so that it asks nothing and starts no daemon of the packages it installs.
fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null());
    command.stdout(Stdio::null());
    command
}
