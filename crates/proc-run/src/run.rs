//! One command, run to its end.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proc_core::{
    ProcessEnd, Scope, Signal, Spawn, SpawnError, Stdio, StopReport, StopSequence, Survivor,
};
use serde::{Serialize, Serializer};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::captured::Captured;
use crate::command::Command;
use crate::supervise::{Cause, Limits, Source, Stream, Supervised, supervise};

/// How many bytes of output are kept where nobody says otherwise: 8 MiB.
pub const DEFAULT_CAPTURE: usize = 8 * 1024 * 1024;
/// How long a command may take to end after `TERM` where nobody says otherwise: 5 s.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

type OnOutput = Arc<Mutex<dyn FnMut(Stream, &[u8]) + Send>>;

/// Where the output of a command goes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Output {
    /// Kept, both streams together in the order they were written; the last `limit` bytes.
    Combined {
        /// How many bytes are kept.
        limit: usize,
    },
    /// Kept, each stream by itself; the last `limit` bytes of each.
    Separate {
        /// How many bytes are kept.
        limit: usize,
    },
    /// To the standard output and standard error of this process.
    Inherit,
    /// To an open file, both streams. It stays open here, also when it is this process's own
    /// standard error.
    File(Arc<File>),
    /// Nowhere: `/dev/null`.
    Null,
}

impl Default for Output {
    fn default() -> Self {
        Output::Combined {
            limit: DEFAULT_CAPTURE,
        }
    }
}

/// A command with what bounds it, ready to be run, as often as wanted.
#[derive(Clone)]
#[must_use = "nothing runs before `run`"]
pub struct Run {
    command: Command,
    timeout: Option<Duration>,
    stop: StopSequence,
    output: Output,
    allow_detached: bool,
    on_output: Option<OnOutput>,
}

/// A command could not be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// It could not be started; see [`SpawnError::exit_code`] for what a shell would exit with.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// Its pipes could not be made or watched.
    #[error("cannot watch the command")]
    Io(#[from] io::Error),
    /// It could not be ended: it is one of the survivors.
    #[error("the command survived its stop: {}", survivors(.0))]
    Survived(Vec<Survivor>),
    /// The task that watched it was torn down with its runtime.
    #[error("the task that watched the command ended early")]
    Lost,
}

fn survivors(list: &[Survivor]) -> String {
    list.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// How a command went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finished {
    /// How it ended.
    pub end: ProcessEnd,
    /// Why it ended.
    pub cause: Cause,
    /// Its standard output, or both streams where they were combined.
    pub output: Captured,
    /// Its standard error, where that was kept by itself.
    pub stderr: Captured,
    /// How long it took; milliseconds in JSON.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// What ending it, or the children it left behind, took.
    pub stop: Option<StopReport>,
}

impl Finished {
    /// Tells whether it ended by itself with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.cause == Cause::Itself && self.end.success()
    }

    /// Tells whether its time was over.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.cause == Cause::TimedOut
    }

    /// Returns the code a shell would report: its own, or 128 and the signal's number.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.end.shell_code()
    }

    /// Returns the code timeout(1) would exit with: as [`Finished::shell_code`], but 124 after a
    /// timeout, and 137 when that took `KILL`.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        // A shell whose child was killed may be the one that reports it.
        let killed = self.shell_code() == 128 + Signal::KILL.raw();
        match self.cause {
            Cause::TimedOut if killed => 137,
            Cause::TimedOut => 124,
            Cause::Itself | Cause::Cancelled => self.shell_code(),
        }
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Itself => self.end.fmt(f),
            Cause::TimedOut => write!(f, "timed out after {:?}", whole_millis(self.duration)),
            Cause::Cancelled => f.write_str("was cancelled"),
        }
    }
}

