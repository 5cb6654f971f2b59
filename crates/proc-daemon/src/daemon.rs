//! What a daemon wants to hold, and taking it.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use proc_probe::{Health, HealthServer};
use proc_store::{Contents, PidFile, Registration};
use tokio::task::spawn_blocking;

use crate::entry::Entry;
use crate::error::StartError;
use crate::running::Running;

/// How long a stop may take, unless said otherwise.
pub const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A daemon that has not started: what it wants to hold for its life.
///
/// Each part is optional; a daemon with none starts and stops all the same.
#[must_use]
pub struct Daemon {
    namespace: String,
    name: String,
    pid_file: Option<(PathBuf, Contents)>,
    health: Option<(String, HealthServer)>,
    registry: Option<PathBuf>,
    describe: Option<Describe>,
    stop_timeout: Duration,
}

type Describe = Box<dyn FnOnce(&mut Registration) + Send>;

impl Daemon {
    /// Returns a daemon that holds nothing, with the name that the registry shows.
    pub fn new(name: impl Into<String>) -> Self {
        Daemon {
            namespace: "daemon".to_owned(),
            name: name.into(),
            pid_file: None,
            health: None,
            registry: None,
            describe: None,
            stop_timeout: DEFAULT_STOP_TIMEOUT,
        }
    }

    /// Sets the namespace of the name, `daemon` by default: two daemons of one name in different
    /// namespaces do not meet.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Holds a plain PID file, and with it the right to be the only one.
    pub fn pid_file(self, path: impl Into<PathBuf>) -> Self {
        self.pid_file_with(path, Contents::Plain)
    }

    /// Holds a PID file with these contents.
    pub fn pid_file_with(mut self, path: impl Into<PathBuf>, contents: Contents) -> Self {
        self.pid_file = Some((path.into(), contents));
        self
    }

    /// Listens at `address` for `/health`, with the checks of `server`, and `/ready`. Port 0 is
    /// chosen by the system; `unix:PATH` is a socket.
    pub fn health(mut self, address: impl Into<String>, server: HealthServer) -> Self {
        self.health = Some((address.into(), server));
        self
    }

    /// Has an entry in the registry in `dir`, created for this user only;
    /// [`proc_store::dirs::registry_dir`] says where `proc daemon list` looks.
    pub fn registry(mut self, dir: impl Into<PathBuf>) -> Self {
        self.registry = Some(dir.into());
        self
    }

    /// Changes what the registry entry says. Before, it has the health address, the working
    /// directory as project, the program, and the time of the start.
    pub fn describe(mut self, describe: impl FnOnce(&mut Registration) + Send + 'static) -> Self {
        self.describe = Some(Box::new(describe));
        self
    }

    /// Sets how long a stop may take in all, [`DEFAULT_STOP_TIMEOUT`] by default.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Takes everything: the PID file, the health server, the registry entry, in this order. When
    /// one cannot be had, those before it are given back in reverse. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// What could not be had, and why. Another one that runs is [`StartError::PidFile`], with its
    /// pid.
    pub async fn start(mut self) -> Result<Running, StartError> {
        let pid_file = self.take_pid_file().await?;
        let health = match self.listen().await {
            Ok(health) => health,
            Err(error) => return Err(error), // the PID file is released here
        };
        let entry = match self.register(health.as_ref()).await {
            Ok(entry) => entry,
            Err(error) => {
                if let Some(health) = health {
                    health.stop(self.stop_timeout).await;
                }
                drop(pid_file);
                return Err(error);
            }
        };
        Ok(Running {
            entry,
            health,
            pid_file,
            stop_timeout: self.stop_timeout,
        })
    }

    async fn take_pid_file(&mut self) -> Result<Option<PidFile>, StartError> {
        let Some((path, contents)) = self.pid_file.take() else {
            return Ok(None);
        };
        // It waits for the disk.
        let taken = spawn_blocking(move || PidFile::acquire_with(path, &contents)).await;
        Ok(Some(taken.expect("acquiring does not panic")?))
    }

    async fn listen(&mut self) -> Result<Option<Health>, StartError> {
        let Some((address, server)) = self.health.take() else {
            return Ok(None);
        };
        Ok(Some(server.listen(&address).await?))
    }

    async fn register(&mut self, health: Option<&Health>) -> Result<Option<Entry>, StartError> {
        let Some(dir) = self.registry.take() else {
            return Ok(None);
        };
        let mut registration = Registration {
            started_at: format!("{:.3}", Timestamp::now()),
            health: health.map(|health| health.address().to_owned()),
            project: std::env::current_dir()
                .ok()
                .map(|dir| dir.to_string_lossy().into_owned()),
            binary: std::env::current_exe().ok(),
            ..Registration::current(&self.namespace, &self.name)?
        };
        if let Some(describe) = self.describe.take() {
            describe(&mut registration);
        }
        let registered = spawn_blocking(move || Entry::register(dir, registration)).await;
        registered.expect("registering does not panic").map(Some)
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon")
            .field("name", &self.name)
            .field("pid_file", &self.pid_file)
            .field("registry", &self.registry)
            .field("stop_timeout", &self.stop_timeout)
            .finish_non_exhaustive()
    }
}
