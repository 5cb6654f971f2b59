//! `proc up -d`: a supervisor that outlives this process, and a wait until all is ready.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use proc_api::{Client, ClientError, Info};
use proc_core::ProcessEnd;
use proc_policy::{ExitFacts, Verdict};
use proc_shim::ExitRecord;
use proc_spec::Project;
use proc_supervisor::offline;
use proc_supervisor::{Desired, LastExit, ProjectStatus, Report, ServiceStatus, State, WaitFor};

use super::Args;
use super::launch::{Launch, Order};
use crate::context::{Context, Place};
use crate::engine::who;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::keeper::{self, Command, Keeper};
use crate::render;
use crate::sources;

/// How long the supervisor may take until it answers.
const ANSWER: Duration = Duration::from_secs(60);
/// How many of a failed service's last lines are shown.
const LAST_LINES: usize = 10;

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let project = super::load(context, args)?;
    let place = Place::of(context, &project.name)?;
    let launch = Launch::begin(&place)?;
    let mut keeper = Keeper::find_or_launch(&place)?;
    Order {
        names: args.names.clone(),
        who: who("up"),
    }
    .leave(&place)?;
    let command = Command {
        argv: command_line(context, args, &place)?,
        env: std::env::vars_os().collect(),
        cwd: std::env::current_dir()?,
    };
    if let Err(error) = context.block_on(begin(&mut keeper, &place, command)) {
        return over(&place, args, &project).unwrap_or(Err(error));
    }
    drop(launch);
    let settled = context.block_on(wait_until_ready(context, args, &place, &project));
    if let Some(code) = settled? {
        return Ok(code);
    }
    keeper.until_gone();
    let lost = || Err(context.failure(&place, ClientError::NoSupervisor));
    over(&place, args, &project).unwrap_or_else(lost)
}

/// Returns what came of a project that has ended by itself, as the records say it; `None` where its supervisor ended in any
/// other way.
fn over(place: &Place, args: &Args, project: &Project) -> Option<Outcome> {
    let ended = ExitRecord::read(&place.keeper_dir()).ok()??.exited;
    if ended.end.and_then(ProcessEnd::code) != Some(0) {
        return None;
    }
    let status = offline::status(&place.dirs.state).ok()?;
    let asked =
        |service: &&ServiceStatus| args.names.is_empty() || args.names.contains(&service.name);
    let mut messages = Vec::new();
    for service in status.services.iter().filter(asked) {
        if let Some(how) = failure_of(service, project) {
            show_lines_of(place, project, &service.name);
            messages.push(format!("`{}`: {how}", service.name));
        }
    }
    if messages.is_empty() {
        render::note("the project has ended");
        return Some(Ok(exit::OK));
    }
    Some(Err(CliError::many(exit::FAILED, messages)))
}

/// Returns how a service of a project that has ended had failed by itself; one that was stopped with the rest has not.
fn failure_of(service: &ServiceStatus, project: &Project) -> Option<String> {
    let exits = service
        .instances
        .iter()
        .filter_map(|i| i.last_exit.as_ref());
    let mut bad = exits.filter(|exit| !ended_well(service, project, exit));
    match bad.find_map(|exit| exit.code) {
        Some(code) => Some(format!("exited with code {code}")),
        None => (service.state == State::Failed).then(|| service.state.to_string()),
    }
}

/// Returns what the keeper runs: this program as the supervisor of the same configuration.
fn command_line(context: &Context, args: &Args, place: &Place) -> Result<Vec<OsString>, CliError> {
    let mut argv: Vec<OsString> = vec![
        std::env::current_exe()?.into(),
        "__supervise".into(),
        "-v".into(),
    ];
    let mut option = |flag: &str, value: &Path| argv.extend([flag.into(), value.into()]);
    for file in context.loader()?.files {
        option("--file", &file);
    }
    option("--project", Path::new(&place.project));
    if let Some(dir) = &context.globals.state_dir {
        option("--state-dir", &std::path::absolute(dir)?);
    }
    for (name, count) in &args.scale {
        argv.extend(["--scale".into(), format!("{name}={count}").into()]);
    }
    Ok(argv)
}

/// Starts the supervisor and waits until it answers. Should it not begin, or end first, its keeper is ended as well, and
/// what it said is the failure.
pub(crate) async fn begin(
    keeper: &mut Keeper,
    place: &Place,
    command: Command,
) -> Result<Info, CliError> {
    if let Err(error) = keeper.start(command) {
        end_keeper(place)?;
        return Err(error);
    }
    let client = Client::new(&place.dirs.runtime).with_patience(ANSWER);
    let ended = tokio::select! {
        info = client.info() => match info {
            Ok(info) => return Ok(info),
            Err(error) => Some(error),
        },
        _ = keeper.ended() => None,
    };
    end_keeper(place)?;
    let said = sources::last_lines(&place.keeper_dir(), keeper::INSTANCE, LAST_LINES);
    Err(failed_to_start(said, ended))
}

fn end_keeper(place: &Place) -> Result<(), CliError> {
    Keeper::find(place).map_or(Ok(()), Keeper::end)
}

