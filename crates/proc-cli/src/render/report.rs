//! What came of a request: a line per service, survivors with their reason, and the exit code.

use std::io::Write;

use proc_supervisor::{Report, SurvivorView};

use super::{error_line, escape, json};
use crate::context::Context;
use crate::error::Outcome;
use crate::exit;

/// Writes a report and returns its exit code; `done` is the word for a service that went well.
pub(crate) fn report(context: &Context, report: &Report, done: &str) -> Outcome {
    if context.globals.json {
        json(report)?;
    } else if !context.globals.quiet {
        let mut out = anstream::stdout().lock();
        for outcome in report.outcomes.iter().filter(|outcome| outcome.ok) {
            let word = if outcome.message.is_empty() {
                done
            } else {
                &outcome.message
            };
            writeln!(out, "{}: {}", escape(&outcome.name), escape(word))?;
        }
    }
    report_failures(report)
}

/// Writes what went wrong to stderr and returns the exit code.
pub(crate) fn report_failures(report: &Report) -> Outcome {
    for outcome in report.outcomes.iter().filter(|outcome| !outcome.ok) {
        let why = if outcome.message.is_empty() {
            "failed"
        } else {
            &outcome.message
        };
        error_line(&format!("`{}`: {why}", outcome.name));
    }
    survivors(&report.survivors);
    Ok(match (report.survivors.is_empty(), report.ok()) {
        (false, _) => exit::SURVIVORS,
        (true, true) => exit::OK,
        (true, false) => exit::FAILED,
    })
}

/// Lists processes that outlived a stop.
pub(crate) fn survivors(survivors: &[SurvivorView]) {
    for survivor in survivors {
        let SurvivorView {
            instance,
            pid,
            comm,
            reason,
        } = survivor;
        let name = match &**comm {
            "" => String::new(),
            comm => format!(" ({comm})"),
        };
        error_line(&format!(
            "pid {pid}{name} of `{instance}` survived: {reason}"
        ));
    }
}
