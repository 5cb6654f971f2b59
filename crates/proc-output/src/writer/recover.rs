//! Continues what is on disk, whatever the last writer was doing when it ended.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::{Live, LogStats, LogWriter};
use crate::clock::now_ms;
use crate::closed::ClosedFiles;
use crate::directory::Directory;
use crate::names::Names;
use crate::options::LogOptions;
use crate::times::{Header, TimesReader, TimesWriter, What};

/// Opens a directory, and finds in it the closed files of each of these streams.
pub(super) fn survey(
    dir: &Path,
    streams: &[Names],
) -> io::Result<(Arc<Directory>, Vec<ClosedFiles>)> {
    let directory = Directory::create(dir)?;
    let closed = ClosedFiles::scan(&directory, streams)?;
    Ok((Arc::new(directory), closed))
}

impl LogWriter {
    pub(super) fn open(
        directory: &Arc<Directory>,
        names: Names,
        closed: ClosedFiles,
        options: &LogOptions,
    ) -> io::Result<Self> {
        let mut writer = Self {
            directory: Arc::clone(directory),
            names,
            limit: options.file_limit(),
            options: options.clone(),
            live: None,
            closed,
            offset: 0,
            seq: 1,
            stats: LogStats::default(),
            unrecorded: false,
            way: super::splice::Way::default(),
            buffer: Vec::new(),
            #[cfg(feature = "compress")]
            compressor: None,
            background: true,
        };
        writer.recover()?;
        Ok(writer)
    }

    /// Continues what is on disk, whatever the last writer was doing when it ended. A live file that is not there is left
    /// to the first who has something to write.
    fn recover(&mut self) -> io::Result<()> {
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
            return self.directory.check_writable();
        }
        self.resume(now_ms())
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
