//! The state directory of one supervisor.

use std::io;
use std::path::{Path, PathBuf};

use crate::dirs::{DirError, ensure_private};
use crate::record::{self, Found, Read};
use crate::{Disk, LifeLock, LockError, Record, WriteError, atomic};

/// A private directory with a place for everything that a supervisor remembers.
///
/// ```text
/// lock                     held for life by the supervisor
/// supervisor.json          who it is
/// project.json             what it supervises
/// instances/INSTANCE/      written by each instance's shim
/// services/SERVICE.json    the supervisor's record of each service
/// log/                     what the services wrote
/// events.jsonl             the journal
/// ```
#[derive(Clone, Debug)]
pub struct StateDir {
    root: PathBuf,
    disk: Disk,
}

impl StateDir {
    /// Creates what is missing of the directory at `root`, for the calling user only (0700).
    ///
    /// # Errors
    /// [`DirError`], notably when the directory is another user's.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, DirError> {
        Self::open_on(Disk::real(), root)
    }

    /// Does what [`StateDir::open`] does; records go through `disk`.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn open_on(disk: Disk, root: impl Into<PathBuf>) -> Result<Self, DirError> {
        let root = root.into();
        let uid = rustix::process::geteuid().as_raw();
        ensure_private(&root, uid)?;
        for part in ["instances", "services", "log"] {
            ensure_private(root.join(part), uid)?;
        }
        Ok(Self { root, disk })
    }

    /// Returns the directory at `root` without creating or checking anything: for readers.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            disk: Disk::real(),
        }
    }

    /// Takes the lock of the directory and removes what killed writers left behind.
    ///
    /// # Errors
    /// [`LockError::Held`] names the pid of the supervisor that has it.
    pub fn lock(&self) -> Result<LifeLock, LockError> {
        let lock = LifeLock::acquire_on(&self.disk, &self.lock_path())?;
        for dir in [self.root.clone(), self.services()] {
            // Only litter: it neither grows nor is ever read.
            let _ = atomic::sweep(dir);
        }
        Ok(lock)
    }

    /// Returns the directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns how it reaches the disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Returns the path of the lock.
    pub fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Returns the directory that holds one directory per instance.
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// Returns the directory of one instance, as its shim knows it.
    pub fn instance(&self, instance: &str) -> PathBuf {
        self.instances().join(instance)
    }

    /// Returns the directory that holds the records of the services.
    pub fn services(&self) -> PathBuf {
        self.root.join("services")
    }

    /// Returns the directory of the services' output.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Returns the path of the journal's live file.
    pub fn journal(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// Writes `NAME.json` in the directory itself.
    ///
    /// # Errors
    /// As [`record::write_json`].
    pub fn write<T: Record>(&self, name: &str, value: &T) -> Result<(), WriteError> {
        record::write_json(&self.disk, &self.root.join(format!("{name}.json")), value)
    }

    /// Reads `NAME.json` in the directory itself.
    ///
    /// # Errors
    /// As [`record::read_json`].
    pub fn read<T: Record>(&self, name: &str) -> io::Result<Read<T>> {
        record::read_json(&self.disk, &self.root.join(format!("{name}.json")))
    }

    /// Writes the record of a service.
    ///
    /// # Errors
    /// As [`record::write_json`].
    pub fn write_service<T: Record>(&self, name: &str, value: &T) -> Result<(), WriteError> {
        record::write_json(&self.disk, &self.service_path(name), value)
    }

    /// Reads the record of a service.
    ///
    /// # Errors
    /// As [`record::read_json`].
    pub fn read_service<T: Record>(&self, name: &str) -> io::Result<Read<T>> {
        record::read_json(&self.disk, &self.service_path(name))
    }

    /// Removes the record of a service that is gone for good; a missing one is fine.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_service(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.service_path(name))
    }

    /// Reads the records of all services.
    ///
    /// # Errors
    /// As [`record::read_all`].
    pub fn read_services<T: Record>(&self) -> io::Result<Found<T>> {
        record::read_all(&self.disk, &self.services())
    }

    fn service_path(&self, name: &str) -> PathBuf {
        self.services().join(format!("{name}.json"))
    }
}
