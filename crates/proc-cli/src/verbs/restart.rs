//! `proc restart NAME…`.

use proc_supervisor::RestartOptions;

use crate::context::Context;
use crate::error::Outcome;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// One instance after the other, the next once the last is ready
    #[arg(long)]
    rolling: bool,
    /// Return at once instead of when everything is ready again or has failed
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let options = RestartOptions {
        rolling: args.rolling,
        no_wait: args.no_wait,
    };
    let report = context.ask(async |client| client.restart(&args.names, options).await)?;
    render::report(context, &report, "restarted")
}
