//! `proc down`: stops everything in reverse order, then the supervisor.

use std::time::Duration;

use proc_api::{Client, ClientError};
use proc_core::ProcessHandle;
use proc_spec::Project;
use proc_supervisor::{Begin, Report, StopOptions};

use super::up::launch::Launch;
use crate::context::{Context, Place};
use crate::engine::{Engine, Start, who};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::keeper::Keeper;
use crate::render;

/// How long a supervisor with nothing left to do may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _: Args) -> Outcome {
    let place = context.place()?;
    let client = context.client(&place);
    let report = match context.block_on(down(&client)) {
        Ok(report) => report,
        Err(ClientError::NoSupervisor) => match without_supervisor(context, &place)? {
            Some(report) => report,
            None if context.load().is_err() && !place.exists() => {
                return Err(crate::context::no_project(&place));
            }
            None => Report::default(),
        },
        Err(error) => return Err(context.failure(&place, error)),
    };
    if let Some(keeper) = Keeper::find(&place) {
        keeper.until_gone();
    }
    render::report(context, &report, "stopped")
}

/// Asks the supervisor, and waits for its end as well.
async fn down(client: &Client) -> Result<Report, ClientError> {
    let supervisor = ProcessHandle::of(client.info().await?.pid);
    let report = client.down(StopOptions::default()).await?;
    if let Ok(supervisor) = supervisor {
        // Everything is down; a supervisor that is slow to go keeps nobody from anything but `up`.
        let _ = tokio::time::timeout(FAREWELL, supervisor.exited()).await;
    }
    Ok(report)
}

/// Ends what a supervisor that is gone left behind; `None` when there never was anything.
///
/// A supervisor of our own takes it over, starts nothing, and goes down at once.
fn without_supervisor(context: &Context, place: &Place) -> Result<Option<Report>, CliError> {
    if let Some(keeper) = Keeper::find(place) {
        keeper.end()?;
    }
    if !place.has_records() {
        return Ok(None);
    }
    let _launch = Launch::begin(place)?;
    let project = context.load().unwrap_or_else(|_| nothing(place));
    let start = Start {
        foreground: false,
        begin: Begin::Nothing,
        who: who("down"),
        exit_with: Vec::new(),
        warning: None,
    };
    context.block_on(async {
        let engine = Engine::start(place, project, start).await?;
        let report = engine
            .handle
            .down(StopOptions::default(), who("down"))
            .await;
        engine.handle.finished().await;
        engine.finish().await;
        report
            .map(Some)
            .map_err(|error| CliError::chain(exit::FAILED, &error))
    })
}

/// Returns a project without services, for a place whose configuration cannot be read any more:
/// the records know how to stop what runs.
fn nothing(place: &Place) -> Project {
    Project::plain(&place.project, &place.dirs.state)
}