/// Returns a time that reads well.
fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn as_millis<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl Run {
    /// Prepares a command: no timeout, combined output kept, children in the background end with
    /// it.
    pub fn new(command: Command) -> Self {
        Run {
            command,
            timeout: None,
            stop: StopSequence::graceful(Signal::TERM, Some(DEFAULT_GRACE)),
            output: Output::default(),
            allow_detached: false,
            on_output: None,
        }
    }

    /// Sets how long it may take before its tree is ended; `None` is for ever.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets how its tree is ended: at the timeout, at a cancel, and what is left when it ends.
    pub fn stop(mut self, stop: StopSequence) -> Self {
        self.stop = stop;
        self
    }

    /// Sets where its output goes.
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Says whether children in the background may outlive it: its end, and also its stop, which then
    /// reaches its process group alone (its whole tree where it has no group of its own). Their output should go elsewhere:
    /// once the command has ended nobody reads the pipe any more.
    pub fn allow_detached(mut self, allow: bool) -> Self {
        self.allow_detached = allow;
        self
    }

    /// Has every piece of kept output shown to `on_output` when it comes; it must not block.
    pub fn on_output(mut self, on_output: impl FnMut(Stream, &[u8]) + Send + 'static) -> Self {
        self.on_output = Some(Arc::new(Mutex::new(on_output)));
        self
    }

    /// Returns how far a stop reaches. Without a group of its own there is nothing to tell what is in the background by.
    fn scope(&self) -> Scope {
        if self.allow_detached && !self.command.is_foreground() {
            Scope::Group
        } else {
            Scope::Tree
        }
    }

    /// Returns the command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Runs it to its end. Must be called within a tokio runtime.
    ///
    /// Dropping the future ends the command's tree, beside the caller.
    ///
    /// # Errors
    /// Only when it could not be run at all, or not be ended; a failure of the command is a
    /// [`Finished`].
    pub async fn run(&self) -> Result<Finished, RunError> {
        self.run_until(std::future::pending()).await
    }

    /// Runs it to its end or until `cancelled` is done: then its tree is ended, and what it had
    /// printed is returned.
    ///
    /// # Errors
    /// See [`Run::run`].
    pub async fn run_until(
        &self,
        cancelled: impl Future<Output = ()>,
    ) -> Result<Finished, RunError> {
        let begin = Instant::now();
        let (spawn, sources, limit) = self.plumb(self.command.spawn()?)?;
        let child = spawn.spawn()?;
        let limits = Limits {
            deadline: self.timeout.and_then(|timeout| begin.checked_add(timeout)),
            stop: self.stop.clone(),
            scope: self.scope(),
            allow_detached: self.allow_detached,
            outlives_us: false,
        };
        let (ask, asked) = oneshot::channel::<()>();
        let (on_output, stop) = (self.on_output.clone(), self.stop.clone());
        // A task of its own: it ends the tree and reaps even if nobody waits any more.
        let task = tokio::spawn(async move {
            let mut kept = [Captured::new(limit), Captured::new(limit)];
            let mut sink = |stream: Stream, bytes: &[u8]| {
                kept[stream as usize].push(bytes);
                if let Some(on_output) = &on_output {
                    let mut call = on_output.lock().unwrap_or_else(PoisonError::into_inner);
                    call(stream, bytes);
                }
            };
            // An answer and a hang-up mean the same: the command is not wanted any more.
            let not_wanted = async {
                let _hung_up = asked.await;
                stop
            };
            let ended = supervise(child, sources, limits, not_wanted, &mut sink).await;
            (ended, kept)
        });
        let mut ask = Some(ask);
        let joined = {
            tokio::pin!(task, cancelled);
            loop {
                tokio::select! {
                    biased;
                    joined = &mut task => break joined,
                    () = &mut cancelled, if ask.is_some() => drop(ask.take()),
                }
            }
        };
        drop(ask);
        let (ended, kept) = joined.map_err(|_| RunError::Lost)?;
        finished(ended?, kept, begin.elapsed())
    }

    /// Makes the pipes, and says how many bytes of each stream are kept.
    fn plumb(&self, spawn: Spawn) -> io::Result<(Spawn, [Source; 2], usize)> {
        let nothing = || [Source::none(Stream::Stdout), Source::none(Stream::Stderr)];
        let both = |spawn: Spawn, out: OwnedFd, err: OwnedFd| {
            spawn.stdout(Stdio::File(out)).stderr(Stdio::File(err))
        };
        Ok(match &self.output {
            Output::Inherit => (spawn, nothing(), 0),
            Output::Null => (spawn.stdout(Stdio::Null).stderr(Stdio::Null), nothing(), 0),
            Output::File(file) => {
                let (out, err) = (file.try_clone()?.into(), file.try_clone()?.into());
                (both(spawn, out, err), nothing(), 0)
            }
            Output::Combined { limit } => {
                let (reader, writer) = io::pipe()?;
                let out = Source::new(Stream::Stdout, reader.into())?;
                let spawn = both(spawn, writer.try_clone()?.into(), writer.into());
                (spawn, [out, Source::none(Stream::Stderr)], *limit)
            }
            Output::Separate { limit } => {
                let (out_reader, out_writer) = io::pipe()?;
                let (err_reader, err_writer) = io::pipe()?;
                let out = Source::new(Stream::Stdout, out_reader.into())?;
                let err = Source::new(Stream::Stderr, err_reader.into())?;
                (
                    both(spawn, out_writer.into(), err_writer.into()),
                    [out, err],
                    *limit,
                )
            }
        })
    }
}

fn finished(
    ended: Supervised,
    [output, stderr]: [Captured; 2],
    duration: Duration,
) -> Result<Finished, RunError> {
    let Supervised { end, cause, report } = ended;
    let Some(end) = end else {
        return Err(RunError::Survived(
            report.map(|report| report.survivors).unwrap_or_default(),
        ));
    };
    Ok(Finished {
        end,
        cause,
        output,
        stderr,
        duration,
        stop: report,
    })
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("command", &self.command)
            .field("timeout", &self.timeout)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}
