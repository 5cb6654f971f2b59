//! The entries of one stream.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::directory::Directory;
use crate::names::Names;
use crate::options::Stream;
use crate::read::cursor::{Cursor, Gap};
use crate::read::entry::{Entry, Query};
use crate::read::locate;
use crate::split::{Line, LineSplitter};

const CHUNK: usize = 16 * 1024;

/// One stream of one instance, read line by line.
#[derive(Debug)]
pub(crate) struct StreamEntries {
    instance: Arc<str>,
    stream: Stream,
    cursor: Cursor,
    splitter: LineSplitter,
    max_line: usize,
    /// When the held beginning of a line arrived; the outer `None` where nothing is held.
    held_at: Option<Option<i64>>,
    /// When it was read, by the clock that only goes forward.
    held_since: Option<Instant>,
    ready: VecDeque<Entry>,
    since: Option<i64>,
    until: Option<i64>,
    /// Whether everything up to `until` was read.
    over: bool,
    /// The largest time handed out, which orders entries whose clock was set back.
    pub(crate) order: i64,
}

impl StreamEntries {
    pub(crate) fn open(
        directory: &Arc<Directory>,
        instance: &Arc<str>,
        stream: Stream,
        query: &Query,
        closed: &[u64],
    ) -> io::Result<Self> {
        let names = Names::new(instance, stream);
        let mut cursor = Cursor::oldest(Arc::clone(directory), names.clone());
        if let Some(since) = query.since {
            let start = locate::since(directory, &names, closed, since)?;
            cursor.seek(start, closed)?;
        } else if let (Some(n), None) = (query.tail, query.until) {
            let start = locate::last_lines(directory, &names, closed, n)?;
            cursor.seek(start, closed)?;
        } else {
            cursor.seek_oldest(closed)?;
        }
        let max_line = query.max_line.max(4);
        let splitter = LineSplitter::at(max_line, cursor.offset());
        Ok(Self {
            instance: Arc::clone(instance),
            stream,
            cursor,
            splitter,
            max_line,
            held_at: None,
            held_since: None,
            ready: VecDeque::new(),
            since: query.since,
            until: query.until,
            over: false,
            order: i64::MIN,
        })
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Returns the next whole line (or piece of one), or `None` if there is none now.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut buffer = [0; CHUNK];
        loop {
            while let Some(entry) = self.ready.pop_front() {
                if self.wanted(&entry) {
                    self.order = self.order.max(entry.at.unwrap_or(i64::MIN));
                    return Ok(Some(entry));
                }
            }
            if self.over {
                return Ok(None);
            }
            let n = self.cursor.read(&mut buffer)?;
            if n == 0 {
                // At the very end, where no line follows that would bring it.
                let end = self.cursor.offset();
                if self.splitter.held() == 0
                    && let Some(gap) = self.cursor.gap_within(end)?
                {
                    self.ready.push_back(self.gap(gap));
                    continue;
                }
                return Ok(None);
            }
            self.take(&buffer[..n])?;
            // Files are begun in the order of time: what follows is later still.
            self.over = self
                .until
                .is_some_and(|until| self.cursor.begun_at().is_some_and(|at| at > until));
        }
    }

    /// Returns the beginning of a line that has no end yet: as the last one (`finish`), or cut.
    /// There may be more to come from [`next`](Self::next) then.
    pub(crate) fn rest(&mut self, finish: bool) -> io::Result<Option<Entry>> {
        self.end_line(finish)?;
        while let Some(entry) = self.ready.pop_front() {
            if self.wanted(&entry) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn end_line(&mut self, finish: bool) -> io::Result<()> {
        let at = self.held_at.take().flatten();
        self.held_since = None;
        let mut rest = None;
        let (instance, stream) = (&self.instance, self.stream);
        let each = |line: Line<'_>| rest = Some(entry(instance, stream, line, at));
        if finish {
            self.splitter.finish(each)
        } else {
            self.splitter.flush(each)
        }
        rest.map_or(Ok(()), |rest| put(&mut self.ready, &mut self.cursor, rest))
    }

    fn gap(&self, gap: Gap) -> Entry {
        gap_entry(&self.instance, self.stream, gap)
    }

    /// Returns since when the beginning of a line waits for its end.
    pub(crate) fn held_since(&self) -> Option<Instant> {
        self.held_since
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let start = self.cursor.offset() - bytes.len() as u64;
        if start != self.splitter.offset() + self.splitter.held() as u64 {
            // Bytes between were removed before they could be read: two lines, not one.
            self.end_line(true)?;
            self.splitter = LineSplitter::at(self.max_line, start);
        }
        let Self {
            cursor,
            splitter,
            ready,
            held_at,
            held_since,
            instance,
            stream,
            ..
        } = self;
        let mut result = Ok(());
        splitter.push(bytes, |line| {
            let at = match held_at.take() {
                Some(at) => at,
                None => cursor.time_of(line.offset).unwrap_or_else(|error| {
                    result = Err(error);
                    None
                }),
            };
            let line = entry(instance, *stream, line, at);
            result = std::mem::replace(&mut result, Ok(())).and(put(ready, cursor, line));
        });
        if splitter.held() == 0 {
            *held_since = None;
        } else if held_at.is_none() {
            *held_at = Some(cursor.time_of(splitter.offset())?);
            *held_since = Some(Instant::now());
        }
        result
    }

    fn wanted(&self, entry: &Entry) -> bool {
        let Some(at) = entry.at else { return true };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }
}

fn entry(instance: &Arc<str>, stream: Stream, line: Line<'_>, at: Option<i64>) -> Entry {
    let Line {
        bytes,
        offset,
        continued,
        cut,
    } = line;
    Entry {
        instance: Arc::clone(instance),
        stream,
        offset,
        at,
        bytes: bytes.to_vec(),
        continued,
        cut,
        dropped_bytes: 0,
    }
}

/// Hands a line on, taken apart where bytes were dropped within it.
fn put(ready: &mut VecDeque<Entry>, cursor: &mut Cursor, mut line: Entry) -> io::Result<()> {
    // A gap at its very end stands before the line that follows.
    let last = (line.offset + line.bytes.len() as u64).saturating_sub(1);
    while let Some(gap) = cursor.gap_within(last)? {
        let before = usize::try_from(gap.offset.saturating_sub(line.offset)).unwrap_or(0);
        if before > 0 {
            let rest = line.bytes.split_off(before.min(line.bytes.len()));
            ready.push_back(Entry {
                cut: true,
                ..line.clone()
            });
            line.offset += line.bytes.len() as u64;
            (line.bytes, line.continued) = (rest, true);
        }
        ready.push_back(gap_entry(&line.instance, line.stream, gap));
    }
    ready.push_back(line);
    Ok(())
}

fn gap_entry(instance: &Arc<str>, stream: Stream, gap: Gap) -> Entry {
    Entry {
        instance: Arc::clone(instance),
        stream,
        offset: gap.offset,
        at: Some(gap.at),
        bytes: Vec::new(),
        continued: false,
        cut: false,
        dropped_bytes: gap.bytes,
    }
}
