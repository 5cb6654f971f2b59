//! `proc events`: every transition with its number.

use std::io::Write;

use proc_supervisor::Event;

use crate::context::{Context, Place, is_absence};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what came after this number
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// Go on with each new one
    #[arg(short = 'f', long)]
    follow: bool,
    /// Configuration file (long form only: -f follows)
    #[arg(
        id = "file",
        long = "file",
        value_name = "FILE",
        hide_short_help = true
    )]
    _file: Vec<std::path::PathBuf>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let place = context.place()?;
    context.block_on(stream(context, &place, &args))?;
    Ok(exit::OK)
}

/// Prints what the supervisor tells, or without one what it recorded.
///
/// Following survives the supervisor's replacement: the numbers go on, so the stream is taken up
/// again after the last one seen. It ends with `proc down`, with what was recorded after that one.
async fn stream(context: &Context, place: &Place, args: &Args) -> Result<(), CliError> {
    let mut since = args.since.unwrap_or(0);
    loop {
        let mut events = match context.client(place).events(Some(since), args.follow).await {
            Ok(events) => events,
            Err(error) if is_absence(&error) => return recorded(context, place, since),
            Err(error) => return Err(context.failure(place, error)),
        };
        let broken = loop {
            match events.next().await {
                Ok(Some(event)) => {
                    since = event.seq;
                    print(context, &event)?;
                }
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        match (args.follow, broken) {
            (false, false) => return Ok(()),
            (false, true) => return recorded(context, place, since),
            (true, _) => {}
        }
    }
}

fn recorded(context: &Context, place: &Place, since: u64) -> Result<(), CliError> {
    context
        .recorded_events(place, since)?
        .iter()
        .try_for_each(|event| print(context, event))
}

fn print(context: &Context, event: &Event) -> Result<(), CliError> {
    if context.globals.json {
        return render::json_line(event);
    }
    writeln!(anstream::stdout().lock(), "{}", render::event_line(event))?;
    Ok(())
}
