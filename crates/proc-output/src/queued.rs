//! A log writer behind a queue: whoever drives the pipe never waits for the disk.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::clock::now_ms;
use crate::options::{LogOptions, Stream};
use crate::sys::{self, Wake, splice};
use crate::writer::{LogStats, LogWriter, OpenLogError};

/// What the queue may hold, where the kernel allows so large a pipe; else the size of any pipe.
/// It is kernel memory, and taken only as it fills.
const QUEUE: usize = 1024 * 1024;
/// The most that is written to the file at once.
const CHUNK: usize = 32 * 1024;
/// The stack of the writing thread.
const STACK: usize = 128 * 1024;
/// With so many notes waiting, arrival times are not noted any more.
const NOTES: usize = 256;
/// The closest that two noted arrival times may be, in milliseconds.
const RESOLUTION_MS: i64 = 10;

/// A [`LogWriter`] for [`OnFull::Drop`](crate::OnFull::Drop): bytes go from the service's pipe into a
/// pipe of our own, from which a thread writes the files. What that queue cannot take is dropped and
/// counted to the byte, at the offset where it is missing.
///
/// No call but [`open`](Self::open), [`settle`](Self::settle) and [`finish`](Self::finish) ever waits
/// for the disk. The queue is 1 MiB where the kernel grants it, and lost, uncounted, when the whole
/// process is killed.
#[derive(Debug)]
pub struct QueuedWriter {
    /// `None` once the queue was closed.
    queue: Option<OwnedFd>,
    null: OwnedFd,
    wake: Arc<Wake>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Bytes that the queue took.
    accepted: u64,
    noted: i64,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// What is to be done when so many bytes have come through the queue.
    notes: VecDeque<(u64, Note)>,
    /// Bytes that have left the queue and are in the file, or refused by it.
    done: u64,
    /// Bytes dropped that the writer has not counted yet.
    uncounted: u64,
    stats: LogStats,
    offset: u64,
    /// Whether a note was taken that is not done yet.
    busy: bool,
    ended: bool,
}

