//! The hidden `proc __supervise`: the supervisor that `proc up -d` leaves behind.

use proc_core::Signal;
use proc_spec::Project;
use proc_supervisor::Begin;
use tokio::signal::unix::{SignalKind, signal};

use super::up::launch::Order;
use crate::context::{Context, Place};
use crate::engine::{Engine, Start, who};
use crate::error::Outcome;
use crate::exit;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Instances per service
    #[arg(long, value_name = "NAME=N", value_parser = super::scale::count)]
    scale: Vec<(String, u32)>,
}

/// Runs until the project is down. Code 0 tells the keeper not to start it again.
pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let project = context.load_scaled(&args.scale)?;
    let place = Place::of(context, &project.name)?;
    let start = match Order::find(&place) {
        Some(order) => options(Begin::ByHand(order.names), order.who),
        None => options(Begin::Resume, who("resume")),
    };
    context.block_on(supervise(&place, project, start))
}

async fn supervise(place: &Place, project: Project, start: Start) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    // A terminal that closes is no concern of a supervisor that left it.
    let mut hangup = signal(SignalKind::hangup())?;
    let engine = Engine::start(place, project, start).await?;
    Order::done(place);
    let code = loop {
        tokio::select! {
            finished = engine.handle.finished() => {
                tracing::info!(code = finished.code, "the project is down");
                break exit::OK;
            }
            _ = hangup.recv() => {}
            _ = terminate.recv() => {
                // The services outlive their supervisor, also when it is asked to go: `proc down`
                // is what ends them. The keeper starts it again, unless it was the keeper that asked.
                if engine.handle.leave().await.is_err() {
                    tracing::warn!("the driver had ended already");
                }
                break exit::of_command(None, Some(Signal::TERM.raw()));
            }
        }
    };
    engine.finish().await;
    Ok(code)
}

fn options(begin: Begin, who: proc_supervisor::Who) -> Start {
    Start {
        foreground: false,
        begin,
        who,
        exit_with: Vec::new(),
    }
}
