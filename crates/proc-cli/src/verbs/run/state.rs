//! The private directory of one `proc run`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::CliError;
use crate::exit;

/// A 0700 directory that is removed when the run ends.
#[derive(Debug)]
pub(super) struct PrivateState(TempDir);

impl PrivateState {
    /// Makes the directory: in `XDG_RUNTIME_DIR` where that is set, else where temporary files go.
    pub(super) fn make() -> Result<PrivateState, CliError> {
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir());
        let base = base.unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new()
            .prefix("proc-run-")
            .tempdir_in(&base);
        dir.map(PrivateState).map_err(|error| {
            CliError::new(
                exit::NOT_RUN,
                format!("cannot make a directory in `{}`: {error}", base.display()),
            )
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn runtime(&self) -> PathBuf {
        self.path().join("run")
    }
}
