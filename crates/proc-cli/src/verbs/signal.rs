//! `proc signal SIG NAME…`.

use proc_core::Signal;

use crate::context::Context;
use crate::error::Outcome;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The signal: `TERM`, `SIGTERM`, `term`, `15`, `RTMIN+3`
    signal: Signal,
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let report = context.ask(async |client| client.signal(&args.names, args.signal).await)?;
    render::report(context, &report, "signalled")
}
