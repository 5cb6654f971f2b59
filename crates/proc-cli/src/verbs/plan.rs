//! `proc plan`: what the changed configuration would do.

use std::io::Write;

use proc_supervisor::{PlanAction, PlanEntry};

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _: Args) -> Outcome {
    let request = context.config_request()?;
    context.tell_weaker(&context.load()?)?;
    let plan = context.ask(async |client| client.plan(&request).await)?;
    if context.globals.json {
        render::json(&plan)?;
    } else {
        print(&plan)?;
    }
    Ok(exit::OK)
}

/// Writes a plan as lines of action, service and changed fields.
pub(crate) fn print(plan: &[PlanEntry]) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    if plan.is_empty() {
        writeln!(out, "nothing to do")?;
    }
    for entry in plan {
        let action = word(entry.action);
        let changed = match entry.changed.is_empty() {
            true => String::new(),
            false => format!(" ({})", entry.changed.join(", ")),
        };
        writeln!(
            out,
            "{action:<8}{}{}",
            render::escape(&entry.service),
            render::escape(&changed)
        )?;
    }
    Ok(())
}

fn word(action: PlanAction) -> &'static str {
    match action {
        PlanAction::Keep => "keep",
        PlanAction::Signal => "signal",
        PlanAction::Restart => "restart",
        PlanAction::Start => "start",
        PlanAction::Stop => "stop",
    }
}
