//! What supervisor and shim say to each other.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use proc_core::{Attributes, Identity, Mechanism, ProcessEnd, Signal, StopReport, StopSequence};
use proc_output::LogOptions;

use crate::unstored::Unstored;

/// Who a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// The supervisor: gets notices, and the loss of the last one triggers `die_with_supervisor`.
    #[default]
    Controller,
    /// Somebody who only asks.
    Observer,
}

/// What a service has as standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe, written by [`Request::StdinWrite`].
    Pipe,
    /// A pseudo-terminal for all three streams.
    Pty,
    /// A descriptor that came with the request.
    Passed,
}

/// Where a standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// Into the shim's log.
    #[default]
    Log,
    /// `/dev/null`.
    Null,
    /// A descriptor that came with the request.
    Passed,
}

/// When the shim itself starts the command again: only for the supervisor that it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respawn {
    /// The first delay; doubled for each further one.
    pub initial: Duration,
    /// The longest delay.
    pub max: Duration,
    /// A run of this length makes the next delay the first again.
    pub reset_after: Duration,
    /// Exit codes after which there is nothing to restart; the shim ends too.
    pub final_codes: Vec<i32>,
}

impl Respawn {
    /// Returns whether an exit with this code is the end.
    #[must_use]
    pub fn is_final(&self, code: i32) -> bool {
        self.final_codes.contains(&code)
    }
}

impl Default for Respawn {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(50),
            max: Duration::from_secs(1),
            reset_after: Duration::from_secs(10),
            final_codes: vec![0],
        }
    }
}

/// Everything the shim needs for a run.
///
/// Descriptors travel beside it in this order: stdin, stdout, stderr (those that are `Passed`),
/// then one per name in `listen`, then the extra one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StartSpec {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The complete environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory.
    pub cwd: PathBuf,
    /// What is applied before the program is executed.
    pub attributes: Attributes,
    /// Standard input.
    pub stdin: Stdin,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// How the log is written.
    pub log: LogOptions,
    /// The names of passed sockets, which become descriptors 3, 4, …
    pub listen: Vec<String>,
    /// The number under which the service gets one more descriptor.
    pub extra_fd: Option<i32>,
    /// Whether background children may outlive the leader.
    pub detached: bool,
    /// Whether the loss of the supervisor ends the tree.
    pub die_with_supervisor: bool,
    /// The sequence for that.
    pub stop: StopSequence,
    /// Whether the shim restarts the command by itself.
    pub respawn: Option<Respawn>,
    /// The new run's number is higher than this.
    pub last_run: u64,
}

/// A service that a replacement shim takes over.
///
/// Descriptors beside it: the leader's pidfd, then those of `stdout`, `stderr`, `stdin` that are set.
#[derive(Debug, Clone, PartialEq)]
pub struct AdoptSpec {
    /// The run.
    pub run: u64,
    /// The leader.
    pub identity: Identity,
    /// Its process group.
    pub pgid: u32,
    /// When it was started, in Unix milliseconds.
    pub started_at: u64,
    /// Whether the read end of its standard output comes along.
    pub stdout: bool,
    /// Whether the read end of its standard error comes along.
    pub stderr: bool,
    /// Whether the write end of its standard input comes along.
    pub stdin: bool,
    /// Whether the descriptors are a terminal's, so all three are one.
    pub pty: bool,
    /// Its cgroup's directory, if it has one.
    pub cgroup: Option<PathBuf>,
    /// How it is to be treated.
    pub terms: Terms,
}

/// What a replacement shim has to know about a run that it did not start.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// How the log is written.
    pub log: LogOptions,
    /// As in [`StartSpec`].
    pub detached: bool,
    /// As in [`StartSpec`].
    pub die_with_supervisor: bool,
    /// As in [`StartSpec`].
    pub stop: StopSequence,
}

/// Whom a signal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// The leader.
    #[default]
    Leader,
    /// The leader's process group.
    Group,
    /// Everyone in the tree.
    Tree,
}

/// What a supervisor asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Opens a connection; answered by [`Reply::Snapshot`].
    Hello {
        /// Who asks.
        role: Role,
    },
    /// Starts a run; answered by [`Reply::Started`] with the descriptors of [`Reply::Fds`].
    Start(Box<StartSpec>),
    /// Sends one signal.
    Signal {
        /// Which.
        signal: Signal,
        /// To whom.
        target: Target,
    },
    /// Ends the tree; answered by [`Reply::Stopped`] when it is over.
    Stop {
        /// The steps.
        sequence: StopSequence,
        /// Forces a tier instead of the best one.
        tier: Option<Mechanism>,
        /// Reaches the leader's process group alone; what left it lives on.
        group: bool,
    },
    /// Writes to standard input; answered when the bytes are in the pipe.
    StdinWrite(Vec<u8>),
    /// Closes standard input.
    StdinClose,
    /// Begins a new log file.
    RotateLog,
    /// Asks for a [`Reply::Snapshot`].
    Status,
    /// Asks for duplicates of pidfd and pipe ends: [`Reply::Fds`].
    HandFds,
    /// Hands a running service over to this shim.
    Adopt(Box<AdoptSpec>),
    /// Changes what the loss of the supervisor does.
    SetOptions {
        /// Whether it ends the tree.
        die_with_supervisor: bool,
    },
    /// The exits up to that of this run are recorded elsewhere.
    Acknowledge {
        /// The run.
        run: u64,
    },
    /// The run goes on in another process of its tree, whose end is the run's end from here on:
    /// that of a live leader, or of one that has just ended and left others behind. Answered by
    /// [`Reply::Started`] with the descriptors of [`Reply::Fds`].
    Follow {
        /// The run.
        run: u64,
        /// The process; 0 for the only one that the leader left behind.
        pid: u32,
    },
    /// Sets the terminal's size.
    Resize {
        /// Lines.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Ends the shim, if nothing of the service is left.
    Exit,
}

