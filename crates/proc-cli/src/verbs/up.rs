//! `proc up`: the supervisor and the services, here in the foreground or detached.

mod copy;
pub(crate) mod detached;
mod foreground;
pub(crate) mod launch;
mod signals;

pub(crate) use copy::Copier;

use proc_spec::Project;

use crate::args::{Limit, no_limit_at_zero};
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::select;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Start only these services, and what they need
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Return once all are ready; services and supervisor go on
    #[arg(short, long, visible_alias = "detached", short_alias = 'D')]
    detach: bool,
    /// With -d: give up waiting after this time with code 124; 0 and `none` are never
    #[arg(long, value_name = "DURATION", value_parser = no_limit_at_zero, default_value = "60s")]
    wait_timeout: Limit,
    /// End the project when this service ends, with its code
    #[arg(long, value_name = "NAME", conflicts_with = "detach")]
    exit_with: Option<String>,
    /// Instances per service, such as `web=2,worker=3`
    #[arg(long, value_name = "NAME=N", value_parser = super::scale::count, value_delimiter = ',')]
    scale: Vec<(String, u32)>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    if args.detach {
        return detached::run(context, &args);
    }
    // PID 1 of a container has everybody's orphans: it does nothing but reap and forward, and the project is its child.
    if std::process::id() == 1 {
        return super::init::beside_this_process(context.globals.verbose > 1);
    }
    foreground::run(context, &args)
}

/// Loads the project as the command line changes it, and checks the names on it.
fn load(context: &Context, args: &Args) -> Result<Project, CliError> {
    let project = context.load_scaled(&args.scale)?;
    let mut names = args.names.iter().chain(&args.exit_with);
    let means_nothing = |name: &&String| proc_spec::select(&project, &[*name]).is_err();
    match names.find(means_nothing) {
        Some(name) => Err(select::unknown(name).hint("proc check")),
        None => Ok(project),
    }
}
