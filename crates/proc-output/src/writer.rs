//! Writes one stream of one instance to its log files.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pipe::SpliceFlags;

use crate::clock::now_ms;
use crate::closed::ClosedFiles;
use crate::directory::Directory;
use crate::names::{self, Names};
use crate::options::{LogOptions, Stream};
use crate::times::{Header, TimesReader, TimesWriter, What};

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
    directory: Directory,
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
    no_splice: bool,
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

const CHUNK: usize = 64 * 1024;
/// How often, in milliseconds, a look is taken at whether the live file is still there and whole.
const LOOK_MS: i64 = 100;

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
        if !names::valid(instance) {
            return Err(OpenLogError::Name(instance.to_owned()));
        }
        let names = Names::new(instance, stream);
        let file = names.live().to_owned();
        Self::open(dir, names, options).map_err(|source| OpenLogError::Io {
            dir: dir.to_owned(),
            file,
            source,
        })
    }

    fn open(dir: &Path, names: Names, options: &LogOptions) -> io::Result<Self> {
        let directory = Directory::create(dir)?;
        let closed = ClosedFiles::scan(&directory, &names)?;
        let mut writer = Self {
            directory,
            names,
            limit: options.file_limit(),
            options: options.clone(),
            live: None,
            closed,
            offset: 0,
            seq: 1,
            stats: LogStats::default(),
            unrecorded: false,
            no_splice: false,
            buffer: Vec::new(),
            #[cfg(feature = "compress")]
            compressor: None,
            background: true,
        };
        writer.recover(now_ms())?;
        Ok(writer)
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

    /// Moves up to `max` bytes from a pipe to the file without copying them through this process.
    ///
    /// Call it when the pipe is readable. Returns the bytes taken from the pipe, kept or dropped;
    /// 0 is the end of the stream. A descriptor that is not a pipe is read instead.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the pipe is empty (a blocking descriptor that is not a pipe blocks instead),
    /// otherwise what reading met. Failures of the file are not errors here: see [`LogStats`].
    pub fn splice_from(&mut self, pipe: impl AsFd, max: usize) -> io::Result<usize> {
        self.splice_from_at(pipe, max, now_ms())
    }

    fn splice_from_at(&mut self, pipe: impl AsFd, max: usize, now: i64) -> io::Result<usize> {
        let pipe = pipe.as_fd();
        let error = match self.prepare(now) {
            Err(error) => error,
            Ok(_) if self.no_splice => return self.copy_from(pipe, max, now),
            Ok(room) => {
                let Some(live) = self.live.as_ref() else {
                    return self.copy_from(pipe, max, now);
                };
                let mut to = live.length;
                let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                match rustix::pipe::splice(
                    pipe,
                    None,
                    &live.file,
                    Some(&mut to),
                    max.min(room),
                    flags,
                ) {
                    Ok(n) => {
                        self.advance(n);
                        return Ok(n);
                    }
                    Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                    Err(rustix::io::Errno::INTR) => return Err(io::ErrorKind::Interrupted.into()),
                    Err(rustix::io::Errno::INVAL) => {
                        self.no_splice = true;
                        return self.copy_from(pipe, max, now);
                    }
                    Err(errno) => errno.into(),
                }
            }
        };
        // The file refused: what waits in the pipe is taken out all the same, or the service would
        // hang in its next write.
        let n = self.read_chunk(pipe, max)?;
        if n > 0 {
            self.drop_bytes(n, &error, now);
        }
        Ok(n)
    }

    /// Takes bytes by read and write, for file systems and descriptors without splice.
    fn copy_from(&mut self, pipe: impl AsFd, max: usize, now: i64) -> io::Result<usize> {
        let n = self.read_chunk(pipe, max)?;
        let buffer = std::mem::take(&mut self.buffer);
        self.write_at(&buffer[..n], now);
        self.buffer = buffer;
        Ok(n)
    }

    fn read_chunk(&mut self, pipe: impl AsFd, max: usize) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; CHUNK];
        }
        let max = max.min(CHUNK);
        Ok(rustix::io::read(pipe, &mut self.buffer[..max])?)
    }

    /// Closes the live file and begins the next one, unless it is empty.
    ///
    /// # Errors
    ///
    /// When the file system refuses; the next write then tries again.
    pub fn rotate_now(&mut self) -> io::Result<()> {
        let now = now_ms();
        if self.live.as_ref().is_none_or(|live| live.length > 0) {
            self.rotate(now).inspect_err(|error| self.note(error))?;
        }
        Ok(())
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

    /// Does what time asks for: closes a live file that is too old, removes closed ones, compresses.
    ///
    /// Returns after how long the next call is due, if nothing is written until then.
    pub fn housekeep(&mut self) -> Option<Duration> {
        let now = now_ms();
        if let Err(error) = self.prepare(now).and_then(|_| {
            self.record_drops(now);
            self.closed
                .clean(&self.directory, &self.names, &self.options, now)
        }) {
            self.note(&error);
        }
        self.compress();
        let age = i64::try_from(self.options.max_age?.as_millis()).unwrap_or(i64::MAX);
        let live = self
            .live
            .as_ref()
            .filter(|live| live.length > 0)
            .map(|live| live.since);
        let oldest = self
            .closed
            .oldest_at(&self.directory, &self.names)
            .filter(|at| *at < i64::MAX);
        let first = live.into_iter().chain(oldest).min()?;
        let wait = first.saturating_add(age).saturating_sub(now).max(1000);
        Some(Duration::from_millis(wait.unsigned_abs()))
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
        if self.live.is_none() {
            self.begin(now)?;
        }
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

    fn too_old(&self, now: i64) -> bool {
        let (Some(age), Some(live)) = (self.options.max_age, self.live.as_ref()) else {
            return false;
        };
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        live.length > 0 && now.saturating_sub(live.since) >= age
    }

    fn advance(&mut self, n: usize) {
        let n64 = n as u64;
        if let Some(live) = self.live.as_mut() {
            live.length += n64;
        }
        self.offset += n64;
        self.stats.bytes += n64;
        if n > 0 {
            self.stats.failing = None;
            if self.unrecorded {
                self.record_drops(now_ms());
            }
        }
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

    /// Looks whether somebody removed or truncated the live file, as `> web.log` and `rm` do.
    fn look(&mut self, now: i64) -> io::Result<()> {
        let Some(live) = self.live.as_mut() else {
            return Ok(());
        };
        if (now - live.seen).unsigned_abs() < LOOK_MS.unsigned_abs() {
            return Ok(());
        }
        live.seen = now;
        let meta = live.file.metadata()?;
        if meta.nlink() == 0 {
            self.live = None;
            return Ok(());
        }
        if meta.size() == live.length {
            return Ok(());
        }
        if self.options.direct && meta.size() > live.length {
            let more = meta.size() - live.length;
            live.length = meta.size();
            self.offset += more;
            self.stats.bytes += more;
            return Ok(());
        }
        live.length = meta.size();
        let header = Header {
            seq: self.seq,
            base: self.offset.saturating_sub(meta.size()),
            dropped: self.stats.dropped_bytes,
            at: now,
        };
        live.times = None;
        let mut times = self.begin_times(header)?;
        times.mark(self.offset, now, "changed by somebody else")?;
        if let Some(live) = self.live.as_mut() {
            live.times = Some(times);
        }
        Ok(())
    }

    /// Closes the live file under its number and begins the next.
    fn rotate(&mut self, now: i64) -> io::Result<()> {
        self.record_drops(now);
        if let Some(mut live) = self.live.take() {
            if let Some(times) = live.times.as_mut() {
                let _ = times.end(self.offset, now); // the length of the file says the same
            }
            // Log before sidecar, old names before new ones: `recover` reads the order backwards.
            if let Err(error) = self
                .directory
                .rename(self.names.live(), &self.names.closed(self.seq))
            {
                self.live = Some(live);
                return Err(error);
            }
            self.closed.push(self.seq);
            let _ = self
                .directory
                .rename(&self.names.times(), &self.names.closed_times(self.seq));
            self.seq += 1;
            self.stats.rotations += 1;
        }
        self.begin(now)?;
        self.closed
            .clean(&self.directory, &self.names, &self.options, now)?;
        self.compress();
        Ok(())
    }

    /// Begins an empty live file with its sidecar.
    fn begin(&mut self, now: i64) -> io::Result<()> {
        let header = Header {
            seq: self.seq,
            base: self.offset,
            dropped: self.stats.dropped_bytes,
            at: now,
        };
        let times = self.begin_times(header)?;
        let file = self
            .directory
            .open_write(self.names.live(), OFlags::WRONLY | OFlags::TRUNC)?;
        self.live = Some(Live {
            file,
            times: Some(times),
            length: 0,
            since: now,
            seen: now,
        });
        Ok(())
    }

    fn begin_times(&self, header: Header) -> io::Result<TimesWriter> {
        let file = self
            .directory
            .open_write(&self.names.times(), OFlags::RDWR)?;
        TimesWriter::begin(file, header, self.times_limit())
    }

    /// Returns the size at which a sidecar ceases: an eighth of its log, or 1 MiB.
    fn times_limit(&self) -> u64 {
        (self.limit / 8).clamp(64 * 1024, 1024 * 1024)
    }

    /// Continues what is on disk, whatever the last writer was doing when it ended.
    fn recover(&mut self, now: i64) -> io::Result<()> {
        self.seq = self.closed.last().map_or(1, |file| file.seq + 1);
        let live = self.directory.open_read(self.names.live())?;
        // A rotation that got no further than renaming the log.
        if live.is_none()
            && let Some(last) = self.closed.last()
            && self
                .header_of(&self.names.times())?
                .is_some_and(|header| header.seq == last.seq)
        {
            self.directory
                .rename(&self.names.times(), &self.names.closed_times(last.seq))?;
        }
        if let Some(end) = self
            .closed
            .last()
            .map(|last| self.end_of_closed(last.seq))
            .transpose()?
        {
            (self.offset, self.stats.dropped_bytes) = end;
        }
        if live.is_none() {
            // Somebody may have removed the live file alone: its sidecar knows how far it went.
            let sidecar = self
                .directory
                .open_read(&self.names.times())?
                .map(last_of)
                .transpose()?
                .flatten();
            if let Some((_, end, dropped)) = sidecar {
                self.offset = self.offset.max(end);
                self.stats.dropped_bytes = self.stats.dropped_bytes.max(dropped);
            }
            return self.begin(now);
        }
        self.resume(now)
    }

    /// Continues the live file.
    fn resume(&mut self, now: i64) -> io::Result<()> {
        let file = self
            .directory
            .open_write(self.names.live(), OFlags::WRONLY)?;
        let meta = file.metadata()?;
        let length = meta.size();
        let since = meta.mtime().saturating_mul(1000);
        let sidecar = self
            .directory
            .open_write(&self.names.times(), OFlags::RDWR)?;
        let known = self.header_of(&self.names.times())?;
        let end = known.map_or(u64::MAX, |header| header.base.saturating_add(length));
        let times = match TimesWriter::resume(sidecar, end, self.times_limit())? {
            Some((times, header, dropped)) if header.seq >= self.seq => {
                self.seq = header.seq;
                self.offset = header.base + length;
                self.stats.dropped_bytes = dropped;
                self.live = Some(Live {
                    file,
                    times: Some(times),
                    length,
                    since: header.at,
                    seen: now,
                });
                return Ok(());
            }
            // No sidecar, or that of another file: the bytes follow the last closed file's.
            _ => {
                let header = Header {
                    seq: self.seq,
                    base: self.offset,
                    dropped: self.stats.dropped_bytes,
                    at: since,
                };
                self.begin_times(header)?
            }
        };
        self.offset += length;
        self.live = Some(Live {
            file,
            times: Some(times),
            length,
            since,
            seen: now,
        });
        Ok(())
    }

    fn header_of(&self, name: &str) -> io::Result<Option<Header>> {
        match self.directory.open_read(name)? {
            Some(file) => TimesReader::new(file).header(),
            None => Ok(None),
        }
    }

    /// Returns offset and drops at the end of a closed file.
    fn end_of_closed(&self, seq: u64) -> io::Result<(u64, u64)> {
        let sidecar = self
            .directory
            .open_read(&self.names.closed_times(seq))?
            .map(last_of)
            .transpose()?
            .flatten();
        let (base, end, dropped) = sidecar.unwrap_or((0, 0, 0));
        let length = self
            .directory
            .stat(&self.names.closed(seq))
            .map_or(0, |(size, _)| size);
        Ok((end.max(base + length), dropped))
    }

    #[cfg(feature = "compress")]
    fn compress(&mut self) {
        if !self.options.compress
            || !self.background
            || self.compressor.as_ref().is_some_and(|c| !c.is_finished())
        {
            return;
        }
        let mut paths = Vec::new();
        while let Some(seq) = self.closed.take_plain() {
            paths.push(self.directory.path().join(self.names.closed(seq)));
        }
        if paths.is_empty() {
            return;
        }
        let work = move || {
            for path in paths {
                // A file that cannot be compressed stays as it is, and readable.
                let _ = crate::compress::compress_closed(&path);
            }
        };
        let builder = std::thread::Builder::new()
            .name("log-gzip".to_owned())
            .stack_size(1024 * 1024);
        self.compressor = builder.spawn(work).ok();
    }

    #[cfg(not(feature = "compress"))]
    fn compress(&mut self) {
        let _ = self.background;
    }
}

/// Returns base, last offset and drops of a sidecar.
fn last_of(file: File) -> io::Result<Option<(u64, u64, u64)>> {
    let mut reader = TimesReader::new(file);
    let Some(header) = reader.header()? else {
        return Ok(None);
    };
    let (mut end, mut dropped) = (header.base, header.dropped);
    while let Some(record) = reader.next()? {
        end = record.offset;
        if let What::Dropped(total) = record.what {
            dropped = total;
        }
    }
    Ok(Some((header.base, end, dropped)))
}
