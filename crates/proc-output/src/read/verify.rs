//! Proves from offsets, lengths and counts that nothing is missing between the files kept.

use std::io;
use std::sync::Arc;

use crate::directory::Directory;
use crate::names::Names;
use crate::options::Stream;
use crate::read::locate::account;
use crate::read::segment::{Segment, closed_seqs};

/// What the files of one stream prove.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Verified {
    /// The instance.
    pub instance: String,
    /// The stream.
    pub stream: Stream,
    /// The offset of the oldest byte kept: so many were removed by rotation.
    pub first_offset: u64,
    /// The offset behind the newest byte: so many were kept since the first run.
    pub end_offset: u64,
    /// Bytes in the files.
    pub kept_bytes: u64,
    /// Bytes that a full or failing disk refused, since the first run.
    pub dropped_bytes: u64,
    /// How many of them were refused while the files kept were written.
    pub dropped_in_kept_bytes: u64,
    /// Files.
    pub files: u32,
    /// What does not fit together; empty if the files are complete.
    pub problems: Vec<String>,
}

impl Verified {
    /// Says whether the files hold every byte of their stretch: nothing missing, nothing dropped.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.problems.is_empty() && self.dropped_in_kept_bytes == 0
    }
}

/// Verifies one stream; `None` if it has no files.
pub(crate) fn stream(
    directory: &Arc<Directory>,
    instance: &Arc<str>,
    stream: Stream,
) -> io::Result<Option<Verified>> {
    // The live file first: what is closed after this look is in the list that follows it.
    let names = Names::new(instance, stream);
    let live = Segment::live(directory, &names, u64::MAX)?;
    let seqs = closed_seqs(directory, &names)?;
    let mut check = Check::default();
    for &seq in &seqs {
        // One that is gone by now was removed by rotation, oldest first.
        if let Some(mut segment) = Segment::closed(directory, &names, seq)? {
            check.file(&names.closed(seq), &mut segment)?;
        }
    }
    if let Some(mut live) = live.filter(|live| !seqs.contains(&live.seq)) {
        check.file(names.live(), &mut live)?;
    }
    if check.files == 0 {
        return Ok(None);
    }
    Ok(Some(Verified {
        instance: instance.to_string(),
        stream,
        first_offset: check.first.unwrap_or(0),
        end_offset: check.end.unwrap_or(0),
        kept_bytes: check.kept,
        dropped_bytes: check.dropped,
        dropped_in_kept_bytes: check
            .dropped
            .saturating_sub(check.dropped_before.unwrap_or(0)),
        files: check.files,
        problems: check.problems,
    }))
}

#[derive(Default)]
struct Check {
    files: u32,
    first: Option<u64>,
    end: Option<u64>,
    last_seq: Option<u64>,
    kept: u64,
    dropped: u64,
    dropped_before: Option<u64>,
    problems: Vec<String>,
}

impl Check {
    fn file(&mut self, name: &str, segment: &mut Segment) -> io::Result<()> {
        self.files += 1;
        if let Some(last) = self.last_seq.filter(|last| segment.seq != last + 1) {
            self.problems.push(format!(
                "`{name}` follows number {last}: files are missing between them"
            ));
        }
        self.last_seq = Some(segment.seq);
        let account = segment.times.as_mut().map(account).transpose()?.flatten();
        let length = match segment.length() {
            Ok(length) => length,
            Err(error) => {
                self.problems
                    .push(format!("`{name}` cannot be read to its end: {error}"));
                0
            }
        };
        self.kept += length;
        let base = segment.base.unwrap_or_else(|| self.end.unwrap_or(0));
        let end = base + length;
        match account {
            None => self.problems.push(format!(
                "`{name}` has no valid sidecar: its offsets are not known"
            )),
            Some(account) => {
                if let Some(said) = account.end.filter(|said| *said != end) {
                    self.problems
                        .push(format!("`{name}` ends at {end}, but was closed at {said}"));
                } else if account.seen > end {
                    self.problems.push(format!(
                        "`{name}` ends at {end}, but had reached {}",
                        account.seen
                    ));
                }
                self.dropped = account.dropped;
                self.dropped_before.get_or_insert(account.dropped_before);
            }
        }
        if let Some(before) = self.end.filter(|before| *before != base) {
            self.problems.push(format!(
                "`{name}` begins at {base}, but the one before ends at {before}"
            ));
        }
        self.first.get_or_insert(base);
        self.end = Some(end);
        Ok(())
    }
}
