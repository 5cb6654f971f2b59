//! `proc reload NAME…`.

use crate::context::Context;
use crate::error::Outcome;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let report = context.ask(async |client| client.reload(&args.names).await)?;
    render::report(context, &report, "reloaded")
}
