//! Reads the kept output of instances, whoever wrote it and whether or not they still run.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::directory::Directory;
use crate::names::{self, Names};
use crate::options::Stream;
use crate::read::cursor::Cursor;
use crate::read::entry::{Entry, Mark, Query};
use crate::read::follow::Follow;
use crate::read::merge::Merge;
use crate::read::segment::{Segment, closed_seqs, inventory};
use crate::read::stream::StreamEntries;
use crate::read::verify::{self, Verified};
use crate::times::What;

/// The logs of one or several instances.
///
/// All files kept are read, the closed and the compressed ones first, also while a writer rotates
/// them. Nothing but the files is needed: no supervisor, no lock.
///
/// Each stream that is read holds two or three open files.
#[derive(Debug, Default)]
pub struct LogReader {
    instances: Vec<(Arc<Directory>, Arc<str>)>,
}

impl LogReader {
    /// Returns a reader of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the logs that `instance` has, or will have, in `dir`.
    ///
    /// # Errors
    ///
    /// When `dir` cannot be opened.
    pub fn add(&mut self, dir: &Path, instance: &str) -> io::Result<()> {
        let known = self
            .instances
            .iter()
            .find(|(directory, _)| directory.path() == dir);
        let directory = match known {
            Some((directory, _)) => Arc::clone(directory),
            None => Arc::new(Directory::open(dir)?),
        };
        self.instances.push((directory, Arc::from(instance)));
        Ok(())
    }

    /// Returns the names of all instances that have log files in `dir`.
    ///
    /// # Errors
    ///
    /// When `dir` cannot be read.
    pub fn instances(dir: &Path) -> io::Result<Vec<String>> {
        let mut found = BTreeSet::new();
        Directory::open(dir)?.names(|file| {
            if let Some((instance, ..)) = names::parse(file) {
                found.insert(instance.to_owned());
            }
        })?;
        Ok(found.into_iter().collect())
    }

    /// Returns what is kept now, oldest first over all instances.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn entries(&self, query: &Query) -> io::Result<Entries> {
        let Started { merge, first, .. } = self.start(query, true)?;
        Ok(Entries {
            first,
            merge,
            query: query.clone(),
            finished: 0,
        })
    }

    /// Returns what is kept now, and then what comes.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or the kernel grants no further watch.
    pub fn follow(&self, query: &Query) -> io::Result<Follow> {
        let mut follow = Follow::new()?;
        for (directory, _) in &self.instances {
            follow.watch_directory(directory)?;
        }
        follow.begin(self.start(query, false)?, &self.instances, query);
        Ok(follow)
    }

    /// Copies the bytes of one stream of the first instance, exactly as they came.
    ///
    /// Returns their number.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or `to` not be written.
    pub fn copy_raw(&self, stream: Stream, to: &mut impl Write) -> io::Result<u64> {
        let Some((directory, instance)) = self.instances.first() else {
            return Ok(0);
        };
        let mut cursor = Cursor::oldest(Arc::clone(directory), Names::new(instance, stream));
        let mut buffer = vec![0; 64 * 1024];
        let mut copied = 0;
        loop {
            let n = cursor.read(&mut buffer)?;
            if n == 0 {
                return Ok(copied);
            }
            to.write_all(&buffer[..n])?;
            copied += n as u64;
        }
    }

    /// Returns the markers kept beside the bytes, per instance in the order of the streams.
    ///
    /// # Errors
    ///
    /// When a sidecar cannot be read.
    pub fn marks(&self) -> io::Result<Vec<(Arc<str>, Mark)>> {
        let mut marks = Vec::new();
        self.each_stream(None, |directory, instance, stream| {
            let names = Names::new(instance, stream);
            let closed = closed_seqs(directory, &names)?;
            let after = closed.last().map_or(1, |seq| seq + 1);
            let closed = closed
                .into_iter()
                .filter_map(|seq| Segment::closed(directory, &names, seq).transpose());
            let live = Segment::live(directory, &names, after).transpose();
            for segment in closed.chain(live) {
                let Some(mut times) = segment?.times else {
                    continue;
                };
                while let Some(record) = times.next()? {
                    if let What::Mark(text) = record.what {
                        let mark = Mark {
                            stream,
                            offset: record.offset,
                            at: record.at,
                            text,
                        };
                        marks.push((Arc::clone(instance), mark));
                    }
                }
            }
            Ok(())
        })?;
        Ok(marks)
    }

    /// Checks for every stream that the files kept are complete: that each begins where the one
    /// before ended, that each has the length its sidecar says, and how much was dropped or removed.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn verify(&self) -> io::Result<Vec<Verified>> {
        let mut all = Vec::new();
        self.each_stream(None, |directory, instance, stream| {
            all.extend(verify::stream(directory, instance, stream)?);
            Ok(())
        })?;
        Ok(all)
    }

    fn each_stream(
        &self,
        only: Option<Stream>,
        mut each: impl FnMut(&Arc<Directory>, &Arc<str>, Stream) -> io::Result<()>,
    ) -> io::Result<()> {
        for (directory, instance) in &self.instances {
            for stream in Stream::all()
                .into_iter()
                .filter(|s| only.is_none_or(|only| only == *s))
            {
                each(directory, instance, stream)?;
            }
        }
        Ok(())
    }

    /// Opens all streams that exist, and reads ahead the last lines where only those are wanted.
    fn start(&self, query: &Query, finish: bool) -> io::Result<Started> {
        let mut started = Started::default();
        let mut first = Vec::new();
        let mut inventories = Vec::new();
        for (directory, instance) in &self.instances {
            let inventory = inventory_of(&mut inventories, directory)?;
            let mut one = Merge::default();
            for stream in wanted_streams(query) {
                let names = Names::new(instance, stream);
                if let Some(closed) = inventory.get(names.live()) {
                    one.push(StreamEntries::open(
                        directory, instance, stream, query, closed,
                    )?);
                    started
                        .keys
                        .push((directory.path().to_owned(), Arc::clone(instance), stream));
                }
            }
            if let Some(n) = query.tail {
                let mut order = i64::MIN;
                first.extend(last_entries(&mut one, n, finish)?.into_iter().map(|entry| {
                    order = order.max(entry.at.unwrap_or(i64::MIN));
                    (order, entry)
                }));
            }
            for source in one.sources {
                started.merge.push(source);
            }
        }
        // Each instance's lines are in order already, and a stable sort keeps them so.
        first.sort_by_key(|(order, _)| *order);
        started.first = first.into_iter().map(|(_, entry)| entry).collect();
        Ok(started)
    }
}

