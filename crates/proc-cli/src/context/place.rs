//! Where a project keeps its state and its sockets.

use std::path::{Path, PathBuf};

use proc_spec::project_name;
use proc_store::dirs::ProjectDirs;
use proc_supervisor::offline::{self, OfflineError};

use super::{Context, environment, failure};
use crate::error::CliError;
use crate::exit;
use crate::keeper::Keeper;

/// A project and its directories; nothing says that they exist.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) project: String,
    pub(crate) dirs: ProjectDirs,
}

impl Place {
    /// Finds the place by `--state-dir`, `--project`, or the configuration's name.
    pub(crate) fn find(context: &Context) -> Result<Place, CliError> {
        let globals = &context.globals;
        let project = match (&globals.project, &globals.state_dir) {
            (Some(name), _) => name.clone(),
            (None, Some(dir)) => context
                .load()
                .map_or_else(|_| project_name(dir), |project| project.name),
            (None, None) => configured_name(context)?,
        };
        Place::of(context, &project)
    }

    /// Returns the place of the project with this name.
    pub(crate) fn of(context: &Context, project: &str) -> Result<Place, CliError> {
        let state_dir = context
            .globals
            .state_dir
            .as_deref()
            .map(std::path::absolute)
            .transpose()?;
        let uid = rustix::process::geteuid().as_raw();
        let dirs =
            proc_store::dirs::project_dirs(uid, &environment(), project, state_dir.as_deref())
                .map_err(|error| CliError::chain(exit::USAGE, &error).hint("--state-dir DIR"))?;
        Ok(Place {
            project: project.to_owned(),
            dirs,
        })
    }

    /// Returns the file whose lock the running supervisor holds.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dirs.state.join("lock")
    }

    /// Returns the file whose lock is held by whoever starts a supervisor.
    pub(crate) fn turn(&self) -> PathBuf {
        self.dirs.state.join("up.lock")
    }

    /// Returns the directory of the shim that keeps a detached supervisor.
    pub(crate) fn keeper_dir(&self) -> PathBuf {
        self.dirs.state.join("supervisor")
    }

    /// Returns the socket of the shim that keeps a detached supervisor.
    pub(crate) fn keeper_socket(&self) -> PathBuf {
        keeper_socket(&self.dirs.runtime)
    }

    /// Returns the keeper of a detached supervisor, if it is keeping one.
    pub(crate) fn keeper(&self) -> Option<Keeper> {
        Keeper::find(self).filter(Keeper::is_busy)
    }

    /// Returns whether a supervisor ever left records here.
    pub(crate) fn has_records(&self) -> bool {
        !matches!(
            offline::status(&self.dirs.state),
            Err(OfflineError::NoProject(_))
        )
    }

    /// Returns whether the project ever had a state directory.
    pub(crate) fn exists(&self) -> bool {
        self.dirs.state.is_dir()
    }
}

/// Returns the name in the configuration. One that is broken at the moment still names its
/// project, so that what runs can be looked at and stopped.
fn configured_name(context: &Context) -> Result<String, CliError> {
    let loader = context.loader()?;
    match loader.load() {
        Ok(project) => Ok(project.name),
        Err(errors) if errors.not_found => Err(failure::of_config(errors)),
        Err(errors) => {
            let found = loader
                .paths()
                .ok()
                .and_then(|files| name_despite_errors(&files));
            found.ok_or_else(|| failure::of_config(errors))
        }
    }
}

/// Returns the last `[project] name` that can be read, else the name of the first file's directory.
fn name_despite_errors(files: &[PathBuf]) -> Option<String> {
    let named = files.iter().rev().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        let table: toml::Table = text
            .parse()
            .or_else(|_| project_table(&text).parse())
            .ok()?;
        Some(table.get("project")?.get("name")?.as_str()?.to_owned())
    });
    named.or_else(|| Some(project_name(files.first()?.parent()?)))
}

/// Returns the lines of `[project]`, for a file that is no TOML elsewhere.
fn project_table(text: &str) -> String {
    let lines = text.lines().skip_while(|line| line.trim() != "[project]");
    let header = |(n, line): &(usize, &str)| *n > 0 && line.trim_start().starts_with('[');
    let own = lines.enumerate().take_while(|line| !header(line));
    own.map(|(_, line)| line).collect::<Vec<_>>().join("\n")
}

/// Returns the socket of the shim that keeps the detached supervisor of this runtime directory.
pub(crate) fn keeper_socket(runtime: &Path) -> PathBuf {
    runtime.join("supervisor.sock")
}
