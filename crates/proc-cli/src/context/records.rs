//! Answers without a supervisor, from what it left on disk.

use proc_spec::Project;
use proc_supervisor::offline::{self, OfflineError};
use proc_supervisor::{Desired, Event, ProjectStatus, ServiceStatus, State, Why};

use super::{Context, Place};
use crate::error::CliError;
use crate::exit;

impl Context {
    /// Returns the project's state as the records know it, or for one that was never up, as the
    /// configuration describes it.
    ///
    /// # Errors
    ///
    /// Code 4 when there is neither.
    pub(crate) fn recorded_status(&self, place: &Place) -> Result<ProjectStatus, CliError> {
        match offline::status(&place.dirs.state) {
            Err(OfflineError::NoProject(_)) => match self.load() {
                Ok(project) => Ok(never_up(place, &project)),
                Err(_) => Err(no_project(place)),
            },
            answer => answer.map_err(|error| failure(place, &error)),
        }
    }

    /// Returns the recorded transitions after number `since`.
    pub(crate) fn recorded_events(
        &self,
        place: &Place,
        since: u64,
    ) -> Result<Vec<Event>, CliError> {
        if !place.exists() && self.load().is_err() {
            return Err(no_project(place));
        }
        offline::events(&place.dirs.state, since).map_err(|error| failure(place, &error))
    }

    /// Returns a service and its recorded transitions.
    pub(crate) fn recorded_why(
        &self,
        place: &Place,
        name: &str,
        last: usize,
    ) -> Result<Why, CliError> {
        match offline::why(&place.dirs.state, name, last) {
            Err(OfflineError::NoProject(_)) => {
                let services = self.recorded_status(place)?.services;
                let service = services.into_iter().find(|service| service.name == name);
                let service = service.ok_or_else(|| crate::select::unknown(name))?;
                Ok(Why {
                    service,
                    events: Vec::new(),
                })
            }
            answer => answer.map_err(|error| failure(place, &error)),
        }
    }
}

fn failure(place: &Place, error: &OfflineError) -> CliError {
    match error {
        OfflineError::NoProject(_) => no_project(place),
        OfflineError::NoSuch(name) => crate::select::unknown(name),
        error => CliError::chain(exit::FAILED, error),
    }
}

/// Returns the failure for a project that is neither configured nor recorded.
pub(crate) fn no_project(place: &Place) -> CliError {
    let text = format!("no project `{}`", place.project);
    CliError::new(exit::UNKNOWN, text).hint("proc up -d")
}

/// Returns the state of a project that was configured and never started.
fn never_up(place: &Place, project: &Project) -> ProjectStatus {
    let service = |service: &proc_spec::ServiceSpec| ServiceStatus {
        name: service.name.clone(),
        backend: service.backend.as_str().to_owned(),
        desired: Desired::Down,
        state: State::Stopped,
        ready: false,
        reason: String::new(),
        instances: Vec::new(),
    };
    ProjectStatus {
        project: project.name.clone(),
        state_dir: place.dirs.state.clone(),
        supervisor: None,
        services: project.services.iter().map(service).collect(),
        degraded: Vec::new(),
    }
}
