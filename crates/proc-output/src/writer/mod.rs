//! Writes one stream of one instance to its log files.

mod recover;
mod rotate;
mod splice;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::clock::now_ms;
use crate::closed::ClosedFiles;
use crate::directory::Directory;
use crate::names::{self, Names};
use crate::options::{LogOptions, Stream};
use crate::times::TimesWriter;

/// The log files of an instance could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// The name is not one path component.
    #[error("name `{0}` cannot name a log file")]
    Name(String),
    /// The directory, the log file or its sidecar failed; a symbolic link or a device in a log
    /// file's place is refused.
    #[error("failed to open the log `{file}` in `{dir}`")]
    Io {
        /// The directory.
        dir: std::path::PathBuf,
        /// The file's name.
        file: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
}

/// What became of bytes handed to a [`LogWriter`]; the two sum up to what was handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Bytes that are in the file.
    pub kept: usize,
    /// Bytes that the file refused.
    pub dropped: usize,
}

/// Counts of a [`LogWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Bytes kept since this writer was opened.
    pub bytes: u64,
    /// Bytes dropped since the first run of the instance, over all restarts.
    pub dropped_bytes: u64,
    /// Failed operations on files since this writer was opened.
    pub errors: u64,
    /// The errno of the last failure, until a write succeeds again.
    pub failing: Option<i32>,
    /// Files closed since this writer was opened.
    pub rotations: u64,
}

/// One stream's live file with its rotation and its sidecar.
///
/// Made for the inside of a supervising process that must stay small: no runtime, no allocation that
/// grows with the output, and at most one short-lived thread, which compresses closed files. Every
/// byte is kept as it came. There must be one writer per stream.
///
/// A file that takes no more bytes (`ENOSPC`, `EIO`) does not stop the reader of the pipe: bytes are
/// dropped, counted in [`LogStats`] and in the sidecar, and once the file takes bytes again, kept
/// again.
#[derive(Debug)]
pub struct LogWriter {
    directory: Arc<Directory>,
    names: Names,
    options: LogOptions,
    limit: u64,
    live: Option<Live>,
    closed: ClosedFiles,
    /// The offset of the next byte, over all files and runs.
    offset: u64,
    /// The number that the live file will get.
    seq: u64,
    stats: LogStats,
    /// Drops that the sidecar does not know of yet.
    unrecorded: bool,
    way: splice::Way,
    buffer: Vec<u8>,
    #[cfg(feature = "compress")]
    compressor: Option<std::thread::JoinHandle<()>>,
    background: bool,
}

#[derive(Debug)]
struct Live {
    file: File,
    /// `None` where the disk took the log but not its sidecar.
    times: Option<TimesWriter>,
    /// Bytes in the file.
    length: u64,
    /// When its oldest byte came, in milliseconds since the epoch.
    since: i64,
    /// When the file was last looked at, in milliseconds since the epoch.
    seen: i64,
}

impl LogWriter {
    /// Opens the live file of `instance` in `dir`, creating both where missing (0700 and 0600).
    ///
    /// Offsets continue where the last writer left off; a sidecar with a torn end is repaired.
    ///
    /// # Errors
    ///
    /// When the name cannot be a file's, or the file system refuses; nothing is changed then.
    pub fn new(
        dir: &Path,
        instance: &str,
        stream: Stream,
        options: &LogOptions,
    ) -> Result<Self, OpenLogError> {
        let mut writers = Self::new_each(dir, instance, &[stream], options)?;
        let mut writer = writers.pop().expect("one stream has one writer");
        writer.make_live(now_ms()).map_err(|source| {
            let file = writer.names.live().to_owned();
            let dir = dir.to_owned();
            OpenLogError::Io { dir, file, source }
        })?;
        Ok(writer)
    }

    /// Opens the logs of several streams after one look at the directory, without making files.
    ///
    /// A live file that is there is continued as [`new`](Self::new) does; one that is missing is made by the first bytes,
    /// the first mark or [`housekeep`](Self::housekeep). The writers are in the order of `streams`, none of which may be
    /// there twice.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), for the first stream that fails. A directory in which no file can be made is one, a full disk
    /// is not.
    pub fn new_each(
        dir: &Path,
        instance: &str,
        streams: &[Stream],
        options: &LogOptions,
    ) -> Result<Vec<Self>, OpenLogError> {
        if !names::valid(instance) {
            return Err(OpenLogError::Name(instance.to_owned()));
        }
        let names: Vec<Names> = streams
            .iter()
            .map(|stream| Names::new(instance, *stream))
            .collect();
        let failed = |file: &str, source| OpenLogError::Io {
            dir: dir.to_owned(),
            file: file.to_owned(),
            source,
        };
        let (directory, closed) = recover::survey(dir, &names).map_err(|source| {
            let first = names.first().map_or("", Names::live);
            failed(first, source)
        })?;
        let each = names.into_iter().zip(closed);
        each.map(|(names, closed)| {
            let file = names.live().to_owned();
            Self::open(&directory, names, closed, options).map_err(|source| failed(&file, source))
        })
        .collect()
    }

