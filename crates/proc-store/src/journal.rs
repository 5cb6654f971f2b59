//! The event journal: append-only JSON lines, numbered without gap or repetition.

mod follow;
mod options;
mod read;
mod segment;

pub use follow::Follower;
pub use options::JournalOptions;
pub use read::{Entry, Since, read_since};

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use crate::record::{SetAside, set_aside, wrong_kind};
use crate::{Disk, atomic};
use segment::{Header, Segment};

/// The writing end of a journal; there must be one at a time (hold a [`crate::LifeLock`]).
///
/// Each event is one line, its `seq` in front: `{"seq":7,…}`. A segment begins with a header line
/// `{"format":1,"next":7,"created_ms":…}`, so the numbers go on even where every event was rotated
/// away. The live file `NAME` is retired by size and age to
/// `NAME.SEQ`, SEQ being the number of its last event.
///
/// While the disk refuses, events wait in memory in order, up to a bound, and nothing unwritten is
/// shown to readers: a number that somebody has seen is never given to another event.
///
/// ```
/// use proc_store::{Journal, JournalOptions, read_since};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("events.jsonl");
/// let mut journal = Journal::open(&path, JournalOptions::default())?;
/// assert_eq!(journal.append(&serde_json::json!({"to": "running"}))?, 1);
/// drop(journal);
/// let mut journal = Journal::open(&path, JournalOptions::default())?;
/// assert_eq!(journal.append(&serde_json::json!({"to": "stopped"}))?, 2);
/// let events = read_since(&path, 1)?.entries;
/// assert_eq!(events[0].text, r#"{"seq":2,"to":"stopped"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    disk: Disk,
    options: JournalOptions,
    live: Segment,
    next: u64,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    trouble: Option<io::Error>,
    lost: u64,
    repairs: Repairs,
}

/// What [`Journal::open`] had to put right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Bytes of a torn last line that were cut off.
    pub torn_bytes: u64,
    /// A last line that lacked nothing but its end.
    pub completed: bool,
    /// A live file that could not be read at all.
    pub set_aside: Option<SetAside>,
}

/// An event that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It is no JSON object, or is too large.
    #[error("the event is not a JSON object of at most {limit} bytes")]
    Event {
        /// The most bytes that an event may have.
        limit: usize,
    },
    /// The disk refuses and the memory for waiting events is full. No number was used up; the event
    /// is counted in [`Journal::lost`].
    #[error("{waiting} events already wait for the disk")]
    Full {
        /// How many wait.
        waiting: usize,
        /// Why the disk refuses.
        #[source]
        source: io::Error,
    },
}

/// The most bytes of one line.
const LINE_LIMIT: usize = 256 * 1024;

impl Journal {
    /// Opens the journal whose live file is `path`, creating it if needed, and repairs its end.
    ///
    /// # Errors
    /// What the system says about the first file; afterwards a refusing disk is
    /// [`Journal::trouble`].
    pub fn open(path: impl Into<PathBuf>, options: JournalOptions) -> io::Result<Self> {
        Self::open_on(Disk::real(), path, options)
    }

