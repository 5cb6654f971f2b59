//! `proc import FMT FILE`: another tool's configuration as `proc.toml`, and what was lost on the way.

use std::io::Write;
use std::path::PathBuf;

use proc_spec::ImportFormat;

use super::export::write_file;
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// procfile, supervisord, pm2, process-compose or systemd
    #[arg(value_name = "FORMAT")]
    format: ImportFormat,
    /// What to read; for systemd also a directory of units
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// Write the file here instead of to stdout
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let imported = proc_spec::import(args.format, &args.input)
        .map_err(|error| CliError::chain(exit::USAGE, &error))?;
    if !context.globals.quiet {
        for loss in &imported.losses {
            render::warning_line(&loss.to_string());
        }
    }
    match &args.out {
        Some(out) => write_file(out, &imported.toml)?,
        None => std::io::stdout().write_all(imported.toml.as_bytes())?,
    }
    Ok(exit::OK)
}
