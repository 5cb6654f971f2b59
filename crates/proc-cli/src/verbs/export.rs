//! `proc export FMT`: the project for another supervisor, and what was lost on the way.

use std::io::Write;
use std::path::{Path, PathBuf};

use proc_spec::{ExportFormat, Exported};

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// systemd, launchd, procfile, supervisord or kubernetes
    #[arg(value_name = "FORMAT")]
    format: ExportFormat,
    /// Write the files into this directory; several files need it
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// The user of system units
    #[arg(long)]
    user: Option<String>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let project = context.load()?;
    let exported = proc_spec::export(&project, args.format, args.user.as_deref());
    if !context.globals.quiet {
        for loss in &exported.losses {
            render::warning_line(&loss.to_string());
        }
    }
    match &args.out {
        Some(dir) => into(dir, &exported)?,
        None => to_stdout(&exported)?,
    }
    Ok(exit::OK)
}

fn into(dir: &Path, exported: &Exported) -> Result<(), CliError> {
    std::fs::create_dir_all(dir).map_err(|error| {
        CliError::new(
            exit::FAILED,
            format!("cannot create `{}`: {error}", dir.display()),
        )
    })?;
    exported
        .files
        .iter()
        .try_for_each(|(name, text)| write_file(&dir.join(name), text))
}

fn to_stdout(exported: &Exported) -> Result<(), CliError> {
    match exported.files.as_slice() {
        [(_, text)] => Ok(std::io::stdout().write_all(text.as_bytes())?),
        files => {
            let text = format!("{} files need a directory", files.len());
            Err(CliError::new(exit::USAGE, text).hint("--out DIR"))
        }
    }
}

/// Writes a whole file or leaves the old one.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), CliError> {
    proc_store::atomic::write(path, text.as_bytes(), 0o644)
        .map_err(|error| CliError::chain(exit::FAILED, &error))
}