/// All streams at their beginnings, or at their ends with the last lines taken out.
#[derive(Debug, Default)]
pub(crate) struct Started {
    pub(crate) merge: Merge,
    /// Directory, instance and stream of each source.
    pub(crate) keys: Vec<(PathBuf, Arc<str>, Stream)>,
    pub(crate) first: VecDeque<Entry>,
}

/// Returns the streams that a query asks for.
pub(crate) fn wanted_streams(query: &Query) -> impl Iterator<Item = Stream> + use<> {
    let only = query.stream;
    Stream::all()
        .into_iter()
        .filter(move |stream| only.is_none_or(|only| only == *stream))
}

type Inventory = HashMap<String, Vec<u64>>;

/// Lists each directory once, however many instances are in it.
fn inventory_of<'a>(
    known: &'a mut Vec<(Arc<Directory>, Inventory)>,
    directory: &Arc<Directory>,
) -> io::Result<&'a Inventory> {
    let at = match known
        .iter()
        .position(|(other, _)| Arc::ptr_eq(other, directory))
    {
        Some(at) => at,
        None => {
            known.push((Arc::clone(directory), inventory(directory)?));
            known.len() - 1
        }
    };
    Ok(&known[at].1)
}

/// Reads streams to their present end, and returns their last `n` lines.
fn last_entries(merge: &mut Merge, n: usize, finish: bool) -> io::Result<VecDeque<Entry>> {
    let mut last: VecDeque<Entry> = VecDeque::new();
    let mut lines = 0;
    let mut keep = |entry: Entry| {
        let begins = |entry: &Entry| !entry.continued && !entry.is_gap();
        lines += usize::from(begins(&entry));
        last.push_back(entry);
        while lines > n {
            lines -= usize::from(last.pop_front().as_ref().is_some_and(begins));
            while last.front().is_some_and(|entry| !begins(entry)) {
                last.pop_front();
            }
        }
    };
    for source in 0..merge.sources.len() {
        merge.refill(source)?;
    }
    while let Some((_, entry)) = merge.next()? {
        keep(entry);
    }
    if finish {
        for source in &mut merge.sources {
            while let Some(entry) = source.rest(true)? {
                keep(entry);
            }
            while let Some(entry) = source.next()? {
                keep(entry);
            }
        }
    }
    Ok(last)
}

/// What is kept, oldest first: lines with their time, stream and offset.
#[derive(Debug)]
pub struct Entries {
    first: VecDeque<Entry>,
    merge: Merge,
    query: Query,
    /// How many sources have been asked for their first entry.
    finished: usize,
}

impl Entries {
    /// Returns the bytes that were removed by rotation while they were being read.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.merge
            .sources
            .iter()
            .map(|source| source.cursor().lost())
            .sum()
    }

    fn advance(&mut self) -> io::Result<Option<Entry>> {
        if let Some(entry) = self.first.pop_front() {
            return Ok(Some(entry));
        }
        if self.query.tail.is_some() {
            return Ok(None); // read ahead, all of it
        }
        while self.finished < self.merge.sources.len() {
            self.finished += 1;
            self.refill(self.finished - 1)?;
        }
        let Some((source, entry)) = self.merge.next()? else {
            return Ok(None);
        };
        self.refill(source)?;
        Ok(Some(entry))
    }

    /// Takes the next line of a source, or what it has of one.
    fn refill(&mut self, source: usize) -> io::Result<()> {
        self.merge.refill(source)?;
        if !self.merge.waits(source)
            && let Some(rest) = self.merge.sources[source].rest(true)?
        {
            self.merge.offer(source, rest);
        }
        Ok(())
    }
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
