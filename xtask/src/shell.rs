//! Commands as the tasks write them: echoed, run from the workspace root, failing loudly.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Returns the workspace root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask lies in the workspace root")
        .to_path_buf()
}

/// Tells whether a skip is a failure: in CI it is.
pub(crate) fn strict() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Prepares `cargo` of the toolchain that runs us, at the workspace root.
pub(crate) fn cargo<I: IntoIterator<Item: AsRef<OsStr>>>(args: I) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root());
    command
}

/// Runs a command, echoing it first.
///
/// # Errors
/// When it cannot be started or does not end with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(&format!("$ {}", line(command)));
    let status = command
        .status()
        .with_context(|| format!("failed to start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Prepares a command that is ended, with all that it started in its group, when it takes longer than `limit`.
///
/// A test that hangs is then a failure which names it, not a silence. Without `timeout` of coreutils there is no limit.
pub(crate) fn within(limit: Duration, command: &Command) -> Command {
    let mut limited = match on_path("timeout") {
        true => Command::new("timeout"),
        false => return copy(Command::new(command.get_program()), command),
    };
    // At a terminal Ctrl-C must reach the tests, so they stay in the foreground group.
    if std::io::stdin().is_terminal() {
        limited.arg("--foreground");
    }
    limited
        .arg("--kill-after=10")
        .arg(limit.as_secs().to_string())
        .arg(command.get_program());
    copy(limited, command)
}

/// Gives `to` the arguments, environment and directory of `from`.
fn copy(mut to: Command, from: &Command) -> Command {
    to.args(from.get_args());
    for (key, value) in from.get_envs() {
        match value {
            Some(value) => to.env(key, value),
            None => to.env_remove(key),
        };
    }
    if let Some(dir) = from.get_current_dir() {
        to.current_dir(dir);
    }
    to
}

/// Says whether a program is on PATH.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a command quietly and returns its standard output.
///
/// # Errors
/// When it cannot be started or does not end with 0.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("failed to start `{}`", line(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` ended with {}: {}",
            line(command),
            output.status,
            stderr.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Prints one line of progress.
#[expect(clippy::print_stderr, reason = "the one place where tasks speak")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let args = command.get_args().map(OsStr::to_string_lossy);
    std::iter::once(name)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}
