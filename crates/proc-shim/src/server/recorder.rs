//! Writes the records, makes them durable a moment later, and keeps trying where the disk refuses.
//!
//! A record that was replaced is there for every process from that moment on, whoever is killed. The disk is asked only to
//! outlive a loss of power, after which no process of any record lives: so nobody waits for it, neither the first
//! byte of a service nor the next start after an exit. What a power cut can take is the last tenth of a second.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::records;
use crate::slots::SlotFile;

/// How long after a failed write the next attempt is made.
const RETRY: Duration = Duration::from_secs(1);

/// How long after a replacement it is made durable, as whatever can wait: longer than a start, or an exit and the start after
/// it, takes.
pub(super) const CALM: Duration = Duration::from_millis(100);

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
    /// The `run` record, once it was written: the next one comes while a program waits to begin.
    run: Option<SlotFile>,
    slots: [(&'static str, Slot); 3],
    trouble: Option<String>,
    retry_at: Option<Instant>,
    /// When the replacements that may be in the page cache alone are made durable.
    sync_at: Option<Instant>,
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
            run: None,
            slots,
            trouble: None,
            retry_at: None,
            sync_at: None,
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

    /// Returns when [`work`](Self::work) has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.retry_at.or(self.sync_at)
    }

    /// Makes durable what was replaced, and tries again what failed, when it is time for that.
    pub(crate) fn work(&mut self, now: Instant) {
        if self.due().is_none_or(|at| at > now) {
            return;
        }
        if self.retry_at.take().is_some() {
            self.write_pending();
        }
        self.sync();
    }

    /// Makes everything durable now.
    pub(crate) fn sync(&mut self) {
        self.sync_at = None;
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
            let written = if at == Record::Run as usize {
                put_run(&self.dir, &mut self.run, text)
            } else {
                records::replace(&self.dir, name, text.as_bytes()).map(drop)
            };
            match written {
                Ok(()) => {
                    slot.pending = None;
                    slot.unsynced = true;
                    self.sync_at.get_or_insert_with(|| Instant::now() + CALM);
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

/// Writes the `run` record in place where that is possible.
fn put_run(dir: &Path, file: &mut Option<SlotFile>, text: &str) -> io::Result<()> {
    if let Some(open) = file
        && open.put(text)?
    {
        return Ok(());
    }
    *file = SlotFile::create(dir, "run", text)?;
    if file.is_none() {
        records::replace(dir, "run", text.as_bytes())?;
    }
    Ok(())
}
