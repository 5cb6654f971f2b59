//! `proc apply`: makes the changed configuration the running one.

use super::plan;
use crate::context::Context;
use crate::error::Outcome;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _: Args) -> Outcome {
    let request = context.config_request()?;
    context.tell_weaker(&context.load()?)?;
    let applied = context.ask(async |client| client.apply(&request).await)?;
    if context.globals.json {
        render::json(&applied.plan)?;
    } else if !context.globals.quiet {
        plan::print(&applied.plan)?;
    }
    render::report_failures(&applied.report)
}
