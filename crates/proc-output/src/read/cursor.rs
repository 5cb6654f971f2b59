//! A position in one stream that moves on over all its files.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::directory::Directory;
use crate::names::Names;
use crate::read::segment::{Segment, closed_seqs, newest_first};
use crate::times::What;

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
    /// The time of the bytes last asked for, and what is known of later ones: from where, and when.
    at: Option<i64>,
    ahead: VecDeque<(u64, i64)>,
    /// The offset up to which the sidecar was read.
    told: Option<u64>,
    /// Bytes dropped up to there, and the gaps that nobody took yet.
    dropped: u64,
    gaps: VecDeque<Gap>,
}

/// A place at which bytes were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) offset: u64,
    pub(crate) at: i64,
    pub(crate) bytes: u64,
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
            ahead: VecDeque::new(),
            told: None,
            dropped: 0,
            gaps: VecDeque::new(),
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
            self.load(u64::MAX)?;
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
        // What was dropped before is no business of who reads from here.
        self.load(self.offset)?;
        while self.gap_within(self.offset)?.is_some() {}
        Ok(())
    }

    /// Moves to the oldest byte kept.
    pub(crate) fn rewind(&mut self) {
        (self.current, self.next_seq, self.offset, self.lost) = (None, 0, 0, 0);
        (self.at, self.told, self.began) = (None, None, false);
        self.ahead.clear();
        self.gaps.clear();
    }

    /// Returns when the byte at `offset` arrived, in milliseconds since the epoch; offsets must not go back.
    pub(crate) fn time_of(&mut self, offset: u64) -> io::Result<Option<i64>> {
        self.load(offset)?;
        while let Some((_, at)) = self.ahead.front().filter(|(from, _)| *from <= offset) {
            self.at = Some(*at);
            self.ahead.pop_front();
        }
        Ok(self.at)
    }

    /// Takes the next gap, if it lies at `end` or before.
    pub(crate) fn gap_within(&mut self, end: u64) -> io::Result<Option<Gap>> {
        self.load(end)?;
        let is_within = self.gaps.front().is_some_and(|gap| gap.offset <= end);
        Ok(if is_within {
            self.gaps.pop_front()
        } else {
            None
        })
    }

    /// Reads the sidecar until it speaks of bytes behind `offset`.
    fn load(&mut self, offset: u64) -> io::Result<()> {
        let Some(times) = self
            .current
            .as_mut()
            .and_then(|segment| segment.times.as_mut())
        else {
            return Ok(());
        };
        while self.told.is_none_or(|told| told <= offset) {
            let Some(record) = times.next()? else { break };
            self.told = Some(record.offset);
            match record.what {
                What::Time => self.ahead.push_back((record.offset, record.at)),
                What::Dropped(total) => {
                    let bytes = total.saturating_sub(self.dropped);
                    self.dropped = total;
                    if bytes > 0 {
                        self.gaps.push_back(Gap {
                            offset: record.offset,
                            at: record.at,
                            bytes,
                        });
                    }
                }
                What::Mark(_) | What::End => {}
            }
        }
        Ok(())
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

    fn enter(&mut self, mut segment: Segment) -> bool {
        let base = segment.base.unwrap_or(self.offset);
        let header = segment.times.as_mut().and_then(|times| times.header().ok());
        let dropped = header.flatten().map(|header| header.dropped);
        if self.began {
            self.lost += base.saturating_sub(self.offset);
            if let Some(bytes) = dropped.and_then(|dropped| dropped.checked_sub(self.dropped))
                && bytes > 0
            {
                // Between two files, where no sidecar could be written.
                self.gaps.push_back(Gap {
                    offset: base,
                    at: segment.at.unwrap_or_default(),
                    bytes,
                });
            }
        }
        self.dropped = dropped.unwrap_or(self.dropped);
        self.offset = base;
        self.began = true;
        (self.at, self.told) = (None, None);
        self.ahead.clear();
        self.current = Some(segment);
        true
    }
}
