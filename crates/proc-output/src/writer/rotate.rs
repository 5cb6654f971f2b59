//! When a file is full or old: the next one, and what becomes of the earlier ones.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::fs::OFlags;

use super::{Live, LogWriter};
use crate::clock::now_ms;
use crate::times::{Header, TimesWriter};

/// How often, in milliseconds, a look is taken at whether the live file is still there and whole.
const LOOK_MS: i64 = 100;

impl LogWriter {
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

    pub(super) fn too_old(&self, now: i64) -> bool {
        let (Some(age), Some(live)) = (self.options.max_age, self.live.as_ref()) else {
            return false;
        };
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        live.length > 0 && now.saturating_sub(live.since) >= age
    }

    /// Looks whether somebody removed or truncated the live file, as `> web.log` and `rm` do.
    pub(super) fn look(&mut self, now: i64) -> io::Result<()> {
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
    pub(super) fn rotate(&mut self, now: i64) -> io::Result<()> {
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

    /// Begins the live file where there is none.
    pub(super) fn make_live(&mut self, now: i64) -> io::Result<()> {
        if self.live.is_none() {
            self.begin(now)?;
        }
        Ok(())
    }

    /// Begins an empty live file with its sidecar.
    pub(super) fn begin(&mut self, now: i64) -> io::Result<()> {
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

    pub(super) fn begin_times(&self, header: Header) -> io::Result<TimesWriter> {
        let file = self
            .directory
            .open_write(&self.names.times(), OFlags::RDWR | OFlags::TRUNC)?;
        TimesWriter::begin(file, header, self.times_limit())
    }

    /// Returns the size at which a sidecar ceases: an eighth of its log, or 1 MiB.
    pub(super) fn times_limit(&self) -> u64 {
        (self.limit / 8).clamp(64 * 1024, 1024 * 1024)
    }

    #[cfg(feature = "compress")]
    pub(super) fn compress(&mut self) {
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
            // Of this thread alone: nobody waits for it.
            let _ = rustix::process::setpriority_process(None, 19);
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
    pub(super) fn compress(&mut self) {
        let _ = self.background;
    }
}
