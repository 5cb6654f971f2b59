//! `proc init -- CMD`: PID 1 of a container.

use std::ffi::OsString;

use proc_core::Signal;
use proc_shim::InitOptions;

use crate::args::{Limit, limit};
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Signal only the command, not its session; nothing is signalled when it ends
    #[arg(long)]
    single: bool,
    /// Turn a signal into another on its way, such as `TERM:QUIT`; 0 drops it; repeatable
    #[arg(long, value_name = "SIG:SIG", value_parser = rewrite)]
    rewrite: Vec<(Signal, Option<Signal>)>,
    /// End with 0 instead of this code; repeatable
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u8))]
    remap: Vec<u8>,
    /// What init gets when its own parent dies
    #[arg(long, value_name = "SIGNAL")]
    pdeathsig: Option<Signal>,
    /// Adopt orphans also when it is not PID 1
    #[arg(long)]
    subreaper: bool,
    /// Time between TERM and KILL for what the command left behind; `none` is never
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "5s")]
    grace: Limit,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Becomes the small binary where it lies beside us, as PID 1 stays in memory for good; else serves in this process.
pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let options = InitOptions {
        single: args.single,
        rewrite: args.rewrite,
        remap: args.remap.into_iter().map(i32::from).collect(),
        pdeathsig: args.pdeathsig,
        subreaper: args.subreaper,
        grace: args.grace.0,
        verbose: context.globals.verbose > 0,
        ..InitOptions::new(args.command)
    };
    become_init(&options)
}

/// Does what this process was asked for in a child, under an init that stays as PID 1: it reaps what the child does not
/// know, forwards every signal to it, and ends with its code.
pub(crate) fn beside_this_process(verbose: bool) -> Outcome {
    let program = std::env::current_exe()?;
    let command = std::iter::once(program.into_os_string()).chain(std::env::args_os().skip(1));
    become_init(&InitOptions {
        single: true,
        verbose,
        ..InitOptions::new(command.collect::<Vec<_>>())
    })
}

fn become_init(options: &InitOptions) -> Outcome {
    if let Some(error) = hand_over(options) {
        return Err(CliError::new(
            exit::NOT_RUN,
            format!("cannot become proc-shim: {error}"),
        ));
    }
    Ok(u8::try_from(proc_shim::run_init(options)).unwrap_or(exit::FAILED))
}

/// Replaces this process by the small binary; returns only when that failed, or `None` when there is none.
fn hand_over(options: &InitOptions) -> Option<std::io::Error> {
    use std::os::unix::process::CommandExt as _;
    let shim = std::env::current_exe().ok()?.with_file_name("proc-shim");
    let present = shim.is_file();
    present.then(|| {
        std::process::Command::new(shim)
            .arg("init")
            .args(options.to_args())
            .exec()
    })
}

/// Reads `SIG:SIG`, where the second may be 0.
fn rewrite(text: &str) -> Result<(Signal, Option<Signal>), String> {
    let (from, to) = text.split_once(':').ok_or("expected SIG:SIG")?;
    let signal = |text: &str| text.parse::<Signal>().map_err(|error| error.to_string());
    let to = if to == "0" { None } else { Some(signal(to)?) };
    Ok((signal(from)?, to))
}
