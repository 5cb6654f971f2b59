//! The last lines of a process, in memory, numbered so that a client can ask for what came since.

use std::collections::VecDeque;

use crate::options::Stream;

/// A line kept in a [`LineRing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingLine {
    /// The number of the line, counted from 0 over all lines ever pushed.
    pub offset: u64,
    /// Where it was written.
    pub stream: Stream,
    /// The bytes as pushed, terminator included where it was.
    pub bytes: Box<[u8]>,
    /// Whether the line was longer than the ring may hold, and lost its end.
    pub cut: bool,
}

/// An answer to [`LineRing::since`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The lines, oldest first.
    pub lines: Vec<RingLine>,
    /// The offset to ask for next: right behind the last line returned.
    pub next: u64,
    /// Lines asked for that had been overwritten already.
    pub missed: u64,
}

/// Keeps the last lines, bounded by their number and by the sum of their bytes.
///
/// ```
/// use proc_output::{LineRing, Stream};
///
/// let mut ring = LineRing::new(500, 64 * 1024);
/// for text in ["one\n", "two\n", "three\n"] {
///     ring.push(Stream::Stdout, text.as_bytes());
/// }
/// let page = ring.since(0, 2);
/// assert_eq!((page.lines.len(), page.next), (2, 2));
/// assert_eq!(&*ring.since(page.next, 100).lines[0].bytes, b"three\n");
/// ```
#[derive(Debug, Clone)]
pub struct LineRing {
    lines: VecDeque<RingLine>,
    max_lines: usize,
    max_bytes: usize,
    bytes: usize,
    next: u64,
}

impl LineRing {
    /// Returns an empty ring for `max_lines` lines of together `max_bytes` bytes; 0 of either keeps
    /// nothing.
    #[must_use]
    pub const fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            max_lines,
            max_bytes,
            bytes: 0,
            next: 0,
        }
    }

    /// Appends a line and drops the oldest ones that do not fit beside it.
    pub fn push(&mut self, stream: Stream, line: &[u8]) {
        let offset = self.next;
        self.next += 1;
        if self.max_lines == 0 || self.max_bytes == 0 {
            return;
        }
        let cut = line.len() > self.max_bytes;
        let bytes: Box<[u8]> = line[..line.len().min(self.max_bytes)].into();
        while self.lines.len() >= self.max_lines || self.bytes + bytes.len() > self.max_bytes {
            let Some(old) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= old.bytes.len();
        }
        self.bytes += bytes.len();
        self.lines.push_back(RingLine {
            offset,
            stream,
            bytes,
            cut,
        });
    }

    /// Returns up to `limit` lines from number `offset` on; overwritten ones are counted as missed.
    #[must_use]
    pub fn since(&self, offset: u64, limit: usize) -> Page {
        let first = self.first();
        let missed = first.min(self.next).saturating_sub(offset);
        let skip = usize::try_from(offset.saturating_sub(first)).unwrap_or(usize::MAX);
        let lines: Vec<_> = self.lines.iter().skip(skip).take(limit).cloned().collect();
        let next = lines
            .last()
            .map_or(offset.clamp(first, self.next), |line| line.offset + 1);
        Page {
            lines,
            next,
            missed,
        }
    }

    /// Returns the last `n` lines, oldest first.
    pub fn tail(&self, n: usize) -> impl Iterator<Item = &RingLine> {
        self.lines.iter().skip(self.lines.len().saturating_sub(n))
    }

    /// Returns the number of the oldest line kept; of none kept, that of the next line.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.lines.front().map_or(self.next, |line| line.offset)
    }

    /// Returns the number that the next line will have.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Returns the number of lines kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Says whether no line is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the sum of the bytes kept.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offsets(page: &Page) -> Vec<u64> {
        page.lines.iter().map(|line| line.offset).collect()
    }

    #[test]
    fn paging_neither_skips_nor_repeats() {
        let mut ring = LineRing::new(500, usize::MAX);
        (0..1200).for_each(|n| ring.push(Stream::Stdout, format!("{n}").as_bytes()));
        let mut page = ring.since(0, 7);
        assert_eq!((page.missed, page.lines[0].offset), (700, 700));
        let mut seen = offsets(&page);
        while !page.lines.is_empty() {
            page = ring.since(page.next, 7);
            assert_eq!(page.missed, 0);
            seen.extend(offsets(&page));
        }
        assert_eq!(seen, (700..1200).collect::<Vec<_>>());
        assert_eq!(
            ring.since(5000, 10),
            Page {
                lines: vec![],
                next: 1200,
                missed: 0
            }
        );
        assert_eq!(
            ring.since(1199, 0),
            Page {
                lines: vec![],
                next: 1199,
                missed: 0
            }
        );
    }

    #[test]
    fn a_line_beyond_the_bound_loses_its_end_and_says_so() {
        let mut ring = LineRing::new(10, 4);
        ring.push(Stream::Stderr, b"abcdef\n");
        let line = ring.tail(1).next().unwrap();
        assert_eq!((&*line.bytes, line.cut), (&b"abcd"[..], true));
    }

    proptest! {
        #[test]
        fn both_bounds_hold(max_lines in 0usize..10, max_bytes in 0usize..40, lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..15), 0..60)) {
            let mut ring = LineRing::new(max_lines, max_bytes);
            for line in &lines {
                ring.push(Stream::Stdout, line);
                prop_assert!(ring.len() <= max_lines && ring.bytes() <= max_bytes);
            }
            prop_assert_eq!(ring.next(), lines.len() as u64);
            let page = ring.since(0, usize::MAX);
            prop_assert_eq!(page.missed + page.lines.len() as u64, lines.len() as u64);
            for line in &page.lines {
                prop_assert!(lines[line.offset as usize].starts_with(&line.bytes));
            }
        }
    }
}
