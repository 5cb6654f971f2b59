//! `proc daemon upgrade`: the supervisor ends and this program takes its place; services live on.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use proc_api::Client;

use crate::context::{Context, Place};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::keeper::{Command, Keeper};
use crate::verbs::up::launch::Launch;

/// How long the new supervisor may take until it answers.
const ANSWER: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program to run instead of this one
    #[arg(long, value_name = "PROGRAM")]
    binary: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let place = context.place()?;
    let client = context.client(&place);
    let before = context
        .block_on(client.info())
        .map_err(|e| context.failure(&place, e))?;
    let keeper = place.keeper().ok_or_else(foreground)?;
    let command = same_command(before.pid, args)?;
    // Between the two supervisors it tells everybody that one is on its way.
    let launch = Launch::again(&place)?;
    keeper.end()?;
    Keeper::find_or_launch(&place)?.start(command)?;
    let after = context.block_on(new_supervisor(&place, before.pid))?;
    drop(launch);
    if !context.globals.quiet {
        let (old, new) = (&before.version, &after.version);
        let mut out = anstream::stdout().lock();
        writeln!(
            out,
            "{old} (pid {}) -> {new} (pid {})",
            before.pid, after.pid
        )?;
    }
    Ok(exit::OK)
}

fn foreground() -> CliError {
    let text = "this supervisor runs in the foreground, so nothing can start it anew";
    CliError::new(exit::FAILED, text).hint("proc up -d")
}

/// Returns how the supervisor was started, with another program. It is our own process, so its
/// command line can be read without waiting for anybody.
fn same_command(pid: u32, args: &Args) -> Result<Command, CliError> {
    let unreadable = |error: std::io::Error| {
        CliError::new(
            exit::FAILED,
            format!("cannot look at the supervisor, pid {pid}: {error}"),
        )
    };
    let program = match &args.binary {
        Some(binary) => std::path::absolute(binary),
        None => std::env::current_exe(),
    };
    let mut argv = vec![program.map_err(unreadable)?.into_os_string()];
    argv.extend(
        words(pid, "cmdline")
            .map_err(unreadable)?
            .into_iter()
            .skip(1),
    );
    let environment = words(pid, "environ").map_err(unreadable)?;
    let env = environment.iter().filter_map(split).collect();
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).map_err(unreadable)?;
    Ok(Command { argv, env, cwd })
}

/// Reads a file of NUL-terminated words.
fn words(pid: u32, file: &str) -> std::io::Result<Vec<OsString>> {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}"))?;
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    Ok(bytes
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect())
}

fn split(pair: &OsString) -> Option<(OsString, OsString)> {
    let bytes = pair.clone().into_vec();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((
        OsString::from_vec(bytes[..at].to_vec()),
        OsString::from_vec(bytes[at + 1..].to_vec()),
    ))
}

async fn new_supervisor(place: &Place, old: u32) -> Result<proc_api::Info, CliError> {
    let client = Client::new(&place.dirs.runtime).with_patience(ANSWER);
    let info = client
        .info()
        .await
        .map_err(|error| CliError::chain(exit::FAILED, &error))?;
    if info.pid == old {
        return Err(CliError::new(
            exit::FAILED,
            format!("pid {old} still answers"),
        ));
    }
    Ok(info)
}
