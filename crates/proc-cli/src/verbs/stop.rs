//! `proc stop NAME…`.

use proc_core::Signal;
use proc_supervisor::StopOptions;

use crate::args::{Limit, limit};
use crate::context::Context;
use crate::error::Outcome;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Time before KILL; `none` is never
    #[arg(long, value_name = "DURATION", value_parser = limit)]
    grace: Option<Limit>,
    /// Signal of the first step, instead of the service's own
    #[arg(long, short, value_name = "SIGNAL")]
    signal: Option<Signal>,
    /// Return at once instead of when everything is gone
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let options = StopOptions {
        grace: args.grace.map(|grace| grace.0.into()),
        signal: args.signal,
        no_wait: args.no_wait,
    };
    let report = context.ask(async |client| client.stop(&args.names, options).await)?;
    render::report(context, &report, "stopped")
}