/// Makes a failure of what the supervisor printed before it ended.
fn failed_to_start(said: Vec<String>, error: Option<ClientError>) -> CliError {
    let part = |label: &str| {
        let lines = said.iter().filter_map(|line| line.strip_prefix(label));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let (errors, hints) = (part("error:"), part("hint:"));
    if !errors.is_empty() {
        return CliError::many(exit::FAILED, errors).maybe_hint(hints.into_iter().next());
    }
    let reason = error.map_or_else(|| "it ended".to_owned(), |error| error.to_string());
    let last = said
        .last()
        .map(|line| format!(": {line}"))
        .unwrap_or_default();
    CliError::new(
        exit::FAILED,
        format!("the supervisor did not start: {reason}{last}"),
    )
}

/// Waits until each wanted service is ready or has failed; `None` where the project ends by itself, as it shall with its
/// services.
async fn wait_until_ready(
    context: &Context,
    args: &Args,
    place: &Place,
    project: &Project,
) -> Result<Option<u8>, CliError> {
    let client = context.client(place);
    let failed = |error| context.failure(place, error);
    let status = match client.status().await {
        Err(ClientError::NoSupervisor) => return Ok(None),
        status => status.map_err(failed)?,
    };
    if is_ending(&status, project) {
        return Ok(None);
    }
    let names = match args.names.is_empty() {
        false => args.names.clone(),
        true => wanted(&status),
    };
    if names.is_empty() {
        return Ok(Some(exit::OK));
    }
    let settled = client
        .wait(&names, WaitFor::Settled, args.wait_timeout.0)
        .await;
    match settled {
        Ok(report) => {
            if !report.ok() && ends(&client, project).await {
                return Ok(None);
            }
            let code = render::report(context, &report, "ready")?;
            show_last_lines(place, project, &report);
            Ok(Some(code))
        }
        Err(ClientError::NoSupervisor) => Ok(None),
        Err(ClientError::Refused(problem)) if problem.code == exit::TIMED_OUT => {
            let status = client.status().await.map_err(failed)?;
            let limit = args.wait_timeout.0.unwrap_or_default();
            Err(not_ready(&status, project, limit))
        }
        Err(error) => Err(failed(error)),
    }
}

async fn ends(client: &Client, project: &Project) -> bool {
    match client.status().await {
        Ok(status) => is_ending(&status, project),
        Err(error) => matches!(error, ClientError::NoSupervisor),
    }
}

/// Returns whether nothing is wanted any more of a project that wanted something.
fn is_ending(status: &ProjectStatus, project: &Project) -> bool {
    project.services.iter().any(|service| service.autostart) && wanted(status).is_empty()
}

/// Returns the services that should be up.
fn wanted(status: &ProjectStatus) -> Vec<String> {
    let wanted = status
        .services
        .iter()
        .filter(|service| service.desired == Desired::Up);
    wanted.map(|service| service.name.clone()).collect()
}

/// Says what is not ready yet; it goes on starting.
fn not_ready(status: &ProjectStatus, project: &Project, limit: Duration) -> CliError {
    let waiting: Vec<_> = status
        .services
        .iter()
        .filter(|service| service.desired == Desired::Up && !is_fine(service, project))
        .map(|service| format!("`{}` ({})", service.name, service.state))
        .collect();
    let limit = render::duration_ms(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let text = format!("not ready after {limit}: {}", waiting.join(", "));
    CliError::new(exit::TIMED_OUT, text).hint("proc status")
}

/// Returns whether a service is as it should be after a start: ready, waiting for its time, or ended well.
fn is_fine(service: &ServiceStatus, project: &Project) -> bool {
    let last_exits = || service.instances.iter().map(|i| i.last_exit.as_ref());
    let ended_well = |exit: &LastExit| ended_well(service, project, exit);
    match service.state {
        State::Scheduled => true,
        State::Exited => last_exits().all(|exit| exit.is_some_and(ended_well)),
        _ => service.ready,
    }
}

fn ended_well(service: &ServiceStatus, project: &Project, exit: &LastExit) -> bool {
    let facts = ExitFacts {
        code: exit.code,
        signal: exit.signal,
        oom: exit.oom,
        ..ExitFacts::default()
    };
    let spec = project.services.iter().find(|s| s.name == service.name);
    spec.is_some_and(|spec| spec.restart.judge(&facts) == Verdict::Clean)
}

fn show_last_lines(place: &Place, project: &Project, report: &Report) {
    for outcome in report.outcomes.iter().filter(|outcome| !outcome.ok) {
        show_lines_of(place, project, &outcome.name);
    }
}

fn show_lines_of(place: &Place, project: &Project, name: &str) {
    let sources = sources::writable(project, place);
    let named = sources
        .iter()
        .filter(|s| s.shown == name || s.service == name);
    for source in named {
        for line in sources::last_lines(&source.dir, &source.instance, LAST_LINES) {
            render::note(&format!("{} | {line}", source.shown));
        }
    }
}