/// A run that began.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Its number.
    pub run: u64,
    /// The leader.
    pub identity: Identity,
    /// The leader's process group.
    pub pgid: u32,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Fields honoured in a weaker form, a line each.
    pub downgrades: Vec<String>,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Exited {
    /// Its number.
    pub run: u64,
    /// How; `None` when this shim is not the parent and the kernel did not tell.
    pub end: Option<ProcessEnd>,
    /// Why `end` is `None`.
    pub unknown: Option<String>,
    /// Unix milliseconds.
    pub at: u64,
    /// How long it ran, in milliseconds.
    pub runtime_ms: u64,
    /// Whether the out-of-memory killer did it; `None` where that cannot be known.
    pub oom: Option<bool>,
    /// Bytes in the stdout (or merged) log at the exit.
    pub stdout_offset: u64,
    /// Bytes in the stderr log at the exit.
    pub stderr_offset: u64,
}

/// Everything about the instance at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The shim; not told to the process that started it while it has nothing on record yet.
    pub shim: Option<Identity>,
    /// The instance's name.
    pub instance: String,
    /// The highest run number so far, 0 for none.
    pub last_run: u64,
    /// The live run.
    pub running: Option<Running>,
    /// The last run's end.
    pub exited: Option<Exited>,
    /// Whether that end was acknowledged.
    pub acknowledged: bool,
    /// Whether nothing of the tree is left.
    pub tree_empty: bool,
    /// Whether this shim took the service over from another one.
    pub replacement: bool,
    /// The service's own cgroup.
    pub cgroup: Option<PathBuf>,
    /// Log bytes dropped since the shim began.
    pub dropped_bytes: u64,
    /// What does not work, a line each: `log: ENOSPC …`.
    pub troubles: Vec<String>,
    /// How often the shim restarted the command by itself.
    pub respawns: u32,
    /// How the current or last run is treated.
    pub terms: Option<Terms>,
    /// The ends of earlier runs that nobody has acknowledged.
    pub unstored: Unstored,
}

/// What the shim answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Done.
    Done,
    /// Not done.
    Failed(Failure),
    /// A run began. Descriptors as in `Fds`.
    Started {
        /// The run.
        running: Running,
        /// What the descriptors are.
        fds: FdSet,
    },
    /// Everything.
    Snapshot(Box<Snapshot>),
    /// A stop is over.
    Stopped(StopReport),
    /// Descriptors come along.
    Fds(FdSet),
}

/// Which descriptors come along, in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FdSet {
    /// The leader's pidfd.
    pub pidfd: bool,
    /// The read end of standard output, or the merged pipe, or the terminal's master side.
    pub stdout: bool,
    /// The read end of standard error.
    pub stderr: bool,
    /// The write end of standard input.
    pub stdin: bool,
    /// Whether `stdout` is a terminal.
    pub pty: bool,
}

impl FdSet {
    /// Returns how many descriptors that is.
    #[must_use]
    pub fn count(self) -> usize {
        [self.pidfd, self.stdout, self.stderr, self.stdin]
            .into_iter()
            .filter(|set| *set)
            .count()
    }
}

/// The kinds of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureKind {
    /// The program does not exist.
    NotFound = 1,
    /// The program cannot be executed.
    NotExecutable = 2,
    /// An attribute could not be applied.
    Attribute = 3,
    /// A run, or a background child of one, lives.
    StillRunning = 4,
    /// There is nothing to act on.
    NotRunning = 5,
    /// Standard input is not open.
    NoStdin = 6,
    /// Another request of the kind is still being carried out.
    Busy = 7,
    /// The request makes no sense.
    Malformed = 8,
    /// A system call failed.
    Os = 9,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// The attribute or operation: `user`, `cwd`, `pipe`.
    pub what: String,
    /// Its value: `www`, a path, a pid.
    pub value: String,
    /// The error number, 0 for none.
    pub errno: i32,
}

impl Failure {
    /// Returns a failure without a value.
    #[must_use]
    pub fn new(kind: FailureKind, what: &str) -> Self {
        Self {
            kind,
            what: what.to_owned(),
            value: String::new(),
            errno: 0,
        }
    }

    /// Returns a failed system call.
    #[must_use]
    pub fn os(what: &str, error: &std::io::Error) -> Self {
        Self {
            kind: FailureKind::Os,
            what: what.to_owned(),
            value: String::new(),
            errno: error.raw_os_error().unwrap_or(0),
        }
    }
}

/// What the shim says unasked.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The leader was reaped.
    Exited(Exited),
    /// Nothing of the tree is left.
    TreeEmpty {
        /// The run it belonged to.
        run: u64,
    },
    /// A stop went a step on.
    StopProgress {
        /// The signal just sent.
        signal: Signal,
        /// How long until the next step; `None` = for ever.
        wait: Option<Duration>,
    },
    /// Something does not work.
    Trouble {
        /// What: `log`, `state`.
        what: String,
        /// Why.
        error: String,
    },
    /// It works again.
    Healed {
        /// What.
        what: String,
    },
    /// The shim restarted the command by itself.
    Respawned(Running),
}

/// Any message from the shim.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// The answer to the request of this id.
    Reply(u32, Reply),
    /// Unasked.
    Notice(Notice),
}
