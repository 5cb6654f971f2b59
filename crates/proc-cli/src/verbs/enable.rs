//! `proc enable`: the project starts at boot; `proc disable` takes exactly that back.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use proc_backends::{Boot, BootManager};
use proc_core::Signal;
use proc_spec::Project;

use super::up::launch;
use crate::args::{Limit, limit};
use crate::context::{Context, Place, environment};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

/// The least that a stop of the whole project may take.
const LEAST_STOP: Duration = Duration::from_secs(90);
/// The most, where a service may take for ever.
const MOST_STOP: Duration = Duration::from_secs(30 * 60);
/// What of the caller's environment the supervisor has at boot.
const KEPT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "XDG_STATE_HOME"];

/// Who starts the project at boot.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ManagerName {
    /// A notify service of systemd
    Systemd,
    /// A job of launchd
    Launchd,
}

/// What `enable` and `disable` have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct Whose {
    /// For you at login (at boot with `loginctl enable-linger`), instead of for the machine
    #[arg(long)]
    user: bool,
    /// The service manager; the machine's own without it
    #[arg(long, value_name = "MANAGER")]
    manager: Option<ManagerName>,
    /// Start, or stop, the project at once as well
    #[arg(long)]
    now: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// How long the supervisor may say nothing before it is started anew
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "30s")]
    watchdog: Limit,
    /// Print the unit or job file and change nothing
    #[arg(long, conflicts_with = "now")]
    print: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let project = context.load_scaled(&[])?;
    let place = Place::of(context, &project.name)?;
    let watchdog = args.watchdog.0.filter(|time| !time.is_zero());
    let watchdog = watchdog.ok_or_else(|| {
        CliError::new(exit::USAGE, "--watchdog needs a time").hint("--watchdog 30s")
    })?;
    let boot = boot(context, &project, &args.whose, watchdog)?;
    if args.print {
        let text = boot
            .text()
            .map_err(|error| CliError::chain(exit::FAILED, &error))?;
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(exit::OK);
    }
    if args.whose.now
        && let Some(pid) = launch::running(&place)?
    {
        return Err(launch::refused(&place, pid).hint("proc down"));
    }
    let change = context.block_on(boot.enable(args.whose.now));
    let change = change.map_err(|error| failed(&args.whose, &error))?;
    if !context.globals.quiet {
        let state = if change.changed {
            "written"
        } else {
            "as it was"
        };
        render::note(&format!("{}: {state}, enabled", change.file.display()));
        if args.whose.user && boot.manager == BootManager::Systemd {
            render::note("it starts at your login, and at boot with `loginctl enable-linger`");
        }
    }
    Ok(exit::OK)
}

/// `proc disable`.
pub(crate) fn disable(context: &Context, whose: &Whose) -> Outcome {
    let project = match context.load() {
        Ok(project) => project,
        // A broken configuration must not keep a project at boot.
        Err(_) => Project::plain(&context.place()?.project, &std::env::current_dir()?),
    };
    let boot = boot(context, &project, whose, Duration::from_secs(30))?;
    let change = context.block_on(boot.disable(whose.now));
    let change = change.map_err(|error| failed(whose, &error))?;
    if !context.globals.quiet {
        let text = match change.changed {
            true => "removed, disabled",
            false => "not there, nothing to do",
        };
        render::note(&format!("{}: {text}", change.file.display()));
    }
    Ok(exit::OK)
}

fn failed(whose: &Whose, error: &proc_backends::ManagerError) -> CliError {
    let failure = CliError::chain(exit::FAILED, error);
    let root = rustix::process::geteuid().is_root();
    match whose.user || root {
        true => failure,
        false => failure.hint("proc enable --user"),
    }
}

fn boot(
    context: &Context,
    project: &Project,
    whose: &Whose,
    watchdog: Duration,
) -> Result<Boot, CliError> {
    let manager = match whose.manager {
        Some(ManagerName::Systemd) => BootManager::Systemd,
        Some(ManagerName::Launchd) => BootManager::Launchd,
        None if cfg!(target_os = "macos") => BootManager::Launchd,
        None => BootManager::Systemd,
    };
    let command = |verb: &[&str]| command(context, &project.name, verb);
    let all = environment();
    let kept = KEPT
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), all.get(*name)?.clone())));
    Ok(Boot {
        project: project.name.clone(),
        manager,
        user: whose.user,
        supervisor: command(&["__supervise", "--boot", "-v"])?,
        down: command(&["down"])?,
        check: command(&["check", "-q"])?,
        dir: std::env::current_dir()?,
        env: kept.collect(),
        watchdog,
        stop_timeout: stop_timeout(project),
        manager_env: all,
    })
}

/// Returns this program with a verb, for the same configuration and directories.
fn command(context: &Context, project: &str, verb: &[&str]) -> Result<Vec<String>, CliError> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            CliError::new(exit::FAILED, format!("`{}` is not UTF-8", path.display()))
        })
    };
    let mut words = vec![text(&std::env::current_exe()?)?];
    words.extend(verb.iter().map(|word| (*word).to_owned()));
    for file in context.loader()?.files {
        words.extend(["--file".to_owned(), text(&file)?]);
    }
    words.extend(["--project".to_owned(), project.to_owned()]);
    if let Some(dir) = &context.globals.state_dir {
        words.extend(["--state-dir".to_owned(), text(&std::path::absolute(dir)?)?]);
    }
    Ok(words)
}

/// Services stop one after the other at worst, each after its whole sequence.
fn stop_timeout(project: &Project) -> Duration {
    let of_service = |service: &proc_spec::ServiceSpec| {
        let steps = service.stop.steps.steps.iter();
        steps.fold(Duration::ZERO, |sum, step| match step.wait {
            Some(wait) => sum.saturating_add(wait),
            None if step.signal == Signal::KILL => sum.saturating_add(Duration::from_secs(10)),
            None => sum.saturating_add(MOST_STOP),
        })
    };
    let sum = project.services.iter().map(of_service);
    let sum = sum.fold(Duration::from_secs(30), Duration::saturating_add);
    sum.clamp(LEAST_STOP, MOST_STOP)
}
