//! What a supervisor leaves on the disk for the next one, and for those who ask without one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proc_core::{Identity, StopSequence};
use proc_policy::Counters;
use proc_spec::Project;
use proc_store::Record;
use serde::{Deserialize, Serialize};

use crate::stamp::Stamp;
use crate::state::{Desired, State};
use crate::view::{Event, InstanceStatus, LastExit};

/// The project: `project.json` in the state directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProjectRecord {
    /// The project's name.
    pub(crate) name: String,
    /// The configuration's files.
    #[serde(default)]
    pub(crate) files: Vec<PathBuf>,
    /// The services in the order of the configuration.
    pub(crate) order: Vec<String>,
    /// What is wanted of each.
    pub(crate) services: BTreeMap<String, ServiceRecord>,
    /// Whether everything was taken down: the next start begins anew.
    #[serde(default)]
    pub(crate) down: bool,
}

impl Record for ProjectRecord {
    const FORMAT: u32 = 1;
}

/// The configuration as it was last applied, resolved: `applied.json`. Only the supervisor's own version has to understand it;
/// for any other the configuration's files are there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AppliedRecord {
    /// All of it.
    pub(crate) project: Project,
}

impl Record for AppliedRecord {
    const FORMAT: u32 = 1;
}

/// One service within [`ProjectRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServiceRecord {
    /// What is wanted of it.
    pub(crate) wanted: Desired,
    /// How many instances `scale` asked for, and the configuration's number at that time.
    #[serde(default)]
    pub(crate) scaled: Option<(u32, u32)>,
    /// Which backend runs it.
    pub(crate) backend: String,
    /// How it is stopped should the configuration no longer name it.
    #[serde(default)]
    pub(crate) stop: StopSequence,
    /// The resolved spec that the running instances were started from.
    pub(crate) image: serde_json::Value,
}

/// What an instance is to its index: during a rolling restart there are two, and where scheduled
/// runs may overlap there are several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// The one that counts.
    #[default]
    Current,
    /// It takes the place of the one with this key when it is ready.
    New(String),
    /// It has been replaced, and ends.
    Old,
    /// A run that was due while another one was still there, and goes when it has ended.
    Extra,
}

/// One instance: `services/<instance>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceRecord {
    /// The service it belongs to.
    pub(crate) service: String,
    /// Its index from 1.
    pub(crate) index: u32,
    /// The name it is shown by.
    pub(crate) shown: String,
    /// What it is to its index during a rolling restart.
    #[serde(default)]
    pub(crate) part: Part,
    /// Its state.
    pub(crate) state: State,
    /// What is wanted of it.
    pub(crate) desired: Desired,
    /// Whether it is ready.
    pub(crate) ready: bool,
    /// Why it is in this state.
    #[serde(default)]
    pub(crate) reason: String,
    /// The last run that was started or adopted.
    pub(crate) run: u64,
    /// The last run whose exit was counted.
    pub(crate) counted: u64,
    /// The policy's memory; times are since the Unix epoch.
    #[serde(default)]
    pub(crate) counters: Counters,
    /// Restarts by policy since the last start by hand.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// The number of the restart in the present row.
    #[serde(default)]
    pub(crate) attempt: u32,
    /// When the next start is due.
    #[serde(default)]
    pub(crate) retry_at: Option<Stamp>,
    /// How the last run ended.
    #[serde(default)]
    pub(crate) last_exit: Option<LastExit>,
    /// The leader, while there is one.
    #[serde(default)]
    pub(crate) identity: Option<Identity>,
    /// Its process group.
    #[serde(default)]
    pub(crate) pgid: Option<u32>,
    /// When the run started.
    #[serde(default)]
    pub(crate) started_at: Option<Stamp>,
    /// The last transition. It is written here before it goes into the journal, so that a crash
    /// in between loses neither: the next supervisor appends what is missing.
    #[serde(default)]
    pub(crate) event: Option<Event>,
}

impl Record for InstanceRecord {
    const FORMAT: u32 = 1;
}

impl InstanceRecord {
    /// Returns what can be said of the instance without a supervisor; `alive` tells whether the
    /// recorded leader still is.
    pub(crate) fn status(&self, alive: bool, now: Stamp) -> InstanceStatus {
        let identity = self.identity.clone().filter(|_| alive);
        let started_at = self.started_at.filter(|_| alive);
        InstanceStatus {
            name: self.shown.clone(),
            log_name: None,
            index: self.index,
            state: self.state_without_supervisor(alive),
            ready: self.ready && alive,
            reason: self.reason.clone(),
            pid: identity.as_ref().map(|identity| identity.pid),
            pgid: self.pgid.filter(|_| alive),
            identity,
            started_at,
            uptime_ms: started_at.map(|at| now.ms_since(at)),
            restarts: self.restarts,
            attempt: self.attempt,
            retry_at: self.retry_at,
            last_exit: self.last_exit.clone(),
            status_text: None,
            log_dropped_bytes: None,
            survivors: Vec::new(),
            listen: Vec::new(),
        }
    }

    /// What was under way when the supervisor went is not under way any more.
    fn state_without_supervisor(&self, alive: bool) -> State {
        match self.state {
            State::Stopped | State::Exited | State::Failed if !alive => self.state,
            _ if alive => State::Running,
            _ => State::Stopped,
        }
    }
}
