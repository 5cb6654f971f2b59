//! Starts processes and keeps track of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use proc_core::{
    Child, ProcessHandle, Scope, Signal, SignalError, Spawn, SpawnError, Stdio, StopOptions,
    StopSequence, stop_tree,
};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::captured::Captured;
use crate::command::{Command, Input};
use crate::managed::entry::Entry;
use crate::managed::event::Event;
use crate::managed::info::{Id, Info, Status, unix_ms};
use crate::managed::lines::Lines;
use crate::run::DEFAULT_GRACE;
use crate::supervise::{Limits, Source, Stream, supervise};

/// The bounds of a manager.
#[derive(Debug, Clone, Copy)]
pub struct ManagerOptions {
    /// How many bytes of output are kept of each process: the last ones.
    pub output_limit: usize,
    /// How many bytes a line of an event has at most; longer ones come in parts.
    pub line_limit: usize,
    /// How many finished processes are remembered; the oldest are forgotten.
    pub max_finished: usize,
    /// How many bytes of output all finished processes together may hold.
    pub max_finished_bytes: usize,
    /// How many events a slow subscriber may lag behind before it misses some.
    pub events: usize,
}

impl Default for ManagerOptions {
    /// 1 MiB of output each, lines of 64 KiB, 100 finished ones with 16 MiB in all, 1,024 events.
    fn default() -> Self {
        ManagerOptions {
            output_limit: 1024 * 1024,
            line_limit: 64 * 1024,
            max_finished: 100,
            max_finished_bytes: 16 * 1024 * 1024,
            events: 1024,
        }
    }
}

/// What to start and how.
#[derive(Debug, Clone)]
#[must_use]
pub struct StartOptions {
    command: Command,
    capture: bool,
    stdin: bool,
    detach: Option<PathBuf>,
    timeout: Option<Duration>,
    grace: Duration,
}

impl StartOptions {
    /// Starts a command with its output kept, no standard input and no timeout.
    pub fn new(command: Command) -> Self {
        let grace = DEFAULT_GRACE;
        StartOptions {
            command,
            capture: true,
            stdin: false,
            detach: None,
            timeout: None,
            grace,
        }
    }

    /// Says whether its output is kept; events tell of its lines either way.
    pub fn capture(mut self, capture: bool) -> Self {
        self.capture = capture;
        self
    }

    /// Says whether it gets a standard input that [`Manager::send`] writes to.
    pub fn stdin(mut self, stdin: bool) -> Self {
        self.stdin = stdin;
        self
    }

    /// Lets it outlive this program: its output is appended to `log`, not piped, so that nothing
    /// of it depends on us; a shutdown leaves it alone.
    pub fn detach(mut self, log: impl Into<PathBuf>) -> Self {
        self.detach = Some(log.into());
        self
    }

