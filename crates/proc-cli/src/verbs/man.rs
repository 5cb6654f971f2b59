//! `proc man DIR`: one page per verb.

use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::args::Cli;
use crate::error::{CliError, Outcome};
use crate::exit;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the pages go; created if need be
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

pub(crate) fn run(args: Args) -> Outcome {
    let failed = |error: std::io::Error| {
        CliError::new(
            exit::FAILED,
            format!("cannot write to `{}`: {error}", args.out.display()),
        )
    };
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    page(&args.out, command).map_err(failed)?;
    Ok(exit::OK)
}

/// Writes the page of a command, and those of its subcommands.
fn page(out: &Path, command: clap::Command) -> std::io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        page(out, sub.clone())?;
    }
    clap_mangen::Man::new(command).generate_to(out).map(drop)
}
