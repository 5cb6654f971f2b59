//! Why a daemon did not start.

use proc_core::IdentityError;
use proc_probe::HealthError;
use proc_store::dirs::DirError;
use proc_store::{PidFileError, RegisterError};

/// A daemon that did not start. It holds nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The PID file cannot be had; another one runs, most likely.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The health server cannot listen.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The directory of the registry cannot be private.
    #[error(transparent)]
    RegistryDir(#[from] DirError),
    /// The registry does not take the entry.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Who we are cannot be told, as without `/proc`.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}