    /// Ends its tree after so long.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how long it may take to end after `TERM` before it is killed; zero kills at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// A request that cannot be met.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// There is no such process, or it was forgotten.
    #[error("process {0} not found")]
    NotFound(Id),
    /// It has ended.
    #[error("process {0} is not running")]
    NotRunning(Id),
    /// It has not ended.
    #[error("process {0} is running")]
    StillRunning(Id),
    /// It was started without a standard input, or that was closed.
    #[error("process {0} has no standard input")]
    NoStdin(Id),
    /// A signal that no process can handle is none to send: use [`Manager::kill`].
    #[error("signal {0} cannot be caught")]
    Uncatchable(Signal),
    /// It could not be started; it is remembered as failed.
    #[error("process {id} could not be started")]
    Start {
        /// Its id.
        id: Id,
        /// Why.
        #[source]
        source: SpawnError,
    },
    /// A signal could not be sent.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// Its pipes or its log could not be used.
    #[error("process {id}: input or output failed")]
    Io {
        /// Its id.
        id: Id,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Starts processes and keeps track of them; clones are the same manager.
///
/// Dropping the last clone kills what is not detached.
#[derive(Debug, Clone)]
pub struct Manager {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ManagerOptions,
    events: broadcast::Sender<Event>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    entries: BTreeMap<Id, Arc<Entry>>,
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the oldest finished ones until the bounds hold.
    fn prune(&self) {
        let mut table = self.table();
        let finished: Vec<(Id, usize)> = table
            .entries
            .values()
            .filter(|entry| !entry.is_running())
            .map(|entry| (entry.id, entry.output_len()))
            .collect();
        let (mut count, mut bytes) = (0, 0);
        for (id, len) in finished.into_iter().rev() {
            (count, bytes) = (count + 1, bytes + len);
            if count > self.options.max_finished || bytes > self.options.max_finished_bytes {
                table.entries.remove(&id);
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for entry in self.table().entries.values() {
            if !entry.info().detached {
                entry.stop.send_replace(Some(StopSequence::kill()));
            }
        }
    }
}

impl Manager {
    /// Returns a manager without processes.
    #[must_use]
    pub fn new(options: ManagerOptions) -> Self {
        let (events, _) = broadcast::channel(options.events.max(1));
        Manager {
            inner: Arc::new(Inner {
                options,
                events,
                table: Mutex::default(),
            }),
        }
    }

    /// Returns what happens from now on. A subscriber that lags misses events and is told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Starts a process. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Says why it could not be started; a process that failed to start is in the list.
    pub fn start(&self, options: StartOptions) -> Result<Id, ManagerError> {
        let id = {
            let mut table = self.inner.table();
            table.last += 1;
            Id(table.last)
        };
        let io_error = |source| ManagerError::Io { id, source };
        let plumbing = Plumbing::new(&options).map_err(io_error)?;
        let Plumbing {
            spawn,
            sources,
            stdin,
        } = plumbing;
        let child = match spawn.spawn() {
            Ok(child) => child,
            Err(source) => {
                self.remember_failure(id, &options, &source);
                return Err(ManagerError::Start { id, source });
            }
        };
        let handle = child.handle().try_clone().map_err(io_error)?;
        let keep = if options.capture {
            self.inner.options.output_limit
        } else {
            0
        };
        let info = info(id, &options, Some(child.pid()));
        let entry = Entry::new(info.clone(), Some(handle), stdin, keep);
        self.inner.table().entries.insert(id, Arc::clone(&entry));
        // Before the task runs: nothing of it is told before its start.
        let _nobody = self.inner.events.send(Event::Started(Arc::new(info)));
        let watch = Watch {
            entry,
            events: self.inner.events.clone(),
            line_limit: self.inner.options.line_limit,
            manager: Arc::downgrade(&self.inner),
        };
        tokio::spawn(watch.run(child, sources, options));
        Ok(id)
    }

    fn remember_failure(&self, id: Id, options: &StartOptions, source: &SpawnError) {
        let info = Info {
            status: Status::Failed,
            error: Some(source.to_string()),
            exit_code: Some(source.exit_code()),
            ..info(id, options, None)
        };
        self.inner
            .table()
            .entries
            .insert(id, Entry::new(info.clone(), None, None, 0));
        let _nobody = self.inner.events.send(Event::Exited(Arc::new(info)));
        self.inner.prune();
    }

    fn entry(&self, id: Id) -> Result<Arc<Entry>, ManagerError> {
        let found = self.inner.table().entries.get(&id).cloned();
        found.ok_or(ManagerError::NotFound(id))
    }

    /// Returns the handle of one that runs.
    fn running_entry(&self, id: Id) -> Result<(Arc<Entry>, ProcessHandle), ManagerError> {
        let entry = self.entry(id)?;
        let handle = entry.handle.as_ref().filter(|_| entry.is_running());
        let handle = handle.ok_or(ManagerError::NotRunning(id))?.try_clone();
        let handle = handle.map_err(|source| ManagerError::Io { id, source })?;
        Ok((entry, handle))
    }

    /// Returns a snapshot of a process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn get(&self, id: Id) -> Result<Info, ManagerError> {
        Ok(self.entry(id)?.info())
    }

    /// Returns all processes in the order they were started.
    #[must_use]
    pub fn list(&self) -> Vec<Info> {
        self.inner
            .table()
            .entries
            .values()
            .map(|entry| entry.info())
            .collect()
    }

    /// Returns those that run, in the order they were started.
    #[must_use]
    pub fn running(&self) -> Vec<Info> {
        self.list().into_iter().filter(Info::is_running).collect()
    }

    /// Returns the output that was kept, both streams together.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn output(&self, id: Id) -> Result<Captured, ManagerError> {
        Ok(self.entry(id)?.output())
    }

    /// Forgets a finished process.
    ///
    /// # Errors
    /// When there is no such process, or it runs.
    pub fn remove(&self, id: Id) -> Result<(), ManagerError> {
        if self.entry(id)?.is_running() {
            return Err(ManagerError::StillRunning(id));
        }
        self.inner.table().entries.remove(&id);
        Ok(())
    }

    /// Forgets every finished process.
    pub fn clear(&self) {
        self.inner
            .table()
            .entries
            .retain(|_, entry| entry.is_running());
    }

    /// Writes to a process's standard input. It waits while the process does not read; that keeps
    /// no other request waiting, and ends when the process does.
    ///
    /// # Errors
    /// When it does not run, has no standard input, or has closed it.
    pub async fn send(&self, id: Id, bytes: &[u8]) -> Result<(), ManagerError> {
        let (entry, _) = self.running_entry(id)?;
        let mut stdin = entry.stdin.lock().await;
        let pipe = stdin.as_mut().ok_or(ManagerError::NoStdin(id))?;
        pipe.write_all(bytes)
            .await
            .map_err(|source| ManagerError::Io { id, source })
    }

    /// Closes a process's standard input, after the writes that were begun before; again is fine.
    ///
    /// # Errors
    /// When there is no such process.
    pub async fn close_stdin(&self, id: Id) -> Result<(), ManagerError> {
        let entry = self.entry(id)?;
        entry.stdin.lock().await.take();
        Ok(())
    }

    /// Sends a signal to a process's group, once; nothing ever follows it.
    ///
    /// # Errors
    /// When it does not run, or for `KILL` and `STOP`, which cannot be caught.
    pub fn signal(&self, id: Id, signal: Signal) -> Result<(), ManagerError> {
        if signal == Signal::KILL || signal == Signal::STOP {
            return Err(ManagerError::Uncatchable(signal));
        }
        let (_, handle) = self.running_entry(id)?;
        match handle.signal_group(signal) {
            // It was asked to stay in our group: then it is alone.
            Err(SignalError::NoSuchProcess { .. }) => Ok(handle.signal(signal)?),
            sent => Ok(sent?),
        }
    }

    /// Kills a process's tree and waits until it is gone; whatever else is being asked of it, that
    /// is not waited for. One that has ended already is fine.
    ///
    /// # Errors
    /// When there is no such process.
    pub async fn kill(&self, id: Id) -> Result<Info, ManagerError> {
        if let Ok((_, handle)) = self.running_entry(id) {
            let kill = move || stop_tree(&handle, &StopSequence::kill(), StopOptions::default());
            let killed = tokio::task::spawn_blocking(kill)
                .await
                .map_err(io::Error::other);
            killed
                .and_then(|killed| killed)
                .map_err(|source| ManagerError::Io { id, source })?;
        }
        self.wait(id).await
    }

    /// Ends a process's tree by `TERM` and, after `grace`, `KILL`, and waits until it is gone. One
    /// that has ended already is fine.
    ///
    /// # Errors
    /// When there is no such process.
    pub async fn stop(&self, id: Id, grace: Duration) -> Result<Info, ManagerError> {
        let entry = self.entry(id)?;
        entry.stop.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert_with(|| StopSequence::graceful(Signal::TERM, Some(grace)));
            first
        });
        self.wait(id).await
    }

