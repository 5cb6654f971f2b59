//! The hidden `proc __supervise`: the supervisor that `proc up -d` leaves behind, and that a service
//! manager starts.

use proc_core::Signal;
use proc_shim::{ExitRecord, RunRecord};
use proc_spec::Project;
use proc_supervisor::{Begin, Handle, State, WaitFor, offline};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::up::launch::{Launch, Order};
use crate::context::{Context, Place};
use crate::engine::{Engine, Start, who};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::manager::Manager;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Instances per service
    #[arg(long, value_name = "NAME=N", value_parser = super::scale::count)]
    scale: Vec<(String, u32)>,
    /// A service manager started it: start what is wanted, and tell it
    #[arg(long)]
    boot: bool,
}

/// Runs until the project is down. Code 0 tells the keeper not to start it again.
pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let loaded = context.load_scaled(&args.scale);
    let place = match &loaded {
        Ok(project) => Place::of(context, &project.name)?,
        Err(_) => Place::find(context)?,
    };
    let order = Order::find(&place);
    let (project, warning) = match (loaded, &order) {
        (Ok(project), _) => (project, None),
        // Whoever asked hears of it. Nobody did: it comes back, and a broken file must not keep it from that.
        (Err(error), Some(_)) => return Err(error),
        (Err(error), None) => match offline::applied(&place.dirs.state) {
            Some(project) => (project, Some(broken(&error))),
            None => return Err(error),
        },
    };
    let before = order.is_none().then(|| predecessor(&place)).flatten();
    let mut start = match order {
        Some(order) => options(Begin::ByHand(order.names), order.who),
        None if args.boot && !anything_lives(&place) => {
            options(Begin::ByHand(Vec::new()), who("boot"))
        }
        None => options(Begin::Resume, who("resume")),
    };
    start.warning = warning;
    let manager = match args.boot {
        true => Manager::of_environment(),
        false => Manager::default(),
    };
    // A service manager may be the first to start it here.
    let launch = args.boot.then(|| Launch::begin(&place)).transpose()?;
    let reload = || context.load_scaled(&args.scale);
    context.block_on(supervise(
        &place,
        (project, start, launch),
        before,
        &manager,
        reload,
    ))
}

/// Says how the supervisor before this one ended, where a keeper has started this one in its place.
fn predecessor(place: &Place) -> Option<String> {
    let exited = ExitRecord::read(&place.keeper_dir()).ok()??.exited;
    let ours = RunRecord::read(&place.keeper_dir()).ok()??.running.run;
    let end = exited.end.filter(|_| exited.run + 1 == ours)?;
    Some(format!("the one before {end}"))
}

/// Whether the supervisor alone is new: then nothing is started that had ended meanwhile.
fn anything_lives(place: &Place) -> bool {
    let status = offline::status(&place.dirs.state);
    let services = status.map(|status| status.services).unwrap_or_default();
    let mut instances = services.iter().flat_map(|service| &service.instances);
    instances.any(|instance| instance.state == State::Running)
}

async fn supervise(
    place: &Place,
    (project, start, launch): (Project, Start, Option<Launch>),
    before: Option<String>,
    manager: &Manager,
    reload: impl Fn() -> Result<Project, crate::error::CliError>,
) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    // A terminal that closes is no concern of a supervisor that left it.
    let mut hangup = signal(SignalKind::hangup())?;
    let engine = Engine::start(place, project, start).await?;
    if let Some(before) = before {
        // The driver may have ended already.
        let _gone = engine.handle.tell("supervisor", before).await;
    }
    Order::done(place);
    drop(launch);
    manager.status("the services are starting");
    let mut work = Some(settle(engine.handle.clone()));
    let mut due = manager.watchdog.map(|every| Instant::now() + every);
    let code = loop {
        tokio::select! {
            finished = engine.handle.finished() => {
                tracing::info!(code = finished.code, "the project is down");
                break exit::OK;
            }
            status = done(&mut work) => manager.ready(&status),
            () = at(due) => {
                // An answer proves that the driver lives, not only this loop.
                if engine.handle.status().await.is_ok() {
                    manager.alive();
                }
                due = manager.watchdog.map(|every| Instant::now() + every);
            }
            _ = hangup.recv() => match reload() {
                Ok(project) => {
                    manager.reloading();
                    work = Some(apply(engine.handle.clone(), project));
                }
                Err(error) => {
                    manager.reloading();
                    manager.ready(&format!("not reloaded: {}", error.text()));
                    let detail = format!("SIGHUP: nothing was changed: {}", error.text());
                    // The driver may have ended already.
                    let _gone = engine.handle.tell("config", detail).await;
                }
            },
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
    manager.stopping();
    engine.finish().await;
    Ok(code)
}

/// Waits until every wanted service is ready or has failed.
fn settle(handle: Handle) -> JoinHandle<String> {
    tokio::spawn(async move {
        let waited = handle.wait(Vec::new(), WaitFor::Settled, None).await;
        match waited {
            Ok(report) if report.ok() => "all services are ready".to_owned(),
            Ok(_) => "a service has failed; `proc status` names it".to_owned(),
            Err(error) => error.to_string(),
        }
    })
}

fn apply(handle: Handle, project: Project) -> JoinHandle<String> {
    tokio::spawn(async move {
        match handle.apply(project, who("reload")).await {
            Ok((_, report)) if report.ok() => "reloaded".to_owned(),
            Ok(_) => "reloaded, and a service has failed".to_owned(),
            Err(error) => format!("not reloaded: {}", error.to_string().replace('\n', "; ")),
        }
    })
}

/// Waits for what was begun; nothing is waited for twice.
async fn done(work: &mut Option<JoinHandle<String>>) -> String {
    let Some(task) = work else {
        return std::future::pending().await;
    };
    let said = task.await.unwrap_or_else(|error| error.to_string());
    *work = None;
    said
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn options(begin: Begin, who: proc_supervisor::Who) -> Start {
    Start {
        foreground: false,
        begin,
        who,
        exit_with: Vec::new(),
        warning: None,
    }
}

fn broken(error: &CliError) -> String {
    let first = error.first().lines().next().unwrap_or_default();
    format!("config: {first}; this is what was last applied")
}
