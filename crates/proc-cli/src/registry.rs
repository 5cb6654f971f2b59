//! This user's running supervisors, as `proc daemon list` shows them.

use jiff::Timestamp;
use proc_store::{Registration, Registry};

use crate::context::{Place, environment};

/// Returns the registry of this user's daemons, for reading.
pub(crate) fn registry() -> Registry {
    Registry::at(dir())
}

fn dir() -> std::path::PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    proc_store::dirs::registry_dir(uid, &environment())
}

/// This process's entry. A supervisor works without one: the registry is for people, so what goes
/// wrong with it is said in the log and stops nothing.
#[derive(Debug)]
pub(crate) struct Entry(Option<(Registry, Registration)>);

impl Entry {
    /// Registers the supervisor of a project.
    pub(crate) fn register(place: &Place) -> Entry {
        match try_register(place) {
            Ok(entry) => Entry(Some(entry)),
            Err(error) => {
                tracing::warn!(%error, "not in the registry of daemons");
                Entry(None)
            }
        }
    }

    /// Takes the entry out again.
    pub(crate) fn remove(self) {
        if let Some((registry, registration)) = self.0
            && let Err(error) = registry.unregister(&registration)
        {
            tracing::warn!(%error, "the entry in the registry of daemons stays");
        }
    }
}

fn try_register(
    place: &Place,
) -> Result<(Registry, Registration), Box<dyn std::error::Error + Send + Sync>> {
    let registry = Registry::open(dir())?;
    let name = place.dirs.state.to_string_lossy().into_owned();
    let registration = Registration {
        started_at: format!("{:.3}", Timestamp::now()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        project: Some(place.project.clone()),
        state_dir: Some(place.dirs.state.clone()),
        runtime_dir: Some(place.dirs.runtime.clone()),
        binary: std::env::current_exe().ok(),
        ..Registration::current("supervisor", name)?
    };
    registry.register(&registration)?;
    Ok((registry, registration))
}