    /// Waits for the end of a process. Dropping the future is fine.
    ///
    /// # Errors
    /// When there is no such process.
    pub async fn wait(&self, id: Id) -> Result<Info, ManagerError> {
        let entry = self.entry(id)?;
        let mut done = entry.done.subscribe();
        // Not an error: the sender lives as long as the entry.
        let _closed = done.wait_for(|done| *done).await;
        Ok(entry.info())
    }

    /// Ends everything that is not detached, all at once, each within `grace`, and returns how
    /// they ended.
    pub async fn shutdown(&self, grace: Duration) -> Vec<Info> {
        let mut stops = JoinSet::new();
        for info in self.running().into_iter().filter(|info| !info.detached) {
            let manager = self.clone();
            stops.spawn(async move { manager.stop(info.id, grace).await });
        }
        let mut ended: Vec<Info> = stops
            .join_all()
            .await
            .into_iter()
            .filter_map(Result::ok)
            .collect();
        ended.sort_by_key(|info| info.id);
        ended
    }
}

fn info(id: Id, options: &StartOptions, pid: Option<u32>) -> Info {
    let text = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
    Info {
        id,
        program: options.command.program().to_string_lossy().into_owned(),
        args: options.command.arguments().iter().map(text).collect(),
        pid,
        status: Status::Running,
        detached: options.detach.is_some(),
        started_at_ms: unix_ms(),
        exit_code: None,
        signal: None,
        timed_out: false,
        error: None,
        duration: Duration::ZERO,
    }
}

