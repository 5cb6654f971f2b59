//! `proc start NAME…`.

use proc_supervisor::StartOptions;

use crate::context::Context;
use crate::error::Outcome;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Return at once instead of when everything is ready or has failed
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let options = StartOptions {
        no_wait: args.no_wait,
    };
    let report = context.ask(async |client| client.start(&args.names, options).await)?;
    render::report(context, &report, "started")
}
