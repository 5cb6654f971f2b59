//! Several streams as one, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use crate::read::entry::Entry;
use crate::read::stream::StreamEntries;

/// The entries of several streams by time; ties and unknown times keep the order of the streams.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    pub(crate) sources: Vec<StreamEntries>,
    /// The next entry of each source that has one.
    heads: Vec<Option<Entry>>,
    /// Which head is the oldest: time, then source.
    heap: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Merge {
    pub(crate) fn push(&mut self, source: StreamEntries) -> usize {
        self.sources.push(source);
        self.heads.push(None);
        self.sources.len() - 1
    }

    /// Lets a source take part again that had nothing to give, or is new.
    pub(crate) fn refill(&mut self, source: usize) -> io::Result<()> {
        if self.heads[source].is_none()
            && let Some(entry) = self.sources[source].next()?
        {
            self.offer(source, entry);
        }
        Ok(())
    }

    /// Gives a source an entry that it could not give by itself: an unfinished line.
    pub(crate) fn offer(&mut self, source: usize, entry: Entry) {
        self.heap
            .push(Reverse((self.sources[source].order, source)));
        self.heads[source] = Some(entry);
    }

    /// Says whether a source has an entry waiting.
    pub(crate) fn waits(&self, source: usize) -> bool {
        self.heads[source].is_some()
    }

    /// Returns the oldest entry at hand and the source it is from.
    pub(crate) fn next(&mut self) -> io::Result<Option<(usize, Entry)>> {
        let Some(Reverse((_, source))) = self.heap.pop() else {
            return Ok(None);
        };
        let entry = self.heads[source].take();
        self.refill(source)?;
        Ok(entry.map(|entry| (source, entry)))
    }
}