    /// Does what [`Journal::open`] does, on `disk`.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_on(
        disk: Disk,
        path: impl Into<PathBuf>,
        options: JournalOptions,
    ) -> io::Result<Self> {
        let path = path.into();
        let mut repairs = Repairs::default();
        let older = segment::last_retired_seq(&disk, &path)?;
        let opened = match Segment::open(&disk, &path, &mut repairs) {
            Err(error) => {
                let reason = wrong_kind(&error).ok_or(error)?;
                repairs.set_aside = Some(set_aside(&disk, &path, reason)?);
                None
            }
            Ok(opened) => opened,
        };
        let live = match opened {
            Some(live) => live,
            None => Segment::create(&disk, &path, older + 1)?,
        };
        let next = live.next_seq().max(older + 1);
        Ok(Self {
            path,
            disk,
            options,
            live,
            next,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            trouble: None,
            lost: 0,
            repairs,
        })
    }

    /// Returns what had to be put right when it was opened.
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// Returns the path of the live file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `event`, a JSON object, and returns its number. A `seq` of its own is replaced.
    ///
    /// The line is with the kernel when this returns, or waits in memory if the disk refuses
    /// ([`Journal::trouble`] says why); each call and [`Journal::flush`] try again.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(&mut self, event: &impl Serialize) -> Result<u64, AppendError> {
        self.append_at(event, SystemTime::now())
    }

    /// Does what [`Journal::append`] does, at the time `now`, by which the age of segments goes.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_at(
        &mut self,
        event: &impl Serialize,
        now: SystemTime,
    ) -> Result<u64, AppendError> {
        let line = encode(event, self.next).ok_or(AppendError::Event { limit: LINE_LIMIT })?;
        if !self.waiting.is_empty() {
            self.flush_at(now);
        }
        self.room_for(line.len())?;
        let seq = self.next;
        self.next += 1;
        self.waiting_bytes += line.len();
        self.waiting.push_back(line);
        self.flush_at(now);
        Ok(seq)
    }

    /// Returns an error when events wait and one of `bytes` more does not fit.
    fn room_for(&mut self, bytes: usize) -> Result<(), AppendError> {
        if self.waiting.is_empty() || self.waiting_bytes + bytes <= self.options.max_waiting_bytes {
            return Ok(());
        }
        self.lost += 1;
        let source = self.trouble.as_ref().map_or_else(
            || io::Error::other("the disk refuses"),
            |error| {
                error
                    .raw_os_error()
                    .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
            },
        );
        Err(AppendError::Full {
            waiting: self.waiting.len(),
            source,
        })
    }

    /// Writes what waits; returns whether nothing waits any more.
    pub fn flush(&mut self) -> bool {
        self.flush_at(SystemTime::now())
    }

    fn flush_at(&mut self, now: SystemTime) -> bool {
        while let Some(line) = self.waiting.front() {
            if let Err(error) = self.live.append(&self.disk, line) {
                self.trouble = Some(error);
                return false;
            }
            self.waiting_bytes -= line.len();
            self.waiting.pop_front();
            self.trouble = self.rotate_if_due(now).err();
        }
        true
    }

    /// Flushes the live file to the medium, against a loss of power.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&mut self) -> io::Result<()> {
        self.live.sync(&self.disk)
    }

    /// Returns why events wait, or why a rotation is overdue; `None` when all is well.
    pub fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref()
    }

    /// Returns how many events wait in memory.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns how many events were refused with [`AppendError::Full`] since the last call: worth
    /// an event of its own once the disk is back.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Returns how many events were refused with [`AppendError::Full`] and not yet taken.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the number of the last event that readers can see; 0 is none.
    pub fn last_seq(&self) -> u64 {
        self.next - 1 - self.waiting.len() as u64
    }

    /// Starts a new live file if the present one is large or old enough.
    fn rotate_if_due(&mut self, now: SystemTime) -> io::Result<()> {
        if self.live.is_empty() || !self.options.is_due(self.live.len(), self.live.age(now)) {
            return Ok(());
        }
        let next = self.live.next_seq();
        let header = Header::new(next, now).to_line();
        let staged = atomic::stage(&self.disk, &self.path, &header, 0o600)
            .map_err(|error| clone(error.io()))?;
        self.retire_live()
            .and_then(|()| self.disk.rename(&staged, &self.path))
            .inspect_err(|_| {
                // The old live file, wherever it is by now, is still open and still appended to.
                let _ = self.disk.remove(&staged);
            })?;
        self.live = Segment::reopen(&self.disk, &self.path)?;
        self.remove_oldest()?;
        self.disk.sync_dir(atomic::parent(&self.path))
    }

    /// Renames the live file to `NAME.SEQ`, the number of its last event. One step, so that a
    /// reader who looks at the live file first and at the others then misses nothing.
    fn retire_live(&self) -> io::Result<()> {
        if !self.path.exists() {
            // An earlier rotation got this far and no further.
            return Ok(());
        }
        let retired = segment::retired(&self.path, self.live.next_seq() - 1);
        self.disk.rename(&self.path, &retired)
    }

    /// Removes the oldest retired files beyond the number to keep.
    fn remove_oldest(&self) -> io::Result<()> {
        let retired = segment::all_retired(&self.path)?;
        let keep = usize::try_from(self.options.keep.max(1)).unwrap_or(usize::MAX);
        let excess = retired.len().saturating_sub(keep);
        retired
            .iter()
            .take(excess)
            .try_for_each(|path| self.disk.remove(path))
    }
}

/// Writes `event` as a line with its number in front, its fields in their own order.
fn encode(event: &impl Serialize, seq: u64) -> Option<Vec<u8>> {
    let mut rest = serde_json::to_vec(event).ok()?;
    if rest.windows(6).any(|part| part == b"\"seq\":") {
        // Perhaps a number of its own: the slow way, which can tell.
        let mut value: Value = serde_json::from_slice(&rest).ok()?;
        value.as_object_mut()?.remove("seq");
        rest = serde_json::to_vec(&value).ok()?;
    }
    let fields = rest.strip_prefix(b"{")?;
    let mut line = format!("{{\"seq\":{seq}").into_bytes();
    if fields != b"}" {
        line.push(b',');
    }
    line.extend_from_slice(fields);
    line.push(b'\n');
    (line.len() <= LINE_LIMIT).then_some(line)
}

/// Copies an error as far as it can be.
fn clone(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
