//! One supervisor per state directory, also among those who start one at the same moment.

use std::fs::File;
use std::path::{Path, PathBuf};

use proc_supervisor::Who;
use serde::{Deserialize, Serialize};

use crate::context::Place;
use crate::error::CliError;
use crate::exit;

/// The right to start the project's supervisor. Whoever comes second waits for the first to
/// succeed or fail, and then sees which it was.
#[derive(Debug)]
pub(crate) struct Launch {
    _turn: File,
}

impl Launch {
    /// Takes a turn, and makes sure that no supervisor runs.
    ///
    /// # Errors
    ///
    /// Code 1 with the running supervisor's pid.
    pub(crate) fn begin(place: &Place) -> Result<Launch, CliError> {
        let uid = rustix::process::geteuid().as_raw();
        for dir in [&place.dirs.state, &place.dirs.runtime] {
            proc_store::dirs::ensure_private(dir, uid)
                .map_err(|error| CliError::chain(exit::FAILED, &error).hint("--state-dir DIR"))?;
        }
        let turn = take_turn(&place.turn())?;
        match running(place)? {
            Some(pid) => Err(refused(place, pid)),
            None => Ok(Launch { _turn: turn }),
        }
    }

    /// Takes a turn to put another supervisor in the place of the one that runs.
    pub(crate) fn again(place: &Place) -> Result<Launch, CliError> {
        let turn = take_turn(&place.turn())?;
        Ok(Launch { _turn: turn })
    }
}

fn take_turn(path: &Path) -> Result<File, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(
            exit::FAILED,
            format!("cannot lock `{}`: {error}", path.display()),
        )
    };
    let mut options = File::options();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// Returns the pid of the supervisor, or of the keeper that is about to bring it back.
pub(crate) fn running(place: &Place) -> Result<Option<u32>, CliError> {
    let path = place.lock();
    let holder = proc_store::lock::holder(&path).map_err(|error| {
        CliError::new(
            exit::FAILED,
            format!("cannot read `{}`: {error}", path.display()),
        )
    })?;
    Ok(match holder {
        Some(holder) => Some(holder.pid.unwrap_or(0)),
        None => place.keeper().map(|keeper| keeper.pid()),
    })
}

/// Returns the refusal of a second supervisor.
pub(crate) fn refused(place: &Place, pid: u32) -> CliError {
    let project = &place.project;
    let text = format!("project `{project}` is running already, its supervisor is pid {pid}");
    CliError::new(exit::FAILED, text).hint("proc apply")
}

/// What the supervisor is to start first. It is left beside the keeper's records and taken once:
/// a supervisor that the keeper starts again finds none, and goes on where the last one was.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Only these services and what they need; empty is every wanted one.
    pub(crate) names: Vec<String>,
    /// Who asked for it.
    pub(crate) who: Who,
}

impl Order {
    fn path(place: &Place) -> PathBuf {
        place.keeper_dir().join("order")
    }

    /// Leaves the order for the supervisor that is about to be started.
    pub(crate) fn leave(&self, place: &Place) -> Result<(), CliError> {
        let text = serde_json::to_vec(self)?;
        proc_store::atomic::write(Order::path(place), &text, 0o600)
            .map_err(|error| CliError::chain(exit::FAILED, &error))
    }

    /// Reads the order, if one was left.
    pub(crate) fn find(place: &Place) -> Option<Order> {
        serde_json::from_slice(&std::fs::read(Order::path(place)).ok()?).ok()
    }

    /// Removes the order, which was carried out.
    pub(crate) fn done(place: &Place) {
        // Should it stay, the next start is one by hand as well.
        let _ = std::fs::remove_file(Order::path(place));
    }
}
