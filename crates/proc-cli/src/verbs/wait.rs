//! `proc wait NAME --for STATE`.

use clap::ValueEnum;
use proc_supervisor::WaitFor;

use crate::args::{Limit, no_limit_at_zero};
use crate::context::Context;
use crate::error::Outcome;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// What to wait for
    #[arg(long = "for", value_name = "STATE", default_value = "ready")]
    what: What,
    /// Give up after this time with code 124; 0 and `none` are never
    #[arg(long, value_name = "DURATION", value_parser = no_limit_at_zero, default_value = "none")]
    timeout: Limit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// It has a live process that counts as started
    Running,
    /// It is ready; a one-shot that succeeded counts
    Ready,
    /// Nothing runs and nothing will by itself
    Stopped,
    /// It ended by itself
    Exited,
}

impl From<What> for WaitFor {
    fn from(what: What) -> WaitFor {
        match what {
            What::Running => WaitFor::Running,
            What::Ready => WaitFor::Ready,
            What::Stopped => WaitFor::Stopped,
            What::Exited => WaitFor::Exited,
        }
    }
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let (what, timeout) = (args.what.into(), args.timeout.0);
    let report = context.ask(async |client| client.wait(&args.names, what, timeout).await)?;
    let word = args
        .what
        .to_possible_value()
        .map(|value| value.get_name().to_owned());
    render::report(context, &report, word.as_deref().unwrap_or_default())
}
