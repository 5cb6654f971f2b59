//! What is remembered of an instance for the next supervisor.

use proc_output::LogOptions;
use proc_store::Record;
use serde::{Deserialize, Serialize};

use super::target::Target;
use crate::manager::{ExitRecord, StartedRecord};

/// One instance's record, `launchctl/<instance>/record.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) target: Target,
    pub(crate) log: LogOptions,
    pub(crate) run: u64,
    /// The job file.
    pub(crate) path: Option<String>,
    /// launchd's count of starts when the run began.
    pub(crate) runs: Option<u64>,
    pub(crate) started: Option<StartedRecord>,
    pub(crate) exit: Option<ExitRecord>,
}

impl Record for JobRecord {
    const FORMAT: u32 = 1;
}
