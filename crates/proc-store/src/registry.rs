//! Which daemons run on this machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use proc_core::{Identity, Liveness};
use serde::{Deserialize, Serialize};

use crate::dirs::{DirError, ensure_private};
use crate::record::{self, Record, json_files};
use crate::{Disk, WriteError};

/// A directory with one record per daemon.
///
/// Readers take no lock and never change anything: what they cannot parse is reported and left
/// alone. Only [`Registry::prune`] removes, and only what is proved dead by its identity.
///
/// ```
/// use proc_store::{Registration, Registry};
///
/// let dir = tempfile::tempdir()?;
/// let registry = Registry::open(dir.path().join("registry"))?;
/// let me = Registration::current("supervisor", "/var/lib/proc/shop")?;
/// registry.register(&me)?;
/// let listing = registry.list()?;
/// assert_eq!(listing.daemons[0].registration, me);
/// assert!(listing.daemons[0].liveness.is_alive());
/// assert!(registry.unregister(&me)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
    disk: Disk,
}

/// A daemon, as it describes itself. `namespace` and `name` together are its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// What kind of daemon, such as `supervisor`; any text.
    pub namespace: String,
    /// Which one of the kind, such as its state directory; any text.
    pub name: String,
    /// The process.
    pub identity: Identity,
    /// When it started, RFC 3339; empty is unknown.
    #[serde(default)]
    pub started_at: String,
    /// The version of its program.
    #[serde(default)]
    pub version: Option<String>,
    /// The project that it serves.
    #[serde(default)]
    pub project: Option<String>,
    /// Where its state is.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
    /// Where its sockets are.
    #[serde(default)]
    pub runtime_dir: Option<PathBuf>,
    /// Where its health can be asked, such as `127.0.0.1:8080`.
    #[serde(default)]
    pub health: Option<String>,
    /// Its program.
    #[serde(default)]
    pub binary: Option<PathBuf>,
    /// Whatever else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

impl Record for Registration {
    const FORMAT: u32 = 1;
}

impl Registration {
    /// Returns a registration of this process with everything optional left out.
    ///
    /// # Errors
    /// [`proc_core::IdentityError`] without `/proc`.
    pub fn current(
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Result<Self, proc_core::IdentityError> {
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: Identity::current()?,
            started_at: String::new(),
            version: None,
            project: None,
            state_dir: None,
            runtime_dir: None,
            health: None,
            binary: None,
            extra: BTreeMap::new(),
        })
    }

    fn has_key(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }
}

/// A registered daemon and whether it lives.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// What it said about itself.
    pub registration: Registration,
    /// Whether that process lives.
    pub liveness: Liveness,
    /// The file that says so.
    pub path: PathBuf,
}

