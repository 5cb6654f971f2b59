//! The project's supervisor, as a verb meets it.

use std::time::Duration;

use proc_api::{Client, ClientError, ConfigRequest, Starters};
use proc_spec::Loader;
use proc_supervisor::ProjectStatus;

use super::{Context, Place, failure};
use crate::error::CliError;

/// How long a verb waits for a detached supervisor that is coming back.
const PATIENCE: Duration = Duration::from_secs(5);

impl Context {
    /// Returns where the configuration is, for a supervisor to read it.
    pub(crate) fn config_request(&self) -> Result<ConfigRequest, CliError> {
        let Loader {
            dir,
            files,
            project,
            env,
            ..
        } = self.loader()?;
        Ok(ConfigRequest {
            dir,
            files,
            project,
            env,
        })
    }

    /// Returns a client of the project's supervisor; it waits for one that is coming back.
    pub(crate) fn client(&self, place: &Place) -> Client {
        let starters = Starters {
            keeper: place.keeper_socket(),
            turn: place.turn(),
        };
        // Without a keeper's socket, even one that a dead keeper left, none comes back by itself.
        let patience = if starters.keeper.exists() {
            PATIENCE
        } else {
            Duration::ZERO
        };
        Client::new(&place.dirs.runtime)
            .with_patience(patience)
            .while_there_are(starters)
    }

    /// Asks the project's supervisor; without one the failure is code 5.
    pub(crate) fn ask<T>(
        &self,
        request: impl AsyncFnOnce(&Client) -> Result<T, ClientError>,
    ) -> Result<T, CliError> {
        let place = self.place()?;
        let client = self.client(&place);
        self.block_on(request(&client))
            .map_err(|error| self.failure(&place, error))
    }

    /// Returns the project's state from its supervisor, or else from the records.
    pub(crate) async fn status(&self, place: &Place) -> Result<ProjectStatus, CliError> {
        match self.client(place).status().await {
            Err(error) if is_absence(&error) => self.recorded_status(place),
            answer => answer.map_err(|error| self.failure(place, error)),
        }
    }

    /// Turns a client's error into a failure with its exit code and hint.
    pub(crate) fn failure(&self, place: &Place, error: ClientError) -> CliError {
        failure::of_client(place, error)
    }
}

/// Whether there is no supervisor to answer, or it went away over the question: then the records do.
pub(crate) fn is_absence(error: &ClientError) -> bool {
    matches!(error, ClientError::NoSupervisor | ClientError::Lost(_))
}
