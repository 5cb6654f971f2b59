//! What is remembered of an instance for the next supervisor.

use proc_store::Record;
use serde::{Deserialize, Serialize};

use super::target::Target;
use crate::manager::{ExitRecord, StartedRecord};

/// One instance's record, `systemctl/<instance>/record.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceRecord {
    pub(crate) target: Target,
    pub(crate) log: proc_output::LogOptions,
    pub(crate) run: u64,
    /// systemd's name of the run.
    pub(crate) invocation: String,
    pub(crate) started: Option<StartedRecord>,
    pub(crate) exit: Option<ExitRecord>,
}

impl Record for InstanceRecord {
    const FORMAT: u32 = 1;
}
