//! `proc exec NAME -- CMD`: a command with a service's environment, directory and user.

use std::ffi::OsString;

use proc_core::{Attributes, Child, ProcessEnd, SessionMode, Signal, Spawn, SpawnError, Stdio};
use proc_spec::{Project, ServiceSpec, instance_name};
use tokio::signal::unix::{SignalKind, signal};

use crate::context::{Context, environment};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::select;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service or instance
    #[arg(value_name = "NAME")]
    name: String,
    /// The command
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let project = context.load()?;
    let service = find(&project, &args.name).ok_or_else(|| select::unknown(&args.name))?;
    // Its supervisor answers, or the failure says that there is none.
    context.ask(async |client| client.info().await)?;
    let child = spawn(&service, &args.command)?;
    let end = context.block_on(until_it_ends(&child)).map_err(|error| {
        CliError::new(
            exit::NOT_RUN,
            format!("cannot wait for the command: {error}"),
        )
    })?;
    Ok(match end {
        ProcessEnd::Exited(code) => exit::of_command(Some(code), None),
        ProcessEnd::Signaled { signal, .. } => exit::of_command(None, Some(signal.raw())),
    })
}

/// Returns the service as the named instance sees it; its own name means the first.
fn find(project: &Project, name: &str) -> Option<ServiceSpec> {
    project.services.iter().find_map(|service| {
        let named = |index: &u32| instance_name(&service.name, *index, service.instances) == name;
        let index = if service.name == name {
            Some(1)
        } else {
            (1..=service.instances).find(named)
        };
        index.map(|index| service.for_instance(&project.name, index))
    })
}

fn spawn(service: &ServiceSpec, command: &[OsString]) -> Result<Child, CliError> {
    let Some((program, args)) = command.split_first() else {
        return Err(CliError::new(exit::USAGE, "the command is missing"));
    };
    // The command belongs to the caller's terminal, and none of the service's limits are its own.
    let attributes = Attributes {
        session: SessionMode::Inherit,
        limits: Default::default(),
        cgroup: None,
        ..service.attributes.clone()
    };
    let attributes = attributes
        .resolve(None)
        .map_err(|error| CliError::chain(exit::NOT_RUN, &error))?;
    let inherited = if service.clear_env {
        Default::default()
    } else {
        environment()
    };
    let spawn = Spawn::new(program)
        .args(args)
        .cwd(&service.cwd)
        .env_clear()
        .envs(inherited)
        .envs(attributes.user_environment())
        .envs(
            service
                .env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        )
        .stdin(Stdio::Inherit)
        .stdout(Stdio::Inherit)
        .stderr(Stdio::Inherit)
        .attributes(attributes);
    spawn
        .spawn()
        .map_err(|error| CliError::chain(spawn_code(&error), &error))
}

fn spawn_code(error: &SpawnError) -> u8 {
    u8::try_from(error.exit_code()).unwrap_or(exit::NOT_RUN)
}

/// Waits for the command. What the terminal sends reaches it anyway, being in our process group;
/// a TERM or HUP that is meant for us is passed on.
async fn until_it_ends(child: &Child) -> std::io::Result<ProcessEnd> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        let passed_on = tokio::select! {
            end = child.exited() => return end,
            _ = interrupt.recv() => continue,
            _ = quit.recv() => continue,
            _ = terminate.recv() => Signal::TERM,
            _ = hangup.recv() => Signal::HUP,
        };
        // It may have ended at this very moment.
        let _ = child.signal(passed_on);
    }
}