#[derive(Debug)]
enum Note {
    /// From here on bytes arrived at this time.
    Time(i64),
    /// So many bytes are missing here, since this time.
    Dropped(u64, i64),
    Mark(String),
    Rotate,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that could be left half done is done under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuedWriter {
    /// Opens the log as [`LogWriter::new`] does, and starts its thread.
    ///
    /// # Errors
    ///
    /// As [`LogWriter::new`], and where there is no pipe or thread to be had.
    pub fn open(
        dir: &Path,
        instance: &str,
        stream: Stream,
        options: &LogOptions,
    ) -> Result<Self, OpenLogError> {
        let log = LogWriter::new(dir, instance, stream, options)?;
        Self::new(log).map_err(|source| OpenLogError::Io {
            dir: dir.to_owned(),
            file: instance.to_owned(),
            source,
        })
    }

    /// Puts a queue, and a thread, before an open log.
    ///
    /// # Errors
    ///
    /// Where there is no pipe or thread to be had.
    pub fn new(log: LogWriter) -> io::Result<Self> {
        Self::start(log)
    }

    fn start(log: impl Sink) -> io::Result<Self> {
        let (from, queue) = sys::queue(QUEUE)?;
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        let wake = Arc::new(Wake::new()?);
        let inner = Inner {
            stats: log.stats(),
            offset: log.offset(),
            ..Inner::default()
        };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        });
        let worker = Worker {
            log,
            from,
            wake: Arc::clone(&wake),
            shared: Arc::clone(&shared),
            done: 0,
            at: None,
        };
        let builder = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .stack_size(STACK);
        let thread = builder.spawn(move || worker.run())?;
        Ok(Self {
            queue: Some(queue),
            null,
            wake,
            shared,
            thread: Some(thread),
            accepted: 0,
            noted: 0,
        })
    }

    /// Takes up to `max` bytes from a pipe into the queue, or drops what it cannot take.
    ///
    /// Returns the bytes taken from the pipe, kept or dropped; 0 is the end of the stream. A
    /// descriptor that is not a pipe is read instead.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the pipe is empty, otherwise what reading met.
    pub fn splice_from(&mut self, pipe: impl AsFd, max: usize) -> io::Result<usize> {
        let pipe = pipe.as_fd();
        self.note_time();
        let Some(queue) = &self.queue else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        match splice(pipe, queue, None, max) {
            Ok(n) => {
                self.accepted += n as u64;
                return Ok(n);
            }
            Err(Errno::AGAIN) => {}
            Err(Errno::INVAL) => return self.copy_from(pipe, max),
            Err(errno) => return Err(errno.into()),
        }
        // Either side may have been the reason. Only we take from the pipe, so where it holds
        // something before the next attempt, a refusal means that the queue is full.
        let waiting = crate::streams::pending(&pipe)?;
        if waiting == 0 {
            return ended_or_empty(pipe);
        }
        match splice(pipe, queue, None, max) {
            Ok(n) => {
                self.accepted += n as u64;
                Ok(n)
            }
            Err(Errno::AGAIN) => {
                let most = max.min(waiting);
                let n = splice(pipe, &self.null, None, most)?;
                self.drop_bytes(n);
                Ok(n)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes bytes from what is not a pipe.
    fn copy_from(&mut self, from: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        let mut buffer = [0; sys::PIECE];
        let most = max.min(buffer.len());
        let n = sys::read_unspliced(from, &mut buffer[..most])?;
        if n > 0 {
            self.put(&buffer[..n]);
        }
        Ok(n)
    }

    /// Appends bytes, as far as the queue takes them; the rest is dropped.
    pub fn write(&mut self, bytes: &[u8]) {
        self.note_time();
        for chunk in bytes.chunks(sys::PIECE) {
            self.put(chunk);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        let Some(queue) = &self.queue else { return };
        match rustix::io::retry_on_intr(|| rustix::io::write(queue, bytes)) {
            Ok(n) => {
                self.accepted += n as u64;
                self.drop_bytes(bytes.len() - n);
            }
            Err(_) => self.drop_bytes(bytes.len()),
        }
    }

    /// Writes a marker beside the bytes that came so far.
    pub fn mark(&mut self, text: &str) {
        self.note(Note::Mark(text.to_owned()));
    }

    /// Begins a new file after the bytes that came so far.
    pub fn rotate(&mut self) {
        self.note(Note::Rotate);
    }

    /// Returns the offset behind the bytes that the queue took, should the file take them too.
    #[must_use]
    pub fn offset(&self) -> u64 {
        let inner = self.shared.lock();
        inner.offset + (self.accepted - inner.done)
    }

    /// Returns the counts so far; bytes dropped include those that the files do not tell of yet.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let inner = self.shared.lock();
        LogStats {
            dropped_bytes: inner.stats.dropped_bytes + inner.uncounted,
            ..inner.stats
        }
    }

    /// Waits until everything that came so far is in the files; says whether it is, in `patience`.
    pub fn settle(&self, patience: Duration) -> bool {
        let goes_on = |inner: &mut Inner| {
            let settled = inner.done == self.accepted && inner.notes.is_empty() && !inner.busy;
            !(inner.ended || settled)
        };
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), patience, goes_on);
        !waited.is_ok_and(|(_, result)| result.timed_out())
    }

    /// Closes the log when the queue is written; says whether that was so within `patience`. If it
    /// was not, the thread goes on by itself.
    pub fn finish(mut self, patience: Duration) -> bool {
        self.queue = None;
        let waited =
            self.shared
                .changed
                .wait_timeout_while(self.shared.lock(), patience, |inner| !inner.ended);
        let ended = waited.is_ok_and(|(inner, _)| inner.ended);
        if ended && let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic of its own has nothing for us
        }
        ended
    }

    fn note_time(&mut self) {
        let now = now_ms();
        if now < self.noted || now - self.noted >= RESOLUTION_MS {
            self.noted = now;
            let mut inner = self.shared.lock();
            if inner.notes.len() < NOTES {
                inner.notes.push_back((self.accepted, Note::Time(now)));
            }
        }
    }

    fn drop_bytes(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        {
            let mut inner = self.shared.lock();
            inner.uncounted += n as u64;
            // Bytes missing at one place are one hole.
            let hole = inner
                .notes
                .iter_mut()
                .rev()
                .find_map(|(at, note)| match note {
                    Note::Dropped(sum, _) if *at == self.accepted => Some(sum),
                    _ => None,
                });
            if let Some(sum) = hole {
                *sum += n as u64;
                return;
            }
        }
        self.note(Note::Dropped(n as u64, now_ms()));
    }

    fn note(&mut self, note: Note) {
        self.shared.lock().notes.push_back((self.accepted, note));
        self.wake.wake();
    }
}

