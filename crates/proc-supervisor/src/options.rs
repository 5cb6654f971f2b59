//! What a supervisor is started with. Nothing else is looked up anywhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proc_backends::Backend;
use proc_spec::Project;
use proc_store::dirs::DirError;
use proc_store::{Disk, LifeLock, LockError};

use crate::local_time::LocalTime;
use crate::view::Who;

/// What is started at the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// A start by hand, which clears every limit: of the named services and what they need, or of
    /// every wanted one if none is named. What was stopped by hand before a crash or a reboot is
    /// not wanted; after a completed `down` everything is.
    ByHand(Vec<String>),
    /// Go on where an earlier supervisor was: what was wanted is, with its counters; what had
    /// ended has ended.
    Resume,
    /// Take over what lives and start nothing, as for a `down` without a supervisor.
    Nothing,
}

/// Everything that a supervisor has to know.
#[derive(Clone)]
pub struct Options {
    /// What is to be supervised.
    pub project: Project,
    /// The project's state directory.
    pub state_dir: PathBuf,
    /// Where its sockets are; `None` is `run` below the state directory.
    pub runtime_dir: Option<PathBuf>,
    /// The backends that the project's services name; the first is for those that name `native`.
    pub backends: Vec<Arc<dyn Backend>>,
    /// The environment that services inherit unless they have `clear_env`.
    pub env: BTreeMap<String, String>,
    /// Whether the services end with the supervisor where their spec does not say.
    pub foreground: bool,
    /// What to start.
    pub begin: Begin,
    /// Who asks for it.
    pub who: Who,
    /// Services whose end ends the project, with their code.
    pub exit_with: Vec<String>,
    /// The local time by which schedules go.
    pub local_time: LocalTime,
    /// The version to show.
    pub version: String,
    /// The lock on the state directory, where the caller holds it already.
    pub lock: Option<Arc<LifeLock>>,
    /// What is to be told in `degraded` until the next `apply`: that its files are broken, and it runs what was last applied.
    pub warning: Option<String>,
    /// How records and journal reach the disk; tests put faults in front of it.
    pub disk: Disk,
}

impl Options {
    /// Returns options for a supervisor in the background that starts everything wanted.
    #[must_use]
    pub fn new(project: Project, state_dir: PathBuf, backends: Vec<Arc<dyn Backend>>) -> Self {
        Self {
            project,
            state_dir,
            runtime_dir: None,
            backends,
            env: BTreeMap::new(),
            foreground: false,
            begin: Begin::ByHand(Vec::new()),
            who: Who {
                verb: "up".to_owned(),
                uid: None,
                pid: None,
            },
            exit_with: Vec::new(),
            local_time: LocalTime::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lock: None,
            warning: None,
            disk: Disk::real(),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("project", &self.project.name)
            .field("state_dir", &self.state_dir)
            .field("foreground", &self.foreground)
            .field("begin", &self.begin)
            .finish_non_exhaustive()
    }
}

/// Why a supervisor did not start. Nothing runs that did not run before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory")]
    State(#[source] DirError),
    /// Another supervisor has the state directory ([`LockError`] names it), or it cannot be locked.
    #[error("cannot lock the state directory")]
    Lock(#[source] LockError),
    /// A record or the journal can be neither read nor set aside.
    #[error("cannot read the records in `{}`", path.display())]
    Records {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing in the project has this name.
    #[error("no service `{0}`")]
    NoSuch(String),
    /// A service wants a backend that there is none of.
    #[error("service `{service}` wants the backend `{backend}`, which is not there")]
    NoBackend {
        /// The service.
        service: String,
        /// The backend's name.
        backend: String,
    },
    /// The services need each other in a circle.
    #[error("the services need each other in a circle: {0}")]
    Cycle(String),
}