/// A process's streams, ours and its.
struct Plumbing {
    spawn: Spawn,
    sources: [Source; 2],
    stdin: Option<pipe::Sender>,
}

impl Plumbing {
    fn new(options: &StartOptions) -> io::Result<Self> {
        let mut command = options.command.clone();
        let mut stdin = None;
        if options.stdin {
            let (reader, writer) = io::pipe()?;
            command = command.input(Input::File(Arc::new(File::from(
                std::os::fd::OwnedFd::from(reader),
            ))));
            stdin = Some(pipe::Sender::from_owned_fd(writer.into())?);
        }
        let spawn = command.spawn()?;
        if let Some(log) = &options.detach {
            let log = OpenOptions::new().create(true).append(true).open(log)?;
            let both = (
                Stdio::File(log.try_clone()?.into()),
                Stdio::File(log.into()),
            );
            let sources = [Source::none(Stream::Stdout), Source::none(Stream::Stderr)];
            return Ok(Plumbing {
                spawn: spawn.stdout(both.0).stderr(both.1),
                sources,
                stdin,
            });
        }
        let (out_reader, out_writer) = io::pipe()?;
        let (err_reader, err_writer) = io::pipe()?;
        let sources = [
            Source::new(Stream::Stdout, out_reader.into())?,
            Source::new(Stream::Stderr, err_reader.into())?,
        ];
        let spawn = spawn
            .stdout(Stdio::File(out_writer.into()))
            .stderr(Stdio::File(err_writer.into()));
        Ok(Plumbing {
            spawn,
            sources,
            stdin,
        })
    }
}

/// The task beside a process.
struct Watch {
    entry: Arc<Entry>,
    events: broadcast::Sender<Event>,
    line_limit: usize,
    manager: Weak<Inner>,
}

impl Watch {
    async fn run(self, child: Child, sources: [Source; 2], options: StartOptions) {
        let detached = options.detach.is_some();
        let deadline = options
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let limits = Limits {
            deadline,
            stop: StopSequence::graceful(Signal::TERM, Some(options.grace)),
            scope: Scope::Tree,
            allow_detached: detached,
            outlives_us: detached,
        };
        let mut lines = [Lines::new(self.line_limit), Lines::new(self.line_limit)];
        let entry = &self.entry;
        let mut sink = |stream: Stream, bytes: &[u8]| {
            entry.wrote(stream, bytes, &mut lines, &self.events);
        };
        let ended = supervise(child, sources, limits, entry.asked_to_stop(), &mut sink).await;
        // A write that still blocks keeps it; it fails when the last reader is gone.
        if let Ok(mut stdin) = entry.stdin.try_lock() {
            stdin.take();
        }
        entry.ended(ended, lines, &self.events);
        if let Some(manager) = self.manager.upgrade() {
            manager.prune();
        }
    }
}
