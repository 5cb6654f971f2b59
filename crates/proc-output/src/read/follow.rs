//! What is kept, and then what comes, woken by the kernel.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::names::{self, Names, Part};
use crate::options::Stream;
use crate::read::entry::{Entry, Query};
use crate::read::merge::Merge;
use crate::read::reader::{Started, wanted_streams};
use crate::read::segment::closed_seqs;
use crate::read::stream::StreamEntries;
use crate::sys::{Event, Watcher};

/// How long a line may lie unfinished before it is handed out as it is.
const PATIENCE: Duration = Duration::from_millis(250);

/// A reader that goes on for ever: over rotations, restarts of the service, of its shim, of all.
///
/// Idle, it costs nothing: it waits for the kernel to tell of a change. A slow caller slows nobody but
/// itself; bytes that rotation removed before they were read are counted in [`lost`](Self::lost).
/// A line that stays unfinished for 250 ms is handed out as far as it goes, marked
/// [`cut`](Entry::cut), and its rest is marked [`continued`](Entry::continued).
#[derive(Debug)]
pub struct Follow {
    watcher: Watcher,
    directories: HashMap<i32, Arc<Directory>>,
    /// Which source a watch on a live file belongs to, and back.
    files: HashMap<i32, usize>,
    watches: Vec<Option<Watch>>,
    sources: HashMap<(PathBuf, Arc<str>, Stream), usize>,
    /// The instances that are followed, whether or not they have files yet.
    wanted: HashSet<(PathBuf, Arc<str>)>,
    dirty: BTreeSet<usize>,
    merge: Merge,
    first: VecDeque<Entry>,
    query: Query,
    /// How long a line may lie unfinished.
    line_time: Duration,
    /// When unfinished lines are handed out.
    deadline: Option<Instant>,
    /// Instances that nobody asked for and that began a log meanwhile, where that is of interest.
    newcomers: Option<VecDeque<(PathBuf, String)>>,
}

/// The watcher's descriptor, shared with a runtime's reactor.
#[cfg(feature = "async")]
#[derive(Debug)]
struct Shared(Arc<crate::sys::Queue>);

#[cfg(feature = "async")]
impl Shared {
    fn register(watcher: &Watcher) -> io::Result<tokio::io::unix::AsyncFd<Self>> {
        #[expect(
            deprecated,
            reason = "its replacement is unsafe for descriptors that may be closed early; this one is owned"
        )]
        tokio::io::unix::AsyncFd::with_interest(
            Self(watcher.queue()),
            tokio::io::Interest::READABLE,
        )
    }
}

