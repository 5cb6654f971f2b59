//! A supervisor in this process, with its control socket and its entry in the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use proc_api::Server;
use proc_backends::{
    Backend, LaunchctlBackend, LaunchctlOptions, NativeBackend, NativeOptions, SlurmBackend,
    SlurmOptions, SystemctlBackend, SystemctlOptions,
};
use proc_spec::Project;
use proc_supervisor::{Begin, Handle, LocalTime, Options, StartError, Supervisor, Who};

use crate::context::{Place, environment};
use crate::error::CliError;
use crate::exit;
use crate::registry::Entry;

/// How to start.
#[derive(Debug)]
pub(crate) struct Start {
    /// Whether the services end with the supervisor unless their spec says otherwise.
    pub(crate) foreground: bool,
    /// What to start first.
    pub(crate) begin: Begin,
    /// Who asks.
    pub(crate) who: Who,
    /// Services whose end ends the project.
    pub(crate) exit_with: Vec<String>,
    /// What is wrong with the configuration that it starts from.
    pub(crate) warning: Option<String>,
}

/// A running supervisor.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) handle: Handle,
    server: Server,
    entry: Entry,
}

impl Engine {
    /// Starts the supervisor, then lets the world talk to it.
    pub(crate) async fn start(
        place: &Place,
        project: Project,
        start: Start,
    ) -> Result<Engine, CliError> {
        let options = Options {
            env: inherited(),
            foreground: start.foreground,
            begin: start.begin,
            who: start.who,
            exit_with: start.exit_with,
            warning: start.warning,
            local_time: LocalTime::of_this_machine(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Options::new(project, place.dirs.state.clone(), backends(place)?)
        };
        let handle = Supervisor::start(options)
            .await
            .map_err(|error| failure(place, &error))?;
        let server = Server::start(&place.dirs.runtime, handle.clone()).map_err(|error| {
            let dir = place.dirs.runtime.display();
            CliError::new(exit::FAILED, format!("cannot listen in `{dir}`: {error}"))
        })?;
        let entry = Entry::register(place);
        Ok(Engine {
            handle,
            server,
            entry,
        })
    }

    /// Lets everybody read their last answer, then closes the socket.
    pub(crate) async fn finish(self) {
        self.entry.remove();
        self.server.close().await;
    }
}

/// Returns what services inherit: not what is between a service manager and the supervisor.
fn inherited() -> BTreeMap<String, String> {
    let mut env = environment();
    env.retain(|name, _| !crate::manager::is_between(name));
    env
}

fn backends(place: &Place) -> Result<Vec<Arc<dyn Backend>>, CliError> {
    let native = NativeOptions::new(&place.dirs.state, &place.dirs.runtime)
        .and_then(NativeBackend::new)
        .map_err(|error| {
            let dir = place.dirs.state.display();
            CliError::new(exit::FAILED, format!("cannot use `{dir}`: {error}"))
        })?;
    // Nothing of systemd, launchd or Slurm is touched before a service wants it.
    let systemctl = SystemctlOptions::new(place.dirs.state.clone(), environment());
    let launchctl = LaunchctlOptions::new(place.dirs.state.clone(), environment());
    let slurm = SlurmOptions::new(place.dirs.state.clone(), environment());
    Ok(vec![
        Arc::new(native),
        Arc::new(SystemctlBackend::new(systemctl)),
        Arc::new(LaunchctlBackend::new(launchctl)),
        Arc::new(SlurmBackend::new(slurm)),
    ])
}

fn failure(place: &Place, error: &StartError) -> CliError {
    match error {
        StartError::NoSuch(_) => CliError::chain(exit::UNKNOWN, error).hint("proc check"),
        StartError::Lock(proc_store::LockError::Held(held)) => {
            super::verbs::up::launch::refused(place, held.pid.unwrap_or(0))
        }
        StartError::Cycle(_) | StartError::NoBackend { .. } => CliError::chain(exit::USAGE, error),
        _ => CliError::chain(exit::FAILED, error),
    }
}

/// Returns this process as the one who asks.
pub(crate) fn who(verb: &str) -> Who {
    Who {
        verb: verb.to_owned(),
        uid: Some(rustix::process::getuid().as_raw()),
        pid: Some(std::process::id()),
    }
}
