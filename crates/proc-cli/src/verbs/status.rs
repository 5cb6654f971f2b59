//! `proc status`: the table, or the JSON of CONTRACT.md; `-w` shows it again at each transition.

use std::io::Write;
use std::time::Duration;

use proc_api::ClientError;
use proc_supervisor::ProjectStatus;

use crate::context::{Context, Place};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;
use crate::select;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these services, instances, globs or groups
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Show it again whenever something changes
    #[arg(short, long)]
    watch: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let place = context.place()?;
    if args.watch {
        return context.block_on(watch(context, &place, &args.names));
    }
    let status = context.block_on(context.status(&place))?;
    show(context, status, &args.names)?;
    Ok(exit::OK)
}

fn show(context: &Context, status: ProjectStatus, names: &[String]) -> Result<(), CliError> {
    let status = select::only(context, status, names)?;
    if context.globals.json {
        return render::json(&status);
    }
    let mut out = anstream::stdout().lock();
    for line in render::status_lines(&status) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// How often a watched table is drawn again while nothing happens, so that uptimes move on.
const REDRAW: Duration = Duration::from_secs(1);

async fn watch(context: &Context, place: &Place, names: &[String]) -> Outcome {
    let client = context.client(place);
    let failed = |error: ClientError| context.failure(place, error);
    let mut events = client.events(None, true).await.map_err(failed)?;
    loop {
        let status = client.status().await.map_err(failed)?;
        if context.globals.json {
            render::json_line(&select::only(context, status, names)?)?;
        } else {
            clear_screen()?;
            show(context, status, names)?;
        }
        let redraw = !context.globals.json && render::stdout_is_terminal();
        let event = match redraw {
            true => match tokio::time::timeout(REDRAW, events.next()).await {
                Ok(event) => event,
                Err(_) => continue,
            },
            false => events.next().await,
        };
        if event.map_err(failed)?.is_none() {
            return Ok(exit::OK);
        }
    }
}

/// Clears a terminal; elsewhere an empty line parts the tables.
fn clear_screen() -> Result<(), CliError> {
    let clear = if render::stdout_is_terminal() {
        "\x1b[H\x1b[2J"
    } else {
        "\n"
    };
    std::io::stdout().write_all(clear.as_bytes())?;
    Ok(())
}