#[cfg(feature = "async")]
impl std::os::fd::AsRawFd for Shared {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watch {
    id: i32,
    inode: u64,
}

impl Follow {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            directories: HashMap::new(),
            files: HashMap::new(),
            watches: Vec::new(),
            sources: HashMap::new(),
            wanted: HashSet::new(),
            dirty: BTreeSet::new(),
            merge: Merge::default(),
            first: VecDeque::new(),
            query: Query::default(),
            line_time: PATIENCE,
            deadline: None,
            newcomers: None,
        })
    }

    pub(crate) fn watch_directory(&mut self, directory: &Arc<Directory>) -> io::Result<()> {
        if self
            .directories
            .values()
            .any(|known| Arc::ptr_eq(known, directory))
        {
            return Ok(());
        }
        let id = self.watcher.watch_directory(directory.path())?;
        self.directories.insert(id, Arc::clone(directory));
        Ok(())
    }

    pub(crate) fn begin(
        &mut self,
        started: Started,
        instances: &[(Arc<Directory>, Arc<str>)],
        query: &Query,
    ) {
        let wanted = instances
            .iter()
            .map(|(directory, instance)| (directory.path().to_owned(), Arc::clone(instance)));
        self.wanted = wanted.collect();
        self.watches = vec![None; started.keys.len()];
        self.dirty = (0..started.keys.len()).collect();
        self.sources = started.keys.into_iter().zip(0..).collect();
        self.merge = started.merge;
        self.first = started.first;
        // What was asked for of the past is at hand; of the future everything is wanted.
        self.query = Query {
            tail: None,
            since: None,
            ..query.clone()
        };
    }

    /// Sets how long a line may lie unfinished before it is handed out as far as it goes; 250 ms unless
    /// set. Short for somebody who types at the service and waits for its prompt.
    pub fn set_line_time(&mut self, time: Duration) {
        self.line_time = time;
    }

    /// Follows one more instance, from the oldest byte kept.
    ///
    /// # Errors
    ///
    /// When `dir` or a file cannot be opened, or the kernel grants no further watch.
    pub fn add(&mut self, dir: &Path, instance: &str) -> io::Result<()> {
        let known = self
            .directories
            .values()
            .find(|directory| directory.path() == dir);
        let directory = match known {
            Some(directory) => Arc::clone(directory),
            None => Arc::new(Directory::open(dir)?),
        };
        self.watch_directory(&directory)?;
        let instance: Arc<str> = Arc::from(instance);
        self.wanted.insert((dir.to_owned(), Arc::clone(&instance)));
        for stream in wanted_streams(&self.query) {
            self.open(&directory, &instance, stream)?;
        }
        Ok(())
    }

    /// Remembers from now on which instances begin a log in the directories that are watched, for
    /// [`newcomer`](Self::newcomer); [`next_within`](Self::next_within) returns early for one.
    pub fn watch_newcomers(&mut self) {
        self.newcomers.get_or_insert_default();
    }

    /// Returns the directory and the name of an instance that is not followed and began a log.
    pub fn newcomer(&mut self) -> Option<(PathBuf, String)> {
        self.newcomers.as_mut()?.pop_front()
    }

    /// Takes up a stream, if it has files and is not followed already.
    fn open(
        &mut self,
        directory: &Arc<Directory>,
        instance: &Arc<str>,
        stream: Stream,
    ) -> io::Result<()> {
        let key = (directory.path().to_owned(), Arc::clone(instance), stream);
        let names = Names::new(instance, stream);
        if self.sources.contains_key(&key) || directory.inode(names.live()).is_none() {
            return Ok(());
        }
        let closed = closed_seqs(directory, &names)?;
        let entries = StreamEntries::open(directory, instance, stream, &self.query, &closed)?;
        let source = self.merge.push(entries);
        self.watches.push(None);
        self.sources.insert(key, source);
        self.dirty.insert(source);
        Ok(())
    }

    /// Returns the bytes that rotation removed before they could be read.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.merge
            .sources
            .iter()
            .map(|source| source.cursor().lost())
            .sum()
    }

    /// Returns the next entry at hand without waiting; `None` if nothing new was written.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or the kernel grants no further watch.
    pub fn try_next(&mut self) -> io::Result<Option<Entry>> {
        if let Some(entry) = self.first.pop_front() {
            return Ok(Some(entry));
        }
        loop {
            if let Some((_, entry)) = self.next_ready()? {
                return Ok(Some(entry));
            }
            self.take_events()?;
            if self.dirty.is_empty() {
                return self.unfinished();
            }
        }
    }

    /// Returns the next entry, waiting for it for up to `timeout` (`None` = for ever).
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next).
    pub fn next_within(&mut self, timeout: Option<Duration>) -> io::Result<Option<Entry>> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(entry) = self.try_next()? {
                return Ok(Some(entry));
            }
            let newcomer = self.newcomers.as_ref().is_some_and(|new| !new.is_empty());
            if newcomer || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(None);
            }
            let until = end.into_iter().chain(self.deadline).min();
            wait_readable(self.watcher.as_fd(), until)?;
        }
    }

    /// Returns how long a caller that polls [`as_fd`](AsFd::as_fd) itself may wait before it should
    /// call [`try_next`](Self::try_next) although nothing happened; `None` = for ever.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns the next entry when there is one. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next).
    #[cfg(feature = "async")]
    pub async fn next_entry(&mut self) -> io::Result<Entry> {
        if let Some(entry) = self.try_next()? {
            return Ok(entry);
        }
        let ready = Shared::register(&self.watcher)?;
        loop {
            if let Some(entry) = self.try_next()? {
                return Ok(entry);
            }
            match self.patience() {
                None => ready.readable().await?.clear_ready(),
                Some(patience) => {
                    if let Ok(guard) = tokio::time::timeout(patience, ready.readable()).await {
                        guard?.clear_ready();
                    }
                }
            }
        }
    }

    /// Turns it into a `futures_core::Stream`, which never ends.
    ///
    /// # Errors
    ///
    /// Outside of a tokio runtime with I/O and time.
    #[cfg(feature = "async")]
    pub fn into_stream(self) -> io::Result<FollowStream> {
        let ready = Shared::register(&self.watcher)?;
        Ok(FollowStream {
            follow: self,
            ready,
            patience: None,
        })
    }

    /// Returns the oldest entry among those at hand, after looking into every source that changed.
    fn next_ready(&mut self) -> io::Result<Option<(usize, Entry)>> {
        while let Some(source) = self.dirty.pop_first() {
            self.merge.refill(source)?;
            self.watch_live(source)?;
        }
        let next = self.merge.next()?;
        if let Some((source, _)) = &next {
            // Reading on may have led to another file.
            self.watch_live(*source)?;
        }
        Ok(next)
    }

    /// Watches the live file that a source has come to, and looks into it once more: bytes may have
    /// come between the last read and the watch.
    fn watch_live(&mut self, source: usize) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let Some(file) = self.merge.sources[source].cursor().live_file() else {
            return Ok(());
        };
        let old = self.watches[source];
        let inode = file.metadata()?.ino();
        if old.is_some_and(|old| old.inode == inode) {
            return Ok(());
        }
        let id = self.watcher.watch_file(file)?;
        if let Some(old) = old.filter(|old| old.id != id) {
            self.files.remove(&old.id);
            self.watcher.forget(old.id);
        }
        self.files.insert(id, source);
        self.watches[source] = Some(Watch { id, inode });
        self.dirty.insert(source);
        Ok(())
    }

    /// Reads what the kernel tells and marks the sources it speaks of.
    fn take_events(&mut self) -> io::Result<()> {
        let mut fresh = Vec::new();
        let mut everything = false;
        self.watcher.read(|event| {
            let (id, name) = match event {
                Event::Overflow => return everything = true,
                Event::Of(id, name) => (id, name),
            };
            if let Some(source) = self.files.get(&id) {
                self.dirty.insert(*source);
            } else if let (Some(directory), Some((instance, stream, Part::Live))) =
                (self.directories.get(&id), name.and_then(names::parse))
            {
                let (path, instance) = (directory.path().to_owned(), Arc::<str>::from(instance));
                let key = (path.clone(), Arc::clone(&instance), stream);
                if let Some(source) = self.sources.get(&key) {
                    self.dirty.insert(*source);
                } else if !self.wanted.contains(&(path.clone(), Arc::clone(&instance))) {
                    let new = (path, instance.to_string());
                    if let Some(newcomers) = self.newcomers.as_mut().filter(|n| !n.contains(&new)) {
                        newcomers.push_back(new);
                    }
                } else if self.query.stream.is_none_or(|only| only == stream) {
                    fresh.push((Arc::clone(directory), instance, stream));
                }
            }
        })?;
        if everything {
            self.dirty.extend(0..self.merge.sources.len());
            fresh.extend(self.unopened());
        }
        for (directory, instance, stream) in fresh {
            self.open(&directory, &instance, stream)?;
        }
        Ok(())
    }

    /// Returns the streams that are wanted and had no files so far.
    fn unopened(&self) -> Vec<(Arc<Directory>, Arc<str>, Stream)> {
        let mut unopened = Vec::new();
        for directory in self.directories.values() {
            for (_, instance) in self
                .wanted
                .iter()
                .filter(|(path, _)| path == directory.path())
            {
                unopened.extend(
                    wanted_streams(&self.query)
                        .map(|stream| (Arc::clone(directory), Arc::clone(instance), stream)),
                );
            }
        }
        unopened
    }

    /// Hands out an unfinished line whose time has come.
    fn unfinished(&mut self) -> io::Result<Option<Entry>> {
        let now = Instant::now();
        self.deadline = None;
        for (index, source) in self.merge.sources.iter_mut().enumerate() {
            let Some(due) = source.held_since().map(|since| since + self.line_time) else {
                continue;
            };
            if due <= now {
                self.dirty.insert(index);
                return source.rest(false);
            }
            self.deadline = Some(self.deadline.map_or(due, |other| other.min(due)));
        }
        Ok(None)
    }
}

/// What is kept, and then what comes, as an asynchronous stream.
#[cfg(feature = "async")]
#[derive(Debug)]
pub struct FollowStream {
    follow: Follow,
    ready: tokio::io::unix::AsyncFd<Shared>,
    /// Runs while a line lies unfinished.
    patience: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
}

#[cfg(feature = "async")]
impl futures_core::Stream for FollowStream {
    type Item = io::Result<Entry>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        use std::task::Poll;
        let this = self.get_mut();
        loop {
            if let Some(next) = this.follow.try_next().transpose() {
                return Poll::Ready(Some(next));
            }
            if let Poll::Ready(guard) = this.ready.poll_read_ready(context) {
                guard?.clear_ready();
                continue;
            }
            let patience = this.follow.patience().map(tokio::time::sleep);
            this.patience = patience.map(Box::pin);
            let Some(sleep) = this.patience.as_mut() else {
                return Poll::Pending;
            };
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsFd for Follow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }
}

/// Waits until there is something to read, or until the given time.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, until: Option<Instant>) -> io::Result<bool> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let timeout = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()) {
        Ok(n) => Ok(n > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
