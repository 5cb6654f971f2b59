//! One file of a journal.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{LINE_LIMIT, Repairs};
use crate::{Disk, atomic};

/// The first line of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    /// The number of the first event that comes after this line.
    pub(super) next: u64,
    pub(super) created_ms: u64,
}

impl Header {
    pub(super) fn new(next: u64, now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            format: 1,
            next,
            created_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn to_line(self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&self).expect("numbers are JSON");
        line.push(b'\n');
        line
    }

    fn created(self) -> SystemTime {
        UNIX_EPOCH
            .checked_add(Duration::from_millis(self.created_ms))
            .unwrap_or(UNIX_EPOCH)
    }
}

/// The file that is written to.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// Bytes up to the end of the last whole line.
    len: u64,
    /// A failed write may have left half a line after `len`.
    torn: bool,
    next: u64,
    empty: bool,
    created: Option<SystemTime>,
}

impl Segment {
    /// Creates the file with a header.
    pub(super) fn create(disk: &Disk, path: &Path, next: u64) -> io::Result<Self> {
        let header = Header::new(next, SystemTime::now()).to_line();
        atomic::write_on(disk, path, &header, 0o600).map_err(|error| super::clone(error.io()))?;
        Self::reopen(disk, path)
    }

    /// Opens a file that is known to be whole.
    pub(super) fn reopen(disk: &Disk, path: &Path) -> io::Result<Self> {
        Self::open(disk, path, &mut Repairs::default())?
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Opens the file and repairs its end; `None` if it does not exist.
    pub(super) fn open(
        disk: &Disk,
        path: &Path,
        repairs: &mut Repairs,
    ) -> io::Result<Option<Self>> {
        let mut file = match disk.append(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let size = file.metadata()?.len();
        let tail = Tail::read(&mut file, size)?;
        let header = read_header(&mut file)?;
        let next = tail.next.or(header.map(|header| header.next)).unwrap_or(1);
        let mut segment = Self {
            len: size - tail.torn.len() as u64,
            torn: !tail.torn.is_empty(),
            next,
            empty: tail.next.is_none(),
            created: header.map(Header::created),
            file,
        };
        segment.repair(disk, &tail.torn, repairs)?;
        Ok(Some(segment))
    }

    /// Completes a last line that only lacks its end, and cuts off any other torn one.
    fn repair(&mut self, disk: &Disk, torn: &[u8], repairs: &mut Repairs) -> io::Result<()> {
        if torn.is_empty() {
            return Ok(());
        }
        if seq_of(torn) == Some(self.next) {
            repairs.completed = true;
            disk.write_all(&mut self.file, b"\n")?;
            (self.len, self.torn) = (self.len + torn.len() as u64 + 1, false);
            (self.next, self.empty) = (self.next + 1, false);
            return Ok(());
        }
        repairs.torn_bytes = torn.len() as u64;
        self.mend(disk)
    }

    /// Appends a whole line or nothing.
    pub(super) fn append(&mut self, disk: &Disk, line: &[u8]) -> io::Result<()> {
        self.mend(disk)?;
        if let Err(error) = disk.write_all(&mut self.file, line) {
            self.torn = true;
            // If this fails too, the next append tries again before it writes.
            let _ = self.mend(disk);
            return Err(error);
        }
        self.len += line.len() as u64;
        self.next += 1;
        self.empty = false;
        Ok(())
    }

    /// Cuts off what a failed write left.
    fn mend(&mut self, disk: &Disk) -> io::Result<()> {
        if self.torn {
            disk.truncate(&self.file, self.len)?;
            self.torn = false;
        }
        Ok(())
    }

    pub(super) fn sync(&self, disk: &Disk) -> io::Result<()> {
        disk.sync(&self.file)
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.created?).ok()
    }
}

/// The end of a segment: the number after its last event, and what follows its last whole line.
struct Tail {
    next: Option<u64>,
    torn: Vec<u8>,
}

impl Tail {
    fn read(file: &mut File, size: u64) -> io::Result<Self> {
        let mut span = 2 * LINE_LIMIT as u64;
        loop {
            let from = size.saturating_sub(span);
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(size - from).read_to_end(&mut bytes)?;
            let tail = Self::of(&bytes);
            // A stretch without any event (damage) is rare enough to look at more of the file.
            if from == 0 || (tail.next.is_some() && (tail.torn.len() as u64) < span) {
                return Ok(tail);
            }
            span = span.saturating_mul(4);
        }
    }

    fn of(bytes: &[u8]) -> Self {
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        // The highest, not the last: damage must not send the numbers back.
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        let last = lines.filter_map(seq_of).max();
        Self {
            next: last.map(|seq| seq.saturating_add(1)),
            torn: bytes[whole..].to_vec(),
        }
    }
}

/// A greater number is damage: not even JSON's readers could tell it from the next.
const SEQ_MAX: u64 = 1 << 53;

/// Returns the number of an event's line; `None` for a header or damage.
pub(super) fn seq_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }
    if line.len() > LINE_LIMIT {
        return None;
    }
    let event: Numbered = serde_json::from_slice(line).ok()?;
    Some(event.seq).filter(|seq| *seq <= SEQ_MAX)
}

fn read_header(file: &mut File) -> io::Result<Option<Header>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(4_096).read_to_end(&mut bytes)?;
    let first = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let header: Option<Header> = serde_json::from_slice(first).ok();
    Ok(header.filter(|header| header.next <= SEQ_MAX))
}

/// Returns the path of a retired file whose last event is `seq`.
pub(super) fn retired(path: &Path, seq: u64) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.{seq}"))
}

/// Lists the retired files, oldest first.
pub(super) fn all_retired(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let entries = match std::fs::read_dir(atomic::parent(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name();
        let seq = file
            .to_str()
            .and_then(|file| file.strip_prefix(&name)?.strip_prefix('.'));
        if let Some(seq) = seq.and_then(|seq| seq.parse().ok()) {
            found.push((seq, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Returns the number of the last event in the retired files; 0 is none.
pub(super) fn last_retired_seq(disk: &Disk, path: &Path) -> io::Result<u64> {
    for path in all_retired(path)?.into_iter().rev() {
        let mut file = match disk.open(&path) {
            Err(error) if crate::record::wrong_kind(&error).is_some() => continue,
            file => file?,
        };
        let size = file.metadata()?.len();
        if let Some(next) = Tail::read(&mut file, size)?.next {
            return Ok(next - 1);
        }
    }
    Ok(0)
}
