//! `proc up` in the foreground: the supervisor in this process, its services' output on ours.

use std::path::PathBuf;

use proc_spec::Project;
use proc_supervisor::{Begin, Event, EventStream, Finished, State, StopOptions};
use tokio::sync::oneshot;

use super::Args;
use super::copy::Copier;
use super::launch::Launch;
use super::signals::Signals;
use crate::context::{Context, Place};
use crate::engine::{Engine, Start, who};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render::{self, LineStyle};
use crate::sources::{self, Source};

/// Several services share the screen.
const PREFIXED: LineStyle = LineStyle {
    prefix: true,
    timestamps: false,
};

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let project = super::load(context, args)?;
    let place = Place::of(context, &project.name)?;
    let launch = Launch::begin(&place)?;
    context.block_on(supervise(context, args, project, &place, launch))
}

async fn supervise(
    context: &Context,
    args: &Args,
    project: Project,
    place: &Place,
    launch: Launch,
) -> Outcome {
    let mut signals = Signals::catch()?;
    let logs = sources::writable(&project, place);
    let options = Start {
        foreground: true,
        begin: Begin::ByHand(args.names.clone()),
        who: who("up"),
        exit_with: args.exit_with.iter().cloned().collect(),
        warning: None,
    };
    let engine = Engine::start(place, project, options).await?;
    drop(launch);
    make_directories(&logs)?;
    let (copier, deaf) = Copier::start(&logs, PREFIXED)?;
    let events = engine.handle.events(None).await.ok();
    let up = Up {
        context,
        place,
        engine: &engine,
        copier: &copier,
        logs,
    };
    let finished = up.until_finished(&mut signals, deaf, events).await;
    engine.finish().await;
    let copied = copier.finish();
    let code = conclude(&finished);
    copied.map(|()| code)
}

fn make_directories(logs: &[Source]) -> Result<(), CliError> {
    for Source { dir, .. } in logs {
        std::fs::create_dir_all(dir).map_err(|error| {
            CliError::new(
                exit::FAILED,
                format!("cannot create `{}`: {error}", dir.display()),
            )
        })?;
    }
    Ok(())
}

/// A project that is up.
struct Up<'a> {
    context: &'a Context,
    place: &'a Place,
    engine: &'a Engine,
    copier: &'a Copier,
    logs: Vec<Source>,
}

impl Up<'_> {
    /// Starts the services and waits for the project's end, asking for it when told to.
    async fn until_finished(
        mut self,
        signals: &mut Signals,
        mut deaf: oneshot::Receiver<()>,
        mut events: Option<EventStream>,
    ) -> Finished {
        let handle = &self.engine.handle;
        let mut listening = true;
        loop {
            tokio::select! {
                finished = handle.finished() => {
                    while let Some(event) = events.as_mut().and_then(EventStream::try_next) {
                        self.tell(&event);
                    }
                    return finished;
                }
                (name, options) = signals.next() => self.stop(name, options),
                lost = &mut deaf, if listening => {
                    listening = false;
                    if lost.is_ok() {
                        self.stop("a closed stdout", StopOptions::default());
                    }
                }
                event = next(&mut events) => match event {
                    Some(event) => self.tell(&event),
                    None => events = None,
                },
            }
        }
    }

    /// Returns where a service's logs lie: where those of its other instances are.
    fn dir_of(&self, service: &str) -> PathBuf {
        let known = self.logs.iter().find(|source| source.service == service);
        known.map_or_else(
            || sources::usual_dir(self.place),
            |source| source.dir.clone(),
        )
    }

    fn stop(&self, reason: &str, options: StopOptions) {
        if !self.context.globals.quiet {
            render::note(&format!("proc: {reason}, stopping"));
        }
        let handle = self.engine.handle.clone();
        tokio::spawn(async move { handle.down(options, who("up")).await });
    }

    /// Follows instances that came later, and says what a user would want to know.
    fn tell(&mut self, event: &Event) {
        if let (Some(instance), Some(State::Starting)) = (&event.instance, event.to)
            // During a rolling restart one has two log names, which are known already.
            && sources::plain(instance) == instance
            && !self.logs.iter().any(|known| &known.instance == instance)
        {
            let service = event.service.clone().unwrap_or_else(|| instance.clone());
            let dir = self.dir_of(&service);
            let log = Source {
                instance: instance.clone(),
                shown: instance.clone(),
                service,
                dir,
            };
            self.copier.add(log.clone());
            self.logs.push(log);
        }
        if is_news(event, self.context.globals.verbose) && !self.context.globals.quiet {
            render::styled_note(&format!("proc: {}", render::event_line(event)));
        }
    }
}

fn is_news(event: &Event, verbose: u8) -> bool {
    let unasked = event.cause.by.is_none();
    verbose > 0
        || matches!(
            event.to,
            Some(State::Backoff | State::Failed | State::Unattended)
        )
        || (event.to == Some(State::Exited) && unasked)
}

async fn next(events: &mut Option<EventStream>) -> Option<Event> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// Says how the project ended, and returns the code of that.
fn conclude(finished: &Finished) -> u8 {
    render::survivors(&finished.survivors);
    let code = u8::try_from(finished.code).unwrap_or(exit::FAILED);
    if code != exit::OK && !finished.reason.is_empty() {
        render::error_line(&finished.reason);
    }
    match (code, finished.survivors.is_empty()) {
        (exit::OK, false) => exit::SURVIVORS,
        (code, _) => code,
    }
}
