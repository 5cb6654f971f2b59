//! What leaves the supervisor: the JSON of `status`, `events` and `plan`, field for field.
//!
//! Times are RFC 3339 UTC with milliseconds ([`Stamp`]), durations end in `_ms`, sizes in
//! `_bytes`. What is not known is `null`, never 0.

use std::path::PathBuf;

use proc_core::Identity;
use serde::{Deserialize, Serialize};

use crate::stamp::Stamp;
use crate::state::{Desired, State};

/// A whole project: `proc status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectStatus {
    /// The project's name.
    pub project: String,
    /// Its state directory.
    pub state_dir: PathBuf,
    /// The supervisor that answered; `null` when the answer comes from the records.
    pub supervisor: Option<SupervisorStatus>,
    /// Its services in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// What does not work as it should, such as `state: ENOSPC`; empty when all is well.
    #[serde(default)]
    pub degraded: Vec<String>,
}

/// The supervisor itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SupervisorStatus {
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started_at: Stamp,
    /// Its version.
    pub version: String,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// The backend that runs it.
    pub backend: String,
    /// What is wanted of it.
    pub desired: Desired,
    /// Its state: of several instances the one that needs most attention.
    pub state: State,
    /// Whether every instance is ready, and there is one.
    pub ready: bool,
    /// Why it is in this state, for a human; may be empty.
    pub reason: String,
    /// Its instances by index.
    pub instances: Vec<InstanceStatus>,
}

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name: the service's when it is the only one, else `service-N`.
    pub name: String,
    /// Its index from 1.
    pub index: u32,
    /// What the names of its log files begin with. It is kept while `name` changes with the number
    /// of instances, and alternates over rolling restarts.
    #[serde(default)]
    pub log_name: Option<String>,
    /// Its state.
    pub state: State,
    /// Whether it is ready.
    pub ready: bool,
    /// Why it is in this state, for a human; may be empty.
    pub reason: String,
    /// The leader's process id while there is one.
    pub pid: Option<u32>,
    /// The leader's identity while there is one.
    pub identity: Option<Identity>,
    /// The leader's process group while there is one.
    pub pgid: Option<u32>,
    /// When the present run started.
    pub started_at: Option<Stamp>,
    /// How long the present run lasts, in milliseconds.
    pub uptime_ms: Option<u64>,
    /// Restarts by policy since the last start by hand.
    pub restarts: u32,
    /// The number of the restart in the present row; 0 after a healthy run.
    pub attempt: u32,
    /// When the next start is due, while in `backoff` or `scheduled`.
    pub retry_at: Option<Stamp>,
    /// How the last run ended.
    pub last_exit: Option<LastExit>,
    /// What the service said of itself (`STATUS=` of sd_notify).
    #[serde(default)]
    pub status_text: Option<String>,
    /// Output bytes that could not be kept; `null` while unknown.
    #[serde(default)]
    pub log_dropped_bytes: Option<u64>,
    /// Processes of this instance that outlived the last stop.
    #[serde(default)]
    pub survivors: Vec<SurvivorView>,
    /// The addresses of its listening sockets, resolved.
    #[serde(default)]
    pub listen: Vec<String>,
}

/// How a run ended. Exactly one of `code` and `signal` is set where the end is known at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastExit {
    /// The exit code.
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// That signal's name.
    #[serde(default)]
    pub signal_name: Option<String>,
    /// Whether a core was dumped.
    pub core_dumped: bool,
    /// Whether the kernel ended it for want of memory.
    pub oom: bool,
    /// When it ended.
    pub at: Stamp,
    /// How long the run lasted, in milliseconds.
    pub runtime_ms: u64,
}

/// The exit that an event carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventExit {
    /// The exit code.
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// That signal's name.
    #[serde(default)]
    pub signal_name: Option<String>,
    /// Whether a core was dumped.
    pub core_dumped: bool,
    /// Whether the kernel ended it for want of memory.
    pub oom: bool,
    /// How long the run lasted, in milliseconds.
    pub runtime_ms: u64,
    /// When it ended.
    #[serde(default)]
    pub at: Option<Stamp>,
    /// The run that ended, counted per instance: an exit is known by (instance, run).
    #[serde(default)]
    pub run: Option<u64>,
}

/// A process that outlived a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurvivorView {
    /// The instance it belonged to.
    pub instance: String,
    /// Its process id.
    pub pid: u32,
    /// Its command name as the kernel knows it.
    pub comm: String,
    /// Why it is still there.
    pub reason: String,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The verb that was used, such as `stop`.
    pub verb: String,
    /// The user id of the asking process.
    pub uid: Option<u32>,
    /// The process id of the asking process.
    pub pid: Option<u32>,
}

/// Why a transition happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// One word: `start`, `stop`, `restart`, `exit`, `spawn`, `delay`, `ready`, `probe`,
    /// `dependency`, `hook`, `timeout`, `adopt`, `lost`, `survivors`, `config`, `schedule`, …
    pub kind: String,
    /// Who asked, where somebody did.
    pub by: Option<Who>,
    /// The evidence for a human: the probe's answer, the hook's end, the arithmetic of a delay.
    #[serde(default)]
    pub detail: Option<String>,
}

/// One transition: a line of `proc events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, which never repeats or skips.
    pub seq: u64,
    /// When it happened.
    pub at: Stamp,
    /// The service; `null` for the supervisor itself.
    pub service: Option<String>,
    /// The instance; `null` for the supervisor itself.
    pub instance: Option<String>,
    /// The state before; `null` where there was none.
    pub from: Option<State>,
    /// The state after; `null` for the supervisor itself.
    pub to: Option<State>,
    /// Whether it is ready after this.
    #[serde(default)]
    pub ready: bool,
    /// The leader's process id after this.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Why.
    pub cause: Cause,
    /// The exit that led here. Exactly one event carries a given exit.
    pub exit: Option<EventExit>,
    /// The delay before the next start, in milliseconds.
    pub delay_ms: Option<u64>,
}

/// What `why` knows of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The service as it is now.
    pub service: ServiceStatus,
    /// Its last transitions, oldest first.
    pub events: Vec<Event>,
}
