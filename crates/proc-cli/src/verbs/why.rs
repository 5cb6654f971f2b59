//! `proc why NAME`: the last transitions with their cause.

use std::io::Write;

use proc_api::ClientError;
use proc_supervisor::Why;

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A service or instance
    #[arg(value_name = "NAME")]
    name: String,
    /// How many transitions to show
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    last: usize,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let place = context.place()?;
    let client = context.client(&place);
    let why = match context.block_on(client.why(&args.name, args.last)) {
        Ok(why) => why,
        Err(ClientError::NoSupervisor) => context.recorded_why(&place, &args.name, args.last)?,
        Err(error) => return Err(context.failure(&place, error)),
    };
    if context.globals.json {
        render::json(&why)?;
    } else {
        print(&why)?;
    }
    Ok(exit::OK)
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
