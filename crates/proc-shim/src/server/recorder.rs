//! Writes the records, and keeps trying where the disk refuses.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::records;

/// How long after a failed write the next attempt is made.
const RETRY: Duration = Duration::from_secs(1);

/// One record and what is still to be done for it.
#[derive(Debug, Default)]
struct Slot {
    /// Content that is not on disk yet.
    pending: Option<String>,
    /// Whether the last replacement may still be in the page cache alone.
    unsynced: bool,
}

/// The records of one instance.
#[derive(Debug)]
pub(crate) struct Recorder {
    dir: PathBuf,
    slots: [(&'static str, Slot); 3],
    trouble: Option<String>,
    retry_at: Option<Instant>,
}

/// The index of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Shim = 0,
    Run = 1,
    Exit = 2,
}

impl Recorder {
    pub(crate) fn new(dir: PathBuf) -> Self {
        let slots = ["shim", "run", "exit"].map(|name| (name, Slot::default()));
        Self {
            dir,
            slots,
            trouble: None,
            retry_at: None,
        }
    }

    /// Replaces a record; what cannot be written now is tried again later, and never an error:
    /// a service is not touched because of a disk.
    pub(crate) fn put(&mut self, record: Record, text: String) {
        self.slots[record as usize].1.pending = Some(text);
        self.write_pending();
    }

    /// Takes a record back: what it says is not so after all.
    pub(crate) fn remove(&mut self, record: Record) {
        let (name, slot) = &mut self.slots[record as usize];
        *slot = Slot::default();
        // A record that stays is outlived by the next one of its kind.
        let _gone = std::fs::remove_file(self.dir.join(*name));
    }

    /// Returns what is wrong, if something is.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Returns when [`work`](Self::work) tries again what failed.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Makes durable what was replaced, and tries again what failed. Called when nobody waits.
    pub(crate) fn work(&mut self, now: Instant) {
        let retry = match self.retry_at {
            Some(at) if at > now => return,
            other => other.is_some(),
        };
        self.retry_at = None;
        if retry {
            self.write_pending();
        }
        for at in 0..self.slots.len() {
            let (name, slot) = &mut self.slots[at];
            if !slot.unsynced {
                continue;
            }
            let name = *name;
            match records::sync(&self.dir, name) {
                Ok(()) => slot.unsynced = false,
                // Somebody removed the record: nothing to make durable.
                Err(error) if error.kind() == io::ErrorKind::NotFound => slot.unsynced = false,
                Err(error) => self.failed(name, &error),
            }
        }
        if self.retry_at.is_none() {
            self.trouble = None;
        }
    }

    fn write_pending(&mut self) {
        for at in 0..self.slots.len() {
            let (name, slot) = &mut self.slots[at];
            let Some(text) = &slot.pending else { continue };
            let name = *name;
            match records::write(&self.dir, name, text) {
                Ok(()) => {
                    slot.pending = None;
                    slot.unsynced = true;
                }
                Err(error) => self.failed(name, &error),
            }
        }
    }

    fn failed(&mut self, name: &str, error: &io::Error) {
        self.trouble = Some(format!("record `{name}`: {error}"));
        self.retry_at = Some(Instant::now() + RETRY);
    }
}
