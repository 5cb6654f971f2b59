//! What a project wants, resolved: every default applied, every path absolute, every variable expanded.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proc_core::{Attributes, Signal, StopSequence};
use proc_hooks::Hooks;
use proc_policy::{BucketRate, RestartPolicy};
use proc_probe::{Detector, Probe};
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::cron::Cron;
use crate::error::ConfigError;
use crate::listen::Listen;
use crate::places::Places;
use crate::raw::{
    BackendName, ExitProject, Need, OnExit, OnFull, OnRestart, Overlap, Scope, Stdin, Strategy,
};

/// A project: its services, groups and rules.
///
/// Two of them are equal when they want the same; where that was written does not matter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Project {
    /// The name.
    pub name: String,
    /// The directory of the first file, absolute: relative paths in the configuration start here.
    pub dir: PathBuf,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// Which kind of file the first one is.
    pub format: Format,
    /// The variables that `[project]` gives every service.
    pub env: Environment,
    /// The services in the order of the files.
    pub services: Vec<ServiceSpec>,
    /// The groups by name.
    pub groups: BTreeMap<String, Group>,
    /// What the project does when all services have ended.
    pub on_exit: OnExit,
    /// The most restarts of all services together.
    pub restart_budget: Option<BucketRate>,
    /// What is allowed but probably not meant.
    #[serde(skip)]
    pub warnings: Vec<ConfigError>,
    #[serde(skip)]
    pub(crate) places: Arc<Places>,
}

impl PartialEq for Project {
    fn eq(&self, other: &Self) -> bool {
        (
            &self.name,
            &self.dir,
            &self.env,
            &self.services,
            &self.groups,
        ) == (
            &other.name,
            &other.dir,
            &other.env,
            &other.services,
            &other.groups,
        ) && (self.format, self.on_exit, self.restart_budget)
            == (other.format, other.on_exit, other.restart_budget)
    }
}

/// The kind of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `proc.toml`.
    Toml,
    /// A `Procfile`: when one process ends, all end.
    Procfile,
}

/// A group of services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The services, in the order written.
    pub members: Vec<String>,
    /// What the restart of one means for the others.
    pub strategy: Strategy,
    /// The most restarts of the members together.
    pub restart_budget: Option<BucketRate>,
}

/// Environment variables by name. Its `Debug` shows names only: values may be secrets.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Deref for Environment {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// A service, completely described.
///
/// Texts may still hold `${PROC_INSTANCE}`, `${PROC_NAME}`, `${PROC_SERVICE}` and `${PROC_PROJECT}`;
/// [`ServiceSpec::for_instance`] fills them in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The name.
    pub name: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// What to run; `None` only where the backend has its own idea (`unit`, `label`).
    pub command: Option<Command>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// The variables that the configuration sets, on top of the supervisor's own environment.
    pub env: Environment,
    /// Whether the supervisor's own environment is left out.
    pub clear_env: bool,
    /// `PORT` of the first instance, each further one adds 1 (Procfile).
    pub port: Option<u16>,
    /// Whether it starts with the project.
    pub autostart: bool,
    /// User, limits and the like.
    pub attributes: Attributes,
    /// Where standard input comes from.
    pub stdin: Stdin,
    /// How many instances run.
    pub instances: u32,
    /// Lower starts first among those that no dependency orders.
    pub priority: i32,
    /// What must hold of other services first.
    pub needs: BTreeMap<String, Need>,
    /// Services that start first when both start.
    pub after: Vec<String>,
    /// What the restart of a needed service means.
    pub on_restart: OnRestart,
    /// How long it must stay up to count as started.
    pub start_seconds: Duration,
    /// How long it may take to become ready; `None` is for ever.
    pub start_timeout: Option<Duration>,
    /// How it is stopped.
    pub stop: StopSpec,
    /// The signal that makes it read its configuration again.
    pub reload_signal: Option<Signal>,
    /// When and how fast it restarts; `start_retries` and `start_retry_interval` are in it.
    pub restart: RestartPolicy,
    /// When it is ready; without a probe it is ready after `start_seconds`.
    pub ready: Option<Probe>,
    /// Whether it still works.
    pub alive: Option<Probe>,
    /// What must succeed before the others begin.
    pub startup: Option<Probe>,
    /// How often it must send WATCHDOG=1.
    pub watchdog: Option<Duration>,
    /// Other ways to see that it runs.
    pub detectors: Vec<Detector>,
    /// The PID file it writes, absolute.
    pub pid_file: Option<PathBuf>,
    /// Whether its background children live on when it ends.
    pub detached: bool,
    /// Whether it ends with the supervisor; `None` is as the supervisor was started.
    pub die_with_supervisor: Option<bool>,
    /// Sockets opened for it.
    pub listen: Vec<Listen>,
    /// Files whose change restarts it.
    pub watch: Option<WatchSpec>,
    /// Files it reads itself, absolute, each with a digest of what was in it.
    pub config_files: BTreeMap<PathBuf, String>,
    /// When it runs.
    pub schedule: Option<Cron>,
    /// What happens when it is due while it still runs.
    pub overlap: Overlap,
    /// It is meant to end.
    pub oneshot: bool,
    /// Restart it above this much memory, in bytes.
    pub max_memory: Option<u64>,
    /// Restart it when it has run this long.
    pub max_age: Option<Duration>,
    /// When its end ends the project.
    pub exit_project: ExitProject,
    /// Where its output goes.
    pub log: LogSpec,
    /// What runs it.
    pub backend: BackendName,
    /// The machine it runs on, where the backend can.
    pub host: Option<String>,
    /// The systemd unit.
    pub unit: Option<String>,
    /// Whose manager has the unit; `None` is the caller's.
    pub scope: Option<Scope>,
    /// Whether sudo is used.
    pub sudo: bool,
    /// The launchd label.
    pub label: Option<String>,
    /// What the Slurm job asks for: long options of sbatch(1) without dashes; a switch is `true`.
    pub slurm: BTreeMap<String, String>,
    /// Commands around its start and stop.
    pub hooks: Hooks,
    /// How a new version is brought in.
    pub deploy: Option<DeploySpec>,
}

