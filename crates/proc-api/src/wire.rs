//! The bodies of requests and answers that the supervisor's own types do not cover.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proc_core::Signal;
use proc_supervisor::{PlanEntry, Report, WaitFor};
use serde::{Deserialize, Serialize};

/// Services by name, and how to do to them what the route says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named<O> {
    /// Services, instances, globs, `@group`s; empty means every service.
    pub names: Vec<String>,
    /// The route's own options.
    #[serde(default)]
    pub options: O,
}

/// No options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// `POST /v1/signal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// Who gets it.
    pub names: Vec<String>,
    /// What they get.
    pub signal: Signal,
}

/// `POST /v1/scale`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Instances per service.
    pub counts: Vec<(String, u32)>,
}

/// `POST /v1/send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// The instance.
    pub name: String,
    /// What to write to its standard input.
    #[serde(default)]
    pub text: String,
    /// What to write after that: bytes that are no text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<u8>,
    /// Whether to close its standard input afterwards.
    #[serde(default)]
    pub close: bool,
}

/// `POST /v1/resize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizeRequest {
    /// The instance.
    pub name: String,
    /// The height of its terminal in characters.
    pub rows: u16,
    /// The width.
    pub columns: u16,
}

/// `POST /v1/wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitRequest {
    /// Whom to wait for.
    pub names: Vec<String>,
    /// What to wait for.
    #[serde(rename = "for")]
    pub what: WaitFor,
    /// How long, in milliseconds; `null` is for ever.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// `POST /v1/plan` and `POST /v1/apply`: where the configuration is and what surrounds it.
///
/// The supervisor reads the files itself; the environment is the caller's, for `${VAR}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigRequest {
    /// The directory that discovery starts from.
    pub dir: PathBuf,
    /// The files named on the command line, absolute; empty means discovery.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// The name given on the command line.
    #[serde(default)]
    pub project: Option<String>,
    /// The caller's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// The answer of `POST /v1/apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What was done, service by service.
    pub plan: Vec<PlanEntry>,
    /// What came of it.
    pub report: Report,
}

/// The answer of `GET /v1/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The project's name.
    pub project: String,
    /// The supervisor's process id.
    pub pid: u32,
    /// The supervisor's version.
    pub version: String,
}
