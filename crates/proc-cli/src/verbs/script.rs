//! `proc script`: a bash script, from a file or stdin, that takes its whole tree along.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proc_core::{Signal, StopSequence};
use proc_run::{
    Cause, DEFAULT_CAPTURE, Exclusive, ExclusiveError, Finished, Held, Input, Output, RunError,
    Script, ScriptError,
};

use super::foreground::{self, Interrupt};
use crate::args::{Limit, limit, no_limit_at_zero};
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

/// Time before KILL unless another is named.
const GRACE: Duration = Duration::from_secs(5);
/// The longest script taken from stdin.
const MAX_SCRIPT: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The script; `-` or nothing reads it from stdin
    #[arg(value_name = "FILE")]
    script: Option<PathBuf>,
    /// The script's arguments
    #[arg(
        value_name = "ARG",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<OsString>,
    /// Never touch the disk: bash reads the script from memory, its stdin stays free
    #[arg(long)]
    inline: bool,
    /// Run with errexit, nounset and pipefail
    #[arg(long)]
    strict: bool,
    /// Refuse with code 1 while another script of this name runs
    #[arg(long, value_name = "NAME")]
    exclusive: Option<String>,
    /// End it after this long; the code is 124, or 137 if that took KILL
    #[arg(long, value_name = "DURATION", value_parser = no_limit_at_zero)]
    timeout: Option<Limit>,
    /// Time before KILL; `none` is never
    #[arg(long, value_name = "DURATION", value_parser = limit)]
    grace: Option<Limit>,
    /// Write its stderr to stdout too, in order
    #[arg(long)]
    combined: bool,
    /// Let its background children outlive it
    #[arg(long)]
    detach_allowed: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let held = args.exclusive.as_deref().map(take).transpose()?;
    let mut script = script(&args)?;
    if let Some(held) = &held {
        script = script.holding(held);
    }
    let prepared = script.prepare().map_err(of_script)?;
    let grace = args.grace.map_or(Some(GRACE), |grace| grace.0);
    let sequence = StopSequence::graceful(Signal::TERM, grace);
    let run = prepared
        .to_run()
        .timeout(args.timeout.and_then(|timeout| timeout.0))
        .stop(sequence.clone())
        .allow_detached(args.detach_allowed)
        .output(output(context, &args)?);
    if !args.detach_allowed {
        foreground::adopt_orphans()?;
    }
    let (finished, signal) = context.block_on(async {
        let interrupt = Interrupt::new(std::io::stdin().is_terminal())?;
        let finished = run.run_until(interrupt.came()).await;
        Ok::<_, std::io::Error>((finished, interrupt.signal()))
    })?;
    let finished = finished.map_err(of_run)?;
    let survivors = if args.detach_allowed {
        Vec::new()
    } else {
        foreground::end_orphans(&sequence)
    };
    drop((prepared, held));
    if context.globals.json {
        tell(&finished)?;
    }
    if !survivors.is_empty() {
        for survivor in &survivors {
            render::error_line(&format!("survived: {survivor}"));
        }
        return Ok(exit::SURVIVORS);
    }
    let code = match (finished.cause, signal) {
        (Cause::Cancelled, Some(signal)) => 128 + signal.raw(),
        _ => finished.exit_code(),
    };
    Ok(exit::of_command(Some(code), None))
}

fn take(name: &str) -> Result<Held, CliError> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    Exclusive::of_user(runtime.as_deref().map(Path::new))
        .take(name)
        .map_err(|error| {
            let code = match error {
                ExclusiveError::Name(_) => exit::USAGE,
                _ => exit::FAILED,
            };
            CliError::chain(code, &error)
        })
}

fn script(args: &Args) -> Result<Script, CliError> {
    let terminal = std::io::stdin().is_terminal();
    let script = match args
        .script
        .as_deref()
        .filter(|file| *file != Path::new("-"))
    {
        Some(file) => {
            readable(file)?;
            Script::file(file).input(Input::Inherit)
        }
        None => Script::text(from_stdin()?),
    };
    // In a group of its own it could not read the terminal, nor would Ctrl-C reach it.
    Ok(script
        .args(&args.args)
        .strict(args.strict)
        .inline(args.inline)
        .foreground(terminal))
}

fn readable(file: &Path) -> Result<(), CliError> {
    let shown = file.display();
    match std::fs::File::open(file).and_then(|file| file.metadata()) {
        Ok(meta) if meta.is_dir() => Err(CliError::new(
            NOT_EXECUTABLE,
            format!("`{shown}` is a directory"),
        )),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(CliError::new(
            NOT_FOUND,
            format!("script `{shown}` not found"),
        )),
        Err(error) => Err(CliError::new(
            NOT_EXECUTABLE,
            format!("cannot read `{shown}`: {error}"),
        )),
    }
}

/// The codes of a shell for a script it cannot read, or find.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

fn from_stdin() -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_SCRIPT + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > MAX_SCRIPT {
        return Err(CliError::new(
            exit::USAGE,
            "the script on stdin is longer than 64 MiB",
        ));
    }
    if text.is_empty() {
        // Nothing to do is not a mistake of a script that somebody's program wrote.
        text.push(b'\n');
    }
    Ok(text)
}

fn output(context: &Context, args: &Args) -> Result<Output, CliError> {
    let limit = DEFAULT_CAPTURE;
    match (context.globals.json, args.combined) {
        (true, true) => return Ok(Output::Combined { limit }),
        (true, false) => return Ok(Output::Separate { limit }),
        (false, _) => {}
    }
    if args.combined {
        let stdout = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)
            .map_err(std::io::Error::from)?;
        return Ok(Output::File(Arc::new(stdout.into())));
    }
    Ok(Output::Inherit)
}

fn tell(finished: &Finished) -> Result<(), CliError> {
    let mut document = serde_json::to_value(finished)?;
    document["exit_code"] = finished.exit_code().into();
    document["timed_out"] = finished.timed_out().into();
    render::json(&document)
}

fn of_script(error: ScriptError) -> CliError {
    match error {
        ScriptError::Run(error) => of_run(error),
        ScriptError::NoBash(_) => CliError::chain(NOT_FOUND, &error),
        ScriptError::Store { .. } | ScriptError::Read { .. } => {
            CliError::chain(exit::NOT_RUN, &error)
        }
        _ => CliError::chain(exit::USAGE, &error),
    }
}

fn of_run(error: RunError) -> CliError {
    let code = match &error {
        RunError::Spawn(error) => u8::try_from(error.exit_code()).unwrap_or(exit::NOT_RUN),
        RunError::Survived(_) => exit::SURVIVORS,
        _ => exit::NOT_RUN,
    };
    CliError::chain(code, &error)
}
