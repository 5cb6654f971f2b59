//! `proc daemon upgrade`: the supervisor ends and this program takes its place; services live on.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use proc_api::Client;
use proc_core::Invocation;

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
    let found = Invocation::of(pid).map_err(unreadable)?;
    let mut argv = vec![program.map_err(unreadable)?.into_os_string()];
    argv.extend(found.argv.into_iter().skip(1));
    let Invocation { env, cwd, .. } = found;
    Ok(Command { argv, env, cwd })
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
