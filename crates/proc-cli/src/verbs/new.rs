//! `proc new`: a commented starter file.

use std::io::Write;
use std::path::PathBuf;

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write it; `-` is stdout
    #[arg(value_name = "OUT", default_value = "proc.toml")]
    out: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    if args.out.as_os_str() == "-" {
        std::io::stdout().write_all(proc_spec::starter().as_bytes())?;
        return Ok(exit::OK);
    }
    write(&args)?;
    if !context.globals.quiet {
        let name = args.out.display().to_string();
        writeln!(anstream::stdout().lock(), "wrote {}", render::escape(&name))?;
        render::hint_line("proc check, then proc up");
    }
    Ok(exit::OK)
}

fn write(args: &Args) -> Result<(), CliError> {
    let name = args.out.display();
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .create_new(!args.force);
    let mut file = options
        .open(&args.out)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                CliError::new(exit::FAILED, format!("`{name}` exists")).hint("proc new --force")
            }
            _ => CliError::new(exit::FAILED, format!("cannot write `{name}`: {error}")),
        })?;
    file.write_all(proc_spec::starter().as_bytes())
        .map_err(|error| CliError::new(exit::FAILED, format!("cannot write `{name}`: {error}")))
}
