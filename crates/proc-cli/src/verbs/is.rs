//! `proc is NAME STATE`: a state as an exit code.

use std::str::FromStr;

use proc_api::Client;
use proc_supervisor::{InstanceStatus, ProjectStatus, State};

use crate::args::{Limit, no_limit_at_zero};
use crate::context::{Context, Place};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::select;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// A state as `proc status` shows it, or `ready`
    #[arg(value_name = "STATE", value_parser = Asked::from_str)]
    state: Asked,
    /// Wait up to this time for it to become so
    #[arg(long, value_name = "DURATION", value_parser = no_limit_at_zero)]
    timeout: Option<Limit>,
}

/// What is asked of each instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Ready,
    State(State),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Asked, String> {
        if text == "ready" {
            return Ok(Asked::Ready);
        }
        text.parse().map(Asked::State).map_err(|_| {
            let states: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
            format!("expected `ready` or one of {}", states.join(", "))
        })
    }
}

impl Asked {
    fn holds_for(self, instance: &InstanceStatus) -> bool {
        match self {
            Asked::Ready => instance.ready,
            Asked::State(state) => instance.state == state,
        }
    }

    /// Returns whether it holds for everything in `status`.
    fn holds(self, status: &ProjectStatus) -> bool {
        status
            .services
            .iter()
            .all(|service| match (self, service.instances.as_slice()) {
                (Asked::Ready, []) => service.ready,
                (Asked::State(state), []) => service.state == state,
                (_, instances) => instances.iter().all(|instance| self.holds_for(instance)),
            })
    }
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let place = context.place()?;
    let client = context.client(&place);
    let answer = match args.timeout {
        None => context.block_on(ask(context, &place, &client, &args))?,
        Some(timeout) => context.block_on(async {
            let until = until(context, &place, &client, &args);
            match timeout.0 {
                None => until.await,
                Some(limit) => tokio::time::timeout(limit, until)
                    .await
                    .unwrap_or(Ok(false)),
            }
        })?,
    };
    Ok(if answer { exit::OK } else { exit::NO })
}

async fn ask(
    context: &Context,
    place: &Place,
    client: &Client,
    args: &Args,
) -> Result<bool, CliError> {
    let status = client
        .status()
        .await
        .map_err(|error| context.failure(place, error))?;
    let status = select::only(context, status, &args.names)?;
    Ok(args.state.holds(&status))
}

/// Waits until the answer is yes. The stream is open before the first question, so that no
/// transition falls between the two.
async fn until(
    context: &Context,
    place: &Place,
    client: &Client,
    args: &Args,
) -> Result<bool, CliError> {
    let failed = |error| context.failure(place, error);
    let mut events = client.events(None, true).await.map_err(failed)?;
    while !ask(context, place, client, args).await? {
        if events.next().await.map_err(failed)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
