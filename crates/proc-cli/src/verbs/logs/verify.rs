//! `proc logs --verify`: nothing is missing, proved from what the files and their sidecars say.

use proc_output::read::{LogReader, Verified};
use serde::Serialize;

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render::{self, Table};
use crate::sources::Source;

/// One stream in the answer of `--json`.
#[derive(Serialize)]
struct Line<'v> {
    complete: bool,
    #[serde(flatten)]
    verified: &'v Verified,
}

impl<'v> From<&'v Verified> for Line<'v> {
    fn from(verified: &'v Verified) -> Line<'v> {
        Line {
            complete: verified.complete(),
            verified,
        }
    }
}

/// Prints what the files of each stream prove; code 1 where something is missing.
pub(super) fn run(context: &Context, reader: &LogReader, sources: &[Source]) -> Outcome {
    let mut all = reader.verify().map_err(|error| super::unreadable(&error))?;
    for verified in &mut all {
        let known = sources.iter().find(|s| s.instance == verified.instance);
        if let Some(source) = known {
            verified.instance.clone_from(&source.shown);
        }
    }
    if context.globals.json {
        let lines: Vec<_> = all.iter().map(Line::from).collect();
        render::json(&lines)?;
    } else {
        print(&all)?;
    }
    let complete = all.iter().all(Verified::complete);
    Ok(if complete { exit::OK } else { exit::FAILED })
}

fn print(all: &[Verified]) -> Result<(), CliError> {
    let titles = [
        "name", "stream", "first", "end", "kept", "dropped", "files", "verdict",
    ];
    let mut table = Table::new(&titles);
    for verified in all {
        table.row([
            verified.instance.as_str(),
            verified.stream.name(),
            &verified.first_offset.to_string(),
            &verified.end_offset.to_string(),
            &verified.kept_bytes.to_string(),
            &verified.dropped_bytes.to_string(),
            &verified.files.to_string(),
            if verified.complete() {
                "complete"
            } else {
                "incomplete"
            },
        ]);
    }
    table.print()?;
    for verified in all {
        for problem in &verified.problems {
            render::warning_line(problem);
        }
    }
    Ok(())
}
