//! The reading end of a journal: any number of readers, without a lock.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::segment::{all_retired, seq_of};
use crate::Disk;
use crate::record::wrong_kind;

/// One event as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// Its line, a JSON object, without the end of line.
    pub text: String,
}

impl Entry {
    /// Understands the event.
    ///
    /// # Errors
    /// What JSON says, for instance about an event of a newer program.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.text)
    }

    /// Reads a line that is an event.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let seq = seq_of(line)?;
        let text = std::str::from_utf8(line).ok()?.to_owned();
        Some(Self { seq, text })
    }
}

/// What [`read_since`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// The events after the number asked for, in order.
    pub entries: Vec<Entry>,
    /// Events in between that are no longer kept (rotated away) or damaged.
    pub missed: u64,
}

/// The most bytes of one file that are read.
const LIMIT: u64 = 1024 * 1024 * 1024;

/// Reads every kept event with a number greater than `seq` of the journal whose live file is
/// `path`. A journal that does not exist yet is empty; a torn last line is not shown.
///
/// # Errors
/// What the system says.
pub fn read_since(path: impl AsRef<Path>, seq: u64) -> io::Result<Since> {
    let path = path.as_ref();
    // The live file first: if it is retired in between, it is seen twice (told by its numbers),
    // never not at all.
    let live = read_file(path)?;
    let mut since = Since::default();
    let mut last = seq;
    for path in all_retired(path)? {
        take_lines(&read_file(&path)?, &mut last, &mut since);
    }
    take_lines(&live, &mut last, &mut since);
    Ok(since)
}

/// Reads a file of the journal; one that is gone, or is none, is empty.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    match Disk::real().read(path, LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if wrong_kind(&error).is_some() => Ok(Vec::new()),
        bytes => bytes,
    }
}

/// Takes the events of whole lines that come after `last`, which moves along. Returns how many
/// bytes the whole lines have.
pub(super) fn take_lines(bytes: &[u8], last: &mut u64, since: &mut Since) -> usize {
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    for line in bytes[..whole].split(|byte| *byte == b'\n') {
        let Some(entry) = Entry::of(line).filter(|entry| entry.seq > *last) else {
            continue;
        };
        since.missed += entry.seq - *last - 1;
        *last = entry.seq;
        since.entries.push(entry);
    }
    whole
}
