//! `proc doctor`: which kernel features are used here, and what falls back.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use proc_core::caps::{Capabilities, Capability};
use proc_shim::ShimProgram;
use serde_json::json;

use crate::context::{Context, Place};
use crate::error::Outcome;
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _: Args) -> Outcome {
    let capabilities = Capabilities::probe();
    let shim = std::env::current_exe().map(|exe| ShimProgram::find(&exe))?;
    let place = context.place().ok();
    let degraded = place.as_ref().map(|place| degraded(context, place));
    let degraded = degraded.unwrap_or_default();
    let state_dir = place.map(|place| place.dirs.state);
    if context.globals.json {
        render::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernel": capabilities.all,
            "shim": shim.program,
            "shim_is_proc_itself": !shim.args.is_empty(),
            "state_dir": state_dir,
            "degraded": degraded,
        }))?;
        return Ok(exit::OK);
    }
    let mut out = anstream::stdout().lock();
    for capability in &capabilities.all {
        writeln!(out, "{}", line(capability))?;
    }
    let itself = if shim.args.is_empty() {
        ""
    } else {
        " (proc itself: no `proc-shim` beside it)"
    };
    writeln!(
        out,
        "shim: {}{itself}",
        render::escape(&shim.program.to_string_lossy())
    )?;
    if let Some(dir) = state_dir {
        writeln!(
            out,
            "state of this project: {}",
            render::escape(&dir.to_string_lossy())
        )?;
    }
    for what in degraded {
        writeln!(out, "degraded: {}", render::escape(&what))?;
    }
    Ok(exit::OK)
}

/// Returns what the project's supervisor cannot do at present: `state: ENOSPC` while its disk is full.
fn degraded(context: &Context, place: &Place) -> Vec<String> {
    let status = context.block_on(context.status(place));
    status.map_or_else(|_| Vec::new(), |status| status.degraded)
}

fn line(capability: &Capability) -> String {
    let (word, color) = match capability.works {
        true => ("yes", AnsiColor::Green),
        false => ("no ", AnsiColor::Yellow),
    };
    let style = Style::new().fg_color(Some(color.into()));
    format!(
        "{style}{word}{style:#} {:<16} {}",
        capability.name, capability.line
    )
}
