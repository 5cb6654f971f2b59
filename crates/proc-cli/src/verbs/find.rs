//! `proc find NAME`: processes by name, exactly or in part.

use proc_core::list::{self, Match, ProcessInfo};

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render::{self, Table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name
    name: String,
    /// Anywhere in the name
    #[arg(long)]
    substring: bool,
}

/// Finding nothing is an answer with code 4.
pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let how = if args.substring {
        Match::Substring
    } else {
        Match::Exact
    };
    let found = list::find(&args.name, how)
        .map_err(|error| CliError::new(exit::FAILED, format!("cannot list processes: {error}")))?;
    if context.globals.json {
        render::json(&found)?;
    } else if !found.is_empty() {
        table(&found)?;
    }
    if found.is_empty() {
        return Err(CliError::new(
            exit::UNKNOWN,
            format!("no process `{}`", args.name),
        ));
    }
    Ok(exit::OK)
}

fn table(found: &[ProcessInfo]) -> Result<(), CliError> {
    let mut table = Table::new(&["pid", "ppid", "uid", "state", "rss", "started", "name"]);
    for info in found {
        table.row([
            info.pid.to_string(),
            info.ppid.to_string(),
            info.uid.to_string(),
            info.state.to_string(),
            render::size(info.rss_bytes),
            info.start_ticks.to_string(),
            info.comm.clone(),
        ]);
    }
    table.print()
}

/// Returns the failure for a number that no process has.
pub(crate) fn unknown_pid(pid: u32) -> CliError {
    CliError::new(exit::UNKNOWN, format!("no process has pid {pid}"))
}
