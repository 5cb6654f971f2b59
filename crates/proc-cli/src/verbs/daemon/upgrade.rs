//! `proc daemon upgrade`: the supervisor ends and this program takes its place; services live on.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_core::Invocation;

use crate::context::{Context, Place};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::keeper::{Command, Keeper};
use crate::verbs::up::detached::begin;
use crate::verbs::up::launch::Launch;

/// How long the program may take to tell its version.
const CHECK: Duration = Duration::from_secs(10);

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
    let old = same_command(before.pid)?;
    let new = Command {
        argv: with_program(&old, args)?,
        ..old.clone()
    };
    context.block_on(check_program(&new))?;
    // Between the two supervisors it tells everybody that one is on its way.
    let launch = Launch::again(&place)?;
    keeper.end()?;
    let after = match context.block_on(start(&place, new, before.pid)) {
        Ok(after) => after,
        Err(error) => return Err(put_back(context, &place, (old, before.pid), error)),
    };
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

/// Returns how the supervisor was started. It is our own process, so its command line can be read without waiting for
/// anybody.
fn same_command(pid: u32) -> Result<Command, CliError> {
    let found = Invocation::of(pid).map_err(|error| {
        let text = format!("cannot look at the supervisor, pid {pid}: {error}");
        CliError::new(exit::FAILED, text)
    })?;
    let Invocation {
        argv, env, mut cwd, ..
    } = found;
    // It may have been removed; what was last applied is in the state.
    if !cwd.is_dir() {
        cwd = PathBuf::from("/");
    }
    Ok(Command { argv, env, cwd })
}

/// Returns a command line with the program to change to.
fn with_program(old: &Command, args: &Args) -> Result<Vec<OsString>, CliError> {
    let program = match &args.binary {
        Some(binary) => std::path::absolute(binary),
        None => std::env::current_exe(),
    }?;
    let rest = old.argv.iter().skip(1).cloned();
    Ok(std::iter::once(program.into_os_string())
        .chain(rest)
        .collect())
}

/// Makes sure that the program is a `proc` that runs here, while there still is a supervisor to lose.
async fn check_program(command: &Command) -> Result<(), CliError> {
    let program = command.argv.first().cloned().unwrap_or_default();
    let refused = |why: &str| {
        let text = format!("`{}` is no `proc`: {why}", Path::new(&program).display());
        CliError::new(exit::FAILED, text)
    };
    let version = proc_run::Command::new(&program).arg("--version");
    let run = proc_run::Run::new(version).timeout(CHECK).run().await;
    let finished = run.map_err(|error| refused(&error.to_string()))?;
    if finished.success() && finished.output.to_text().starts_with("proc ") {
        Ok(())
    } else {
        Err(refused("it does not tell its version"))
    }
}

/// Starts a supervisor and waits until it answers. Should it end first, nothing of it is left, and what it said is the
/// failure.
async fn start(place: &Place, command: Command, old: u32) -> Result<proc_api::Info, CliError> {
    let mut keeper = Keeper::find_or_launch(place)?;
    let info = begin(&mut keeper, place, command).await?;
    if info.pid == old {
        let text = format!("pid {old} still answers");
        return Err(CliError::new(exit::FAILED, text));
    }
    Ok(info)
}

/// Starts the supervisor again that was to be replaced, and says what came of both.
fn put_back(
    context: &Context,
    place: &Place,
    (old, pid): (Command, u32),
    error: CliError,
) -> CliError {
    match context.block_on(start(place, old, pid)) {
        Ok(info) => {
            let text = format!(
                "nothing was upgraded, the old program runs as pid {}",
                info.pid
            );
            error.and(text)
        }
        Err(lost) => error.and(format!(
            "the old supervisor does not start either: {}",
            lost.text()
        )),
    }
}