/// What the registry holds.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The daemons, by start time, then key.
    pub daemons: Vec<Daemon>,
    /// Files that could not be read, with the reason; they are left alone.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// A daemon that was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another process that lives has the key.
    #[error("`{name}` is registered by pid {pid}")]
    Taken {
        /// The name asked for.
        name: String,
        /// Who has it.
        pid: u32,
    },
    /// The directory cannot be read or locked.
    #[error("cannot use the registry `{dir}`")]
    Io {
        /// The directory of the registry.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The record cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Registry {
    /// Opens the registry in `dir`, creating the directory for this user only (0700).
    ///
    /// # Errors
    /// As [`ensure_private`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, DirError> {
        let dir = dir.into();
        ensure_private(&dir, rustix::process::geteuid().as_raw())?;
        Ok(Self {
            dir,
            disk: Disk::real(),
        })
    }

    /// Returns the registry in `dir` without creating or checking anything: for readers.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            disk: Disk::real(),
        }
    }

    /// Writes the record of a daemon, over an earlier one with the same key that is dead or is the
    /// same process.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub fn register(&self, daemon: &Registration) -> Result<(), RegisterError> {
        let _lock = self.lock().map_err(|source| self.io_error(source))?;
        let found = self.find(daemon).map_err(|source| self.io_error(source))?;
        if let Some(found) = &found
            && found.liveness.is_alive()
            && !found.registration.identity.same_process(&daemon.identity)
        {
            let pid = found.registration.identity.pid;
            return Err(RegisterError::Taken {
                name: daemon.name.clone(),
                pid,
            });
        }
        let path = found.map_or_else(|| self.free_path(daemon), |found| found.path);
        Ok(record::write_json(&self.disk, &path, daemon)?)
    }

    /// Removes the record of `daemon`, if it is still this very process's; returns whether it was.
    ///
    /// # Errors
    /// What the system says.
    pub fn unregister(&self, daemon: &Registration) -> io::Result<bool> {
        let _lock = self.lock()?;
        match self.find(daemon)? {
            Some(found) if found.registration.identity.same_process(&daemon.identity) => {
                self.disk.remove(&found.path).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Returns the daemon with this key.
    ///
    /// # Errors
    /// As [`Registry::list`].
    pub fn info(&self, namespace: &str, name: &str) -> io::Result<Option<Daemon>> {
        let daemons = self.list()?.daemons;
        Ok(daemons
            .into_iter()
            .find(|daemon| daemon.registration.has_key(namespace, name)))
    }

    /// Lists the daemons. A registry that does not exist is empty.
    ///
    /// # Errors
    /// What the system says about reading the directory.
    pub fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for (_, path) in json_files(&self.dir)? {
            match self.read(&path) {
                Ok(Some(registration)) => {
                    let liveness = registration.identity.liveness();
                    listing.daemons.push(Daemon {
                        registration,
                        liveness,
                        path,
                    });
                }
                Ok(None) => {}
                Err(reason) => listing.unreadable.push((path, reason)),
            }
        }
        listing
            .daemons
            .sort_by(|a, b| order(&a.registration).cmp(&order(&b.registration)));
        Ok(listing)
    }

    /// Removes the records of daemons whose identity proves them dead, and returns them. What is
    /// alive, uncertain or unreadable stays.
    ///
    /// # Errors
    /// What the system says; records removed before the error stay removed.
    pub fn prune(&self) -> io::Result<Vec<Registration>> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let mut removed = Vec::new();
        for daemon in self.list()?.daemons {
            if matches!(daemon.liveness, Liveness::Dead { .. }) {
                self.disk.remove(&daemon.path)?;
                removed.push(daemon.registration);
            }
        }
        Ok(removed)
    }

    fn read(&self, path: &Path) -> Result<Option<Registration>, String> {
        match self.disk.read(path, 1024 * 1024) {
            Ok(bytes) => record::parse(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn find(&self, daemon: &Registration) -> io::Result<Option<Daemon>> {
        self.info(&daemon.namespace, &daemon.name)
    }

    /// Serialises writers; held for a moment only.
    fn lock(&self) -> io::Result<File> {
        let file = self.disk.open_or_create(&self.dir.join(".lock"), 0o600)?;
        file.lock()?;
        Ok(file)
    }

    /// Returns the first name for the key that nothing has, not even something unreadable or the
    /// record of another key that is the same to this file system.
    fn free_path(&self, daemon: &Registration) -> PathBuf {
        let stem = file_stem(&daemon.namespace, &daemon.name);
        std::iter::once(stem.clone())
            .chain((1_u64..).map(|number| format!("{stem}~{number}")))
            .map(|stem| self.dir.join(format!("{stem}.json")))
            .find(|path| std::fs::symlink_metadata(path).is_err())
            .expect("some number below 2^64 is free")
    }

    fn io_error(&self, source: io::Error) -> RegisterError {
        RegisterError::Io {
            dir: self.dir.clone(),
            source,
        }
    }
}

fn order(registration: &Registration) -> (&str, &str, &str) {
    (
        &registration.started_at,
        &registration.namespace,
        &registration.name,
    )
}

/// Returns the file name of a key, without its ending: both parts escaped, joined by a point, which
/// escaping never leaves; what is too long for a file name is cut, and told apart by its number.
fn file_stem(namespace: &str, name: &str) -> String {
    // A name must not begin with a point; a lone `%` is nothing's escape.
    let namespace = if namespace.is_empty() {
        "%".to_owned()
    } else {
        escape(namespace)
    };
    let mut stem = format!("{namespace}.{}", escape(name));
    stem.truncate(200);
    stem
}

/// Writes every byte but letters, digits, `-` and `_` as `%XX`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
