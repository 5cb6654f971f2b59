//! Finds where to begin: the last lines or bytes, or a time, without reading everything.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;

use crate::directory::Directory;
use crate::names::Names;
use crate::read::segment::{Segment, newest_first};
use crate::times::{TimesReader, What};

const BLOCK: u64 = 64 * 1024;

/// Returns the offset at which the last `n` lines begin; an unterminated last line is a line.
pub(crate) fn last_lines(
    directory: &Directory,
    names: &Names,
    closed: &[u64],
    n: usize,
) -> io::Result<u64> {
    let mut search = Search {
        left: n,
        last: true,
    };
    let mut start = None;
    for mut segment in newest_first(directory, names, closed)? {
        let base = segment.base.unwrap_or(0);
        if n == 0 {
            return Ok(base + segment.length()?);
        }
        let found = if segment.is_plain() {
            search.backwards(&mut segment)?
        } else {
            search.forwards(&mut segment)?
        };
        if let Some(position) = found {
            return Ok(base + position);
        }
        start = Some(base);
    }
    Ok(start.unwrap_or(0))
}

/// Returns the offset from which on bytes arrived at `since` or later, in milliseconds since 1970.
pub(crate) fn since(
    directory: &Directory,
    names: &Names,
    closed: &[u64],
    since: i64,
) -> io::Result<u64> {
    // The last file begun before that time holds the place.
    for mut segment in newest_first(directory, names, closed)? {
        let Some(base) = segment.base else { continue };
        if segment.at.is_some_and(|at| at >= since) {
            continue;
        }
        let Some(times) = segment.times.as_mut() else {
            return Ok(base);
        };
        let mut timed = false;
        while let Some(record) = times.next()? {
            if record.what == What::Time {
                timed = true;
                if record.at >= since {
                    return Ok(record.offset);
                }
            }
        }
        return Ok(if timed {
            base + segment.length()?
        } else {
            base
        });
    }
    Ok(0)
}

/// Looks for the newline before the n-th line from the end.
struct Search {
    left: usize,
    /// Whether the next byte backwards is the very last one, whose newline ends the last line.
    last: bool,
}

impl Search {
    /// Searches a plain file from its end; the position behind the newline, if it is in here.
    fn backwards(&mut self, segment: &mut Segment) -> io::Result<Option<u64>> {
        let mut buffer = vec![0; BLOCK as usize];
        let mut end = segment.length()?;
        while end > 0 {
            let start = end.saturating_sub(BLOCK);
            let block = &mut buffer[..(end - start) as usize];
            segment.file.read_exact_at(block, start)?;
            let mut block: &[u8] = block;
            if std::mem::take(&mut self.last) {
                block = block.strip_suffix(b"\n").unwrap_or(block);
            }
            for at in memchr::memrchr_iter(b'\n', block) {
                self.left -= 1;
                if self.left == 0 {
                    return Ok(Some(start + at as u64 + 1));
                }
            }
            end = start;
        }
        Ok(None)
    }

    /// Searches a compressed file from its beginning, remembering as many newlines as are needed.
    fn forwards(&mut self, segment: &mut Segment) -> io::Result<Option<u64>> {
        let mut recent: VecDeque<u64> = VecDeque::new();
        let mut buffer = vec![0; BLOCK as usize];
        let mut position = 0;
        loop {
            let n = segment.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            for at in memchr::memchr_iter(b'\n', &buffer[..n]) {
                // One more than needed: the very last may turn out to be the file's last byte.
                if recent.len() > self.left {
                    recent.pop_front();
                }
                recent.push_back(position + at as u64);
            }
            position += n as u64;
        }
        if position > 0
            && std::mem::take(&mut self.last)
            && recent.back().is_some_and(|at| at + 1 == position)
        {
            recent.pop_back();
        }
        while recent.len() > self.left {
            recent.pop_front();
        }
        if recent.len() == self.left {
            return Ok(recent.front().map(|at| at + 1));
        }
        self.left -= recent.len();
        Ok(None)
    }
}

/// Returns base, end and number of dropped bytes that a sidecar tells of.
pub(crate) fn account(times: &mut TimesReader) -> io::Result<Option<Account>> {
    let Some(header) = times.header()? else {
        return Ok(None);
    };
    let mut account = Account {
        seen: header.base,
        end: None,
        dropped: header.dropped,
        dropped_before: header.dropped,
    };
    while let Some(record) = times.next()? {
        account.seen = record.offset;
        match record.what {
            What::Dropped(total) => account.dropped = total,
            What::End => account.end = Some(record.offset),
            What::Time | What::Mark(_) => {}
        }
    }
    Ok(Some(account))
}

/// What a sidecar says of its log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    /// The last offset it mentions.
    pub(crate) seen: u64,
    /// Where the log ends, once it is closed.
    pub(crate) end: Option<u64>,
    pub(crate) dropped: u64,
    pub(crate) dropped_before: u64,
}
