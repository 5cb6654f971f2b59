//! A position in one stream that moves on over all its files.

use std::io;
use std::sync::Arc;

use crate::directory::Directory;
use crate::names::Names;
use crate::read::segment::{Segment, closed_seqs, newest_first};
use crate::times::{Record, What};

/// Reads one stream forward from an offset, over rotations, as long as one likes.
#[derive(Debug)]
pub(crate) struct Cursor {
    directory: Arc<Directory>,
    names: Names,
    current: Option<Segment>,
    /// The lowest number that the next file may have.
    next_seq: u64,
    /// The offset of the next byte.
    offset: u64,
    /// Whether any file was entered: a gap before that is nobody's loss.
    began: bool,
    /// Bytes that were removed before they could be read.
    lost: u64,
    /// The time of the bytes at `offset`, and the first record that speaks of later ones.
    at: Option<i64>,
    ahead: Option<Record>,
}

/// How often a listing is repeated that a rotation made stale, before what is there is believed.
const ATTEMPTS: u32 = 20;

impl Cursor {
    /// Returns a cursor at the oldest byte kept.
    pub(crate) fn oldest(directory: Arc<Directory>, names: Names) -> Self {
        Self {
            directory,
            names,
            current: None,
            next_seq: 0,
            offset: 0,
            began: false,
            lost: 0,
            at: None,
            ahead: None,
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the file being read, if it is the live one.
    pub(crate) fn live_file(&self) -> Option<&std::fs::File> {
        self.current
            .as_ref()
            .filter(|segment| segment.live)
            .map(|segment| &segment.file)
    }

    /// Returns when the file being read was begun, in milliseconds since the epoch.
    pub(crate) fn begun_at(&self) -> Option<i64> {
        self.current.as_ref().and_then(|segment| segment.at)
    }

    /// Reads the next bytes; 0 means that there are no more now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(0);
            }
            let Some(segment) = self.current.as_mut() else {
                return Ok(0);
            };
            let mut n = segment.read(buffer)?;
            if n == 0 && segment.live {
                if segment.still_live(&self.directory, &self.names) {
                    return Ok(0);
                }
                // Renamed meanwhile: its writer was done with it before that, so that what this
                // read does not find will never come.
                n = segment.read(buffer)?;
                segment.live = n > 0;
            }
            if n > 0 {
                self.offset += n as u64;
                return Ok(n);
            }
            self.next_seq = segment.seq + 1;
            self.current = None;
        }
    }

    /// Moves to the oldest byte of the closed files listed, or of the live one.
    pub(crate) fn seek_oldest(&mut self, closed: &[u64]) -> io::Result<()> {
        self.rewind();
        self.next_seq = match (
            closed.first(),
            Segment::live(&self.directory, &self.names, 0)?,
        ) {
            (Some(seq), _) => *seq,
            (None, Some(live)) if live.seq > 0 => {
                // None listed: unless the live file has a predecessor by now, it is the oldest.
                let before = live.seq - 1;
                let closed = Segment::closed(&self.directory, &self.names, before)?;
                if closed.is_some() { 0 } else { live.seq }
            }
            (None, _) => 0,
        };
        Ok(())
    }

    /// Moves to an offset; one that is not kept any more becomes the oldest kept.
    pub(crate) fn seek(&mut self, offset: u64, closed: &[u64]) -> io::Result<()> {
        self.seek_oldest(closed)?;
        let holds = |segment: &Segment| segment.base.is_some_and(|base| base <= offset);
        // From the newest back: what is looked for is near the end more often than not.
        for segment in newest_first(&self.directory, &self.names, closed)? {
            if holds(&segment) {
                self.next_seq = segment.seq;
                break;
            }
        }
        while self.open_next()? {
            let Some(segment) = self.current.as_mut() else {
                break;
            };
            let ahead = offset.saturating_sub(self.offset);
            self.offset += segment.skip(ahead)?;
            if self.offset >= offset || segment.live {
                break;
            }
            self.next_seq = segment.seq + 1;
            self.current = None;
        }
        self.lost = 0;
        Ok(())
    }

    /// Moves to the oldest byte kept.
    pub(crate) fn rewind(&mut self) {
        (self.current, self.next_seq, self.offset, self.lost) = (None, 0, 0, 0);
        (self.at, self.ahead, self.began) = (None, None, false);
    }

    /// Returns when the byte at `offset` arrived, in milliseconds since the epoch; offsets must not go back.
    pub(crate) fn time_of(&mut self, offset: u64) -> io::Result<Option<i64>> {
        let Some(times) = self
            .current
            .as_mut()
            .and_then(|segment| segment.times.as_mut())
        else {
            return Ok(self.at);
        };
        loop {
            let record = match self.ahead.take() {
                Some(record) => record,
                None => match times.next()? {
                    Some(record) => record,
                    None => return Ok(self.at),
                },
            };
            if record.offset > offset {
                self.ahead = Some(record);
                return Ok(self.at);
            }
            if record.what == What::Time {
                self.at = Some(record.at);
            }
        }
    }

    /// Opens the next file in order; false if there is none yet.
    fn open_next(&mut self) -> io::Result<bool> {
        // The usual case needs no look at the whole directory.
        if self.next_seq > 0 {
            if let Some(segment) = Segment::closed(&self.directory, &self.names, self.next_seq)? {
                return Ok(self.enter(segment));
            }
            let live = Segment::live(&self.directory, &self.names, 0)?;
            if let Some(segment) = live.filter(|segment| segment.seq == self.next_seq) {
                return Ok(self.enter(segment));
            }
        }
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let closed = closed_seqs(&self.directory, &self.names)?;
            if let Some(&seq) = closed.iter().find(|seq| **seq >= self.next_seq) {
                match Segment::closed(&self.directory, &self.names, seq)? {
                    Some(segment) => return Ok(self.enter(segment)),
                    None => continue, // removed between the listing and here
                }
            }
            let after = closed.last().map_or(1, |seq| seq + 1).max(self.next_seq);
            let live = Segment::live(&self.directory, &self.names, after)?;
            let found = live.as_ref().map(|segment| segment.seq);
            if found == Some(after) {
                return Ok(live.is_some_and(|segment| self.enter(segment)));
            }
            // None, or not the expected one: a rotation happened between the two looks, or files
            // were removed by hand. The first shows as a change when looked at again.
            let now = Some((closed, found));
            if before != now {
                before = now;
                continue;
            }
            let Some(segment) = live else {
                return Ok(false);
            };
            if segment.seq < self.next_seq {
                self.rewind(); // begun anew: somebody emptied the directory
            }
            return Ok(self.enter(segment));
        }
        Ok(false)
    }

    fn enter(&mut self, segment: Segment) -> bool {
        let base = segment.base.unwrap_or(self.offset);
        if self.began {
            self.lost += base.saturating_sub(self.offset);
        }
        self.offset = base;
        self.began = true;
        self.at = None;
        self.ahead = None;
        self.current = Some(segment);
        true
    }
}