/// Tells the end of a stream, 0, from there being nothing now.
fn ended_or_empty(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut polled = [PollFd::new(&pipe, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&now))?;
    let flags = polled[0].revents();
    if flags.contains(PollFlags::HUP) && !flags.contains(PollFlags::IN) {
        Ok(0)
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// What the thread writes to.
trait Sink: Send + 'static {
    fn write(&mut self, bytes: &[u8], at: i64);
    fn dropped(&mut self, bytes: u64, at: i64);
    fn mark(&mut self, text: &str);
    fn rotate(&mut self);
    fn housekeep(&mut self) -> Option<Duration>;
    fn stats(&self) -> LogStats;
    fn offset(&self) -> u64;
}

impl Sink for LogWriter {
    fn write(&mut self, bytes: &[u8], at: i64) {
        // What is refused is counted by the writer itself.
        let _counted = self.write_at(bytes, at);
    }

    fn dropped(&mut self, bytes: u64, at: i64) {
        self.count_dropped(bytes, at);
    }

    fn mark(&mut self, text: &str) {
        let _unimportant = Self::mark(self, text);
    }

    fn rotate(&mut self) {
        // Shown by `stats`, and tried again by the next write.
        let _shown = self.rotate_now();
    }

    fn housekeep(&mut self) -> Option<Duration> {
        Self::housekeep(self)
    }

    fn stats(&self) -> LogStats {
        Self::stats(self)
    }

    fn offset(&self) -> u64 {
        Self::offset(self)
    }
}

struct Worker<S> {
    log: S,
    from: OwnedFd,
    wake: Arc<Wake>,
    shared: Arc<Shared>,
    /// Bytes handled so far.
    done: u64,
    /// When the bytes at hand arrived, where that is known.
    at: Option<i64>,
}

impl<S: Sink> Worker<S> {
    fn run(mut self) {
        let mut buffer = vec![0; CHUNK];
        let mut due = self.housekeep();
        loop {
            match rustix::io::read(&self.from, &mut buffer) {
                Ok(0) => break,
                Ok(n) => self.handle(&buffer[..n]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.handle(&[]);
                    // Whatever comes now finds the queue empty, as it is written.
                    self.at = None;
                    if due.is_some_and(|due| due <= Instant::now()) {
                        due = self.housekeep();
                    }
                    self.wait(due);
                }
                Err(_) => break, // no pipe fails so
            }
        }
        self.handle(&[]);
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }

    /// Writes bytes, and does at each place what is noted for it.
    fn handle(&mut self, mut bytes: &[u8]) {
        let end = self.done + bytes.len() as u64;
        loop {
            // A note is there before any byte behind it is: it cannot be missed here.
            let note = {
                let mut inner = self.shared.lock();
                inner.busy = inner.notes.front().is_some_and(|(at, _)| *at <= end);
                if inner.busy {
                    inner.notes.pop_front()
                } else {
                    None
                }
            };
            let until = note.as_ref().map_or(end, |(at, _)| *at);
            let n = usize::try_from(until.saturating_sub(self.done)).unwrap_or(0);
            let (now, rest) = bytes.split_at(n.min(bytes.len()));
            if !now.is_empty() {
                self.log.write(now, self.at.unwrap_or_else(now_ms));
            }
            (self.done, bytes) = (self.done + now.len() as u64, rest);
            let counted = match note {
                None => {
                    self.publish(0);
                    return;
                }
                Some((_, note)) => self.act(note),
            };
            self.publish(counted);
        }
    }

    /// Does what a note says; returns how many dropped bytes it was about.
    fn act(&mut self, note: Note) -> u64 {
        match note {
            Note::Time(at) => self.at = Some(at),
            Note::Mark(text) => self.log.mark(&text),
            Note::Rotate => self.log.rotate(),
            Note::Dropped(bytes, at) => {
                self.log.dropped(bytes, at);
                return bytes;
            }
        }
        0
    }

    fn publish(&self, counted: u64) {
        let mut inner = self.shared.lock();
        inner.done = self.done;
        inner.stats = self.log.stats();
        inner.offset = self.log.offset();
        inner.uncounted = inner.uncounted.saturating_sub(counted);
        inner.busy = false;
        drop(inner);
        self.shared.changed.notify_all();
    }

    fn housekeep(&mut self) -> Option<Instant> {
        let wait = self.log.housekeep()?;
        self.publish(0);
        Instant::now().checked_add(wait)
    }

    /// Waits for bytes, a note, or the time of the next housekeeping.
    fn wait(&self, due: Option<Instant>) {
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [
            PollFd::new(&self.from, PollFlags::IN),
            PollFd::new(&*self.wake, PollFlags::IN),
        ];
        // Whatever it says, everything is looked at next.
        let _ = poll(&mut fds, timeout.as_ref());
        self.wake.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;

    use super::*;

    /// A disk that takes nothing until it is told to, and remembers everything in order.
    struct Disk {
        gate: mpsc::Receiver<()>,
        tell: mpsc::Sender<Event>,
        stats: LogStats,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Event {
        Waits,
        Bytes(Vec<u8>),
        Dropped(u64),
        Mark(String),
        Rotate,
    }

    impl Sink for Disk {
        fn write(&mut self, bytes: &[u8], _: i64) {
            self.tell.send(Event::Waits).unwrap();
            let _open_from_now_on = self.gate.recv();
            self.stats.bytes += bytes.len() as u64;
            self.tell.send(Event::Bytes(bytes.to_vec())).unwrap();
        }
        fn dropped(&mut self, bytes: u64, _: i64) {
            self.stats.dropped_bytes += bytes;
            self.tell.send(Event::Dropped(bytes)).unwrap();
        }
        fn mark(&mut self, text: &str) {
            self.tell.send(Event::Mark(text.to_owned())).unwrap();
        }
        fn rotate(&mut self) {
            self.tell.send(Event::Rotate).unwrap();
        }
        fn housekeep(&mut self) -> Option<Duration> {
            None
        }
        fn stats(&self) -> LogStats {
            self.stats
        }
        fn offset(&self) -> u64 {
            self.stats.bytes
        }
    }

    fn stuck() -> (QueuedWriter, mpsc::Sender<()>, mpsc::Receiver<Event>) {
        let (open, gate) = mpsc::channel();
        let (tell, events) = mpsc::channel();
        let stats = LogStats::default();
        let disk = Disk { gate, tell, stats };
        (QueuedWriter::start(disk).unwrap(), open, events)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Collapses pieces: what was written, and at which offsets how much was missing.
    fn sum_up(events: impl Iterator<Item = Event>) -> (Vec<u8>, Vec<(usize, u64)>) {
        let (mut bytes, mut holes) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Bytes(more) => bytes.extend(more),
                Event::Dropped(n) => holes.push((bytes.len(), n)),
                _ => {}
            }
        }
        (bytes, holes)
    }

    #[test]
    fn a_stuck_disk_stops_nobody_and_every_byte_is_kept_or_counted() {
        let (mut log, open, events) = stuck();
        let (from, mut to) = std::io::pipe().unwrap();
        log.write(b"first\n");
        assert_eq!(events.recv().unwrap(), Event::Waits);
        // Eight times what the queue and the pipe hold: whoever waited for the disk would hang here.
        let (total, line) = (9 << 20, b"0123456789abcde\n");
        let writing = std::thread::spawn(move || {
            for _ in 0..total / line.len() {
                to.write_all(line).unwrap();
            }
        });
        let mut taken = 0;
        loop {
            let fd = from.as_fd();
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
            match log.splice_from(&from, 1 << 20) {
                Ok(0) => break,
                Ok(n) => taken += n,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        writing.join().unwrap();
        assert_eq!(taken, total);
        assert!(!log.settle(Duration::ZERO), "the disk is stuck");
        let (dropped, offset) = (log.stats().dropped_bytes, log.offset());
        assert!(dropped > 7 << 20, "{dropped}");
        assert_eq!(offset + dropped, 6 + total as u64);
        log.mark("here");

        drop(open);
        assert!(log.settle(PATIENCE));
        log.write(b"last\n");
        assert!(log.settle(PATIENCE));
        assert_eq!(
            (log.stats().dropped_bytes, log.offset()),
            (dropped, offset + 5)
        );
        assert!(log.finish(PATIENCE));
        let events: Vec<_> = events.try_iter().collect();
        assert!(events.contains(&Event::Mark("here".to_owned())));
        let (bytes, holes) = sum_up(events.into_iter());
        assert_eq!(bytes.len() as u64, offset + 5);
        assert!(bytes.starts_with(b"first\n0123") && bytes.ends_with(b"last\n"));
        // Dropped in one go, where the queue was full; the text goes on after that.
        assert_eq!(holes, [(bytes.len() - 5, dropped)]);
    }

    #[test]
    fn marks_and_rotations_keep_their_place() {
        let (mut log, open, events) = stuck();
        drop(open);
        log.mark("begin");
        log.write(b"one");
        log.rotate();
        log.write(b"two");
        log.mark("end");
        assert!(log.settle(PATIENCE) && log.finish(PATIENCE));
        let events: Vec<_> = events.try_iter().filter(|e| *e != Event::Waits).collect();
        let mark = |text: &str| Event::Mark(text.to_owned());
        let bytes = |text: &[u8]| Event::Bytes(text.to_vec());
        let want = [
            mark("begin"),
            bytes(b"one"),
            Event::Rotate,
            bytes(b"two"),
            mark("end"),
        ];
        assert_eq!(events, want);
    }

    #[test]
    fn an_end_is_told_apart_from_a_full_queue_and_from_nothing() {
        let (mut log, open, events) = stuck();
        let (from, to) = std::io::pipe().unwrap();
        let kind = |result: io::Result<usize>| result.map_err(|error| error.kind());
        assert_eq!(
            kind(log.splice_from(&from, 100)),
            Err(io::ErrorKind::WouldBlock)
        );
        while log.stats().dropped_bytes == 0 {
            log.write(&[b'x'; 4096]);
        }
        assert_eq!(events.recv().unwrap(), Event::Waits);
        assert_eq!(
            kind(log.splice_from(&from, 100)),
            Err(io::ErrorKind::WouldBlock)
        );
        drop(to);
        assert_eq!(kind(log.splice_from(&from, 100)), Ok(0));
        assert!(!log.finish(Duration::ZERO));
        drop(open);
    }

    #[test]
    fn what_is_no_pipe_is_read() {
        let (mut log, open, events) = stuck();
        drop(open);
        let (from, mut to) = std::os::unix::net::UnixStream::pair().unwrap();
        to.write_all(b"through a socket").unwrap();
        assert_eq!(log.splice_from(&from, 100).unwrap(), 16);
        assert!(log.finish(PATIENCE));
        assert_eq!(sum_up(events.try_iter()).0, b"through a socket");
    }
}