/// How a service is stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopSpec {
    /// The signals, in order.
    pub steps: StopSequence,
    /// A command that goes first; when it fails or outlasts `grace`, the steps follow.
    pub command: Option<Command>,
    /// How long the command has; `None` is for ever.
    pub grace: Option<Duration>,
}

impl StopSpec {
    /// The signal unless another is named.
    pub const SIGNAL: Signal = Signal::TERM;
    /// The grace unless another is named.
    pub const GRACE: Duration = Duration::from_secs(10);

    /// Returns the steps with what a command line asked for: another first signal, another grace
    /// (`Some(None)` never kills).
    #[must_use]
    pub fn sequence(
        &self,
        signal: Option<Signal>,
        grace: Option<Option<Duration>>,
    ) -> StopSequence {
        let first = self
            .steps
            .steps
            .first()
            .map_or(Self::SIGNAL, |step| step.signal);
        if let Some(grace) = grace {
            return StopSequence::graceful(signal.unwrap_or(first), grace);
        }
        let mut steps = self.steps.clone();
        if let (Some(signal), Some(step)) = (signal, steps.steps.first_mut()) {
            step.signal = signal;
        }
        steps
    }
}

impl Default for StopSpec {
    fn default() -> Self {
        Self {
            steps: StopSequence::graceful(Self::SIGNAL, Some(Self::GRACE)),
            command: None,
            grace: Some(Self::GRACE),
        }
    }
}

/// Files whose change restarts a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSpec {
    /// Globs, relative to the working directory.
    pub paths: Vec<String>,
    /// Globs that are left out.
    pub ignore: Vec<String>,
    /// Changes within this time are one.
    pub debounce: Duration,
}

/// Where the output of a service goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// The directory, absolute; `None` is the state directory's `log`.
    pub dir: Option<PathBuf>,
    /// Rotate at this size in bytes.
    pub max_size: Option<u64>,
    /// How many rotated files are kept; `None` is all.
    pub keep: Option<u32>,
    /// The most bytes of all files of one instance.
    pub total_max: Option<u64>,
    /// Rotate, and drop, at this age.
    pub max_age: Option<Duration>,
    /// Compress rotated files.
    pub compress: bool,
    /// Keep the time of each line.
    pub timestamps: bool,
    /// One file for both streams.
    pub merge: bool,
    /// What happens when it cannot be written as fast as it comes.
    pub on_full: OnFull,
    /// How many bytes of recent output are kept in memory.
    pub ring: u64,
    /// Lines that start with a blank belong to the line before.
    pub multiline: bool,
    /// The service writes the file itself.
    pub direct: bool,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self {
            dir: None,
            max_size: Some(10 << 20),
            keep: Some(5),
            total_max: None,
            max_age: None,
            compress: true,
            timestamps: true,
            merge: false,
            on_full: OnFull::Block,
            ring: 64 << 10,
            multiline: false,
            direct: false,
        }
    }
}

/// How a new version of a service is brought in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploySpec {
    /// The commands, in order.
    pub steps: Vec<String>,
    /// The repository whose pushes start it.
    pub repo: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// Whether `proc confirm` is asked for first.
    pub confirm: bool,
    /// Whether it replaces `proc` itself.
    #[serde(rename = "self")]
    pub replaces_proc: bool,
    /// How long all steps may take.
    pub timeout: Duration,
    /// Where the steps run, absolute.
    pub cwd: PathBuf,
}

impl Project {
    /// Returns a project without services: what an empty configuration would make, were it allowed.
    #[must_use]
    pub fn plain(name: &str, dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            files: Vec::new(),
            format: Format::Toml,
            env: Environment::default(),
            services: Vec::new(),
            groups: BTreeMap::new(),
            on_exit: OnExit::Keep,
            restart_budget: None,
            warnings: Vec::new(),
            places: Arc::default(),
        }
    }

    /// Returns the service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceSpec> {
        self.services.iter().find(|service| service.name == name)
    }

    /// Makes an error that points at a key, such as `service.web.limits.memory`, or at the nearest
    /// table around it. For whoever finds out later that a value cannot be honoured.
    #[must_use]
    pub fn error_at(&self, key: &str, message: impl Into<String>) -> ConfigError {
        self.places.error(key, message.into())
    }
}
