//! The daemon's own entry in the registry.

use std::io;
use std::path::PathBuf;

use proc_store::{Registration, Registry};

use crate::error::StartError;

/// An entry that goes when it is dropped, if it is still ours.
#[derive(Debug)]
pub(crate) struct Entry {
    registry: Registry,
    registration: Registration,
    removed: bool,
}

impl Entry {
    /// Writes the entry; waits for the disk.
    pub(crate) fn register(dir: PathBuf, registration: Registration) -> Result<Self, StartError> {
        let registry = Registry::open(dir)?;
        registry.register(&registration)?;
        Ok(Entry {
            registry,
            registration,
            removed: false,
        })
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Takes the entry out; waits for the disk.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        self.removed = true;
        self.registry.unregister(&self.registration).map(drop)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // A child forked without exec has a copy that is not its own.
        if !self.removed && self.registration.identity.pid == std::process::id() {
            // Best effort: an entry that stays names a dead process, and is pruned.
            let _ignored = self.registry.unregister(&self.registration);
        }
    }
}
