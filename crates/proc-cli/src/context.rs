//! What a verb works with: the global flags, the project's place, its supervisor.

mod failure;
mod honest;
mod place;
mod records;
mod supervisor;

pub(crate) use place::{Place, keeper_socket};
pub(crate) use records::no_project;
pub(crate) use supervisor::is_absence;

use std::collections::BTreeMap;

use proc_core::{Disposition, Signal, disposition};
use proc_spec::{Loader, Project};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use self::honest::honest;
use crate::args::Globals;
use crate::error::CliError;
use crate::exit;

/// Catches SIGCHLD where whoever started us ignores it: ignored, the kernel reaps our children itself, and what became of
/// a hook or a script is lost.
fn catch_child_signal(runtime: &tokio::runtime::Runtime) -> std::io::Result<()> {
    if disposition(std::process::id(), Signal::CHLD).ok() == Some(Disposition::Ignored) {
        let _entered = runtime.enter();
        // The handler stays when the stream goes.
        drop(signal(SignalKind::child())?);
    }
    Ok(())
}

/// The surroundings of one verb.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) globals: Globals,
    runtime: tokio::runtime::Runtime,
}

impl Context {
    /// Makes the surroundings; reads and connects to nothing yet.
    pub(crate) fn new(globals: Globals) -> std::io::Result<Context> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        catch_child_signal(&runtime)?;
        Ok(Context { globals, runtime })
    }

    /// Runs a future to its end.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Returns the loader of the project's configuration, as the flags say.
    pub(crate) fn loader(&self) -> Result<Loader, CliError> {
        let dir = std::env::current_dir().map_err(|error| {
            CliError::new(
                exit::FAILED,
                format!("cannot find the working directory: {error}"),
            )
        })?;
        let files = self
            .globals
            .file
            .iter()
            .map(|file| dir.join(file))
            .collect();
        let project = self.globals.project.clone();
        Ok(Loader {
            dir,
            files,
            project,
            env: environment(),
            ..Loader::default()
        })
    }

    /// Loads the project's configuration.
    ///
    /// # Errors
    ///
    /// Code 2 with every mistake's line.
    pub(crate) fn load(&self) -> Result<Project, CliError> {
        self.loader()?.load().map_err(failure::of_config)
    }

    /// Loads the project's configuration with other numbers of instances.
    ///
    /// # Errors
    ///
    /// As [`Context::load`].
    pub(crate) fn load_scaled(&self, scale: &[(String, u32)]) -> Result<Project, CliError> {
        let loader = Loader {
            scale: scale.iter().cloned().collect(),
            ..self.loader()?
        };
        let project = loader.load().map_err(failure::of_config)?;
        self.tell_weaker(&project)?;
        Ok(project)
    }

    /// Says on stderr what the project's backends do less well than it is written.
    ///
    /// # Errors
    ///
    /// Code 2 with every key that a backend cannot honour at all.
    pub(crate) fn tell_weaker(&self, project: &Project) -> Result<(), CliError> {
        for line in honest(project)? {
            if !self.globals.quiet {
                crate::render::warning_line(&line);
            }
        }
        Ok(())
    }

    /// Finds the project's directories.
    pub(crate) fn place(&self) -> Result<Place, CliError> {
        Place::find(self)
    }
}

/// Returns the caller's environment; what is not UTF-8 cannot be named in a configuration.
pub(crate) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
