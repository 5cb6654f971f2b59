//! `proc why NAME`: the last transitions with their cause.

use std::io::Write;

use proc_api::Client;
use proc_supervisor::Why;

use crate::context::{Context, Place, is_absence};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;
use crate::select;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// How many transitions to show
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    last: usize,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let place = context.place()?;
    let client = context.client(&place);
    if let [name] = args.names.as_slice()
        && is_plain(name)
    {
        let why = ask(context, &place, &client, name, args.last)?;
        return match context.globals.json {
            true => render::json(&why).map(|()| exit::OK),
            false => print(&why).map(|()| exit::OK),
        };
    }
    let status = context.block_on(context.status(&place))?;
    let names = select::meant(context, &status, &args.names)?;
    let all = names
        .iter()
        .map(|name| ask(context, &place, &client, name, args.last))
        .collect::<Result<Vec<_>, _>>()?;
    if context.globals.json {
        render::json(&all)?;
    } else {
        all.iter().try_for_each(print)?;
    }
    Ok(exit::OK)
}

/// Returns whether a name can only mean one service or instance.
fn is_plain(name: &str) -> bool {
    !name.contains(['*', '?', '[', '{', '@'])
}

fn ask(
    context: &Context,
    place: &Place,
    client: &Client,
    name: &str,
    last: usize,
) -> Result<Why, CliError> {
    match context.block_on(client.why(name, last)) {
        Ok(why) => Ok(why),
        Err(error) if is_absence(&error) => context.recorded_why(place, name, last),
        Err(error) => Err(context.failure(place, error)),
    }
}

fn print(why: &Why) -> Result<(), CliError> {
    let service = &why.service;
    let mut out = anstream::stdout().lock();
    let style = render::state_style(service.state.as_str());
    let ready = if service.ready { ", ready" } else { "" };
    let name = render::escape(&service.name);
    writeln!(
        out,
        "{name} is {style}{}{style:#}{ready}, wanted {}",
        service.state, service.desired
    )?;
    if !service.reason.is_empty() {
        writeln!(out, "reason: {}", render::escape(&service.reason))?;
    }
    for instance in &service.instances {
        if let Some(last) = &instance.last_exit {
            writeln!(
                out,
                "{}: last {}",
                render::escape(&instance.name),
                render::end(last)
            )?;
        }
    }
    for event in &why.events {
        writeln!(out, "  {}", render::event_line(event))?;
    }
    Ok(())
}