    /// Returns the offset of the next byte: all bytes kept since the first run of the instance.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.stats
    }

    /// Ends, and waits until the closed files at work are compressed: nothing touches the directory afterwards.
    ///
    /// Dropping the writer does not wait. Whoever then removes the directory may find a file in it that was not there.
    pub fn finish(self) {
        #[cfg(feature = "compress")]
        if let Some(compressor) = self.compressor {
            // What cannot be compressed stays as it is, and readable; so it does after a panic.
            let _ended = compressor.join();
        }
    }

    /// Chooses whether closed files are compressed by a thread of this process (the default) or
    /// left for the caller to hand to [`compress_closed`](crate::compress_closed).
    pub fn compress_in_background(&mut self, yes: bool) {
        self.background = yes;
    }

    /// Appends bytes, beginning new files where they would exceed the size limit.
    pub fn write(&mut self, bytes: &[u8]) -> Written {
        self.write_at(bytes, now_ms())
    }

    /// Like [`write`](Self::write), for bytes that arrived at `now_ms`, in milliseconds since the epoch.
    pub fn write_at(&mut self, bytes: &[u8], now_ms: i64) -> Written {
        let mut rest = bytes;
        while !rest.is_empty() {
            let result = self.prepare(now_ms).and_then(|room| {
                let part = &rest[..rest.len().min(room)];
                let live = self.live.as_ref().ok_or(io::ErrorKind::NotFound)?;
                live.file.write_at(part, live.length)
            });
            match result {
                Ok(0) => self.drop_bytes(rest.len(), &io::ErrorKind::WriteZero.into(), now_ms),
                Ok(n) => {
                    self.advance(n);
                    rest = &rest[n..];
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => self.drop_bytes(rest.len(), &error, now_ms),
            }
            break;
        }
        Written {
            kept: bytes.len() - rest.len(),
            dropped: rest.len(),
        }
    }

    /// Writes a marker such as `start pid=71` beside the bytes; it is cut at 200 bytes.
    ///
    /// # Errors
    ///
    /// When the sidecar cannot be written; nothing else is affected.
    pub fn mark(&mut self, text: &str) -> io::Result<()> {
        let (offset, now) = (self.offset, now_ms());
        self.prepare(now)?;
        match self.live.as_mut().and_then(|live| live.times.as_mut()) {
            Some(times) => times.mark(offset, now, text),
            None => Err(io::Error::other("no sidecar")),
        }
        .inspect_err(|error| self.note(error))
    }

    /// Opens the live file for the service itself to append to, as `log.direct` asks for.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn direct(&mut self) -> io::Result<OwnedFd> {
        self.prepare(now_ms())?;
        Ok(self
            .directory
            .open_write(self.names.live(), OFlags::WRONLY | OFlags::APPEND)?
            .into())
    }

    /// Makes room for at least one byte and returns how many bytes fit. Records the time.
    fn prepare(&mut self, now: i64) -> io::Result<usize> {
        self.look(now)?;
        let full = self
            .live
            .as_ref()
            .is_some_and(|live| live.length >= self.limit);
        if full || self.too_old(now) {
            self.rotate(now)?;
        }
        self.make_live(now)?;
        let timestamps = self.options.timestamps;
        let offset = self.offset;
        let Some(live) = self.live.as_mut() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if live.length == 0 {
            live.since = now;
        }
        let room = usize::try_from(self.limit - live.length).unwrap_or(usize::MAX);
        if let Some(times) = live
            .times
            .as_mut()
            .filter(|times| timestamps && times.due(now))
            && let Err(error) = times.time(offset, now)
        {
            self.note(&error);
        }
        Ok(room)
    }

    fn advance(&mut self, n: usize) {
        if n > 0 {
            self.stats.failing = None;
            // Before the offset moves on: the bytes are missing in front of these.
            if self.unrecorded {
                self.record_drops(now_ms());
            }
        }
        let n64 = n as u64;
        if let Some(live) = self.live.as_mut() {
            live.length += n64;
        }
        self.offset += n64;
        self.stats.bytes += n64;
    }

    fn drop_bytes(&mut self, n: usize, error: &io::Error, now: i64) {
        self.note(error);
        self.stats.dropped_bytes += n as u64;
        // The first drop is recorded at once, if the disk lets it; the sum when bytes are kept again.
        if !std::mem::replace(&mut self.unrecorded, true) {
            self.record_drops(now);
            self.unrecorded = true;
        }
    }

    /// Counts bytes that were dropped before they came here, at the present offset.
    pub(crate) fn count_dropped(&mut self, n: u64, now: i64) {
        self.stats.dropped_bytes += n;
        self.unrecorded = true;
        if let Err(error) = self.prepare(now) {
            self.note(&error);
        }
        self.record_drops(now);
    }

    fn record_drops(&mut self, now: i64) {
        if self.unrecorded
            && let Some(times) = self.live.as_mut().and_then(|live| live.times.as_mut())
        {
            self.unrecorded = times
                .dropped(self.offset, now, self.stats.dropped_bytes)
                .is_err();
        }
    }

    fn note(&mut self, error: &io::Error) {
        self.stats.errors += 1;
        self.stats.failing = Some(
            error
                .raw_os_error()
                .unwrap_or(rustix::io::Errno::IO.raw_os_error()),
        );
    }
}
