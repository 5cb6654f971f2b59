//! The bounds of a journal.

use std::time::Duration;

/// How much a journal keeps, on the disk and in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// The live file is rotated when it has so many bytes. Default: 8 MiB.
    pub max_bytes: u64,
    /// The live file is rotated, with the next event, when it is so old. Default: 30 days.
    pub max_age: Option<Duration>,
    /// How many rotated files are kept, at least 1. Default: 1.
    pub keep: u32,
    /// How many bytes of events may wait while the disk refuses. Default: 1 MiB.
    pub max_waiting_bytes: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            max_bytes: 8 * 1024 * 1024,
            max_age: Some(Duration::from_secs(30 * 86_400)),
            keep: 1,
            max_waiting_bytes: 1024 * 1024,
        }
    }
}

impl JournalOptions {
    /// Returns whether a live file of `len` bytes and this age is to be rotated.
    pub(super) fn is_due(&self, len: u64, age: Option<Duration>) -> bool {
        let old = matches!((age, self.max_age), (Some(age), Some(max)) if age >= max);
        len >= self.max_bytes || old
    }
}
