//! One instance as a backend is told to run it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use proc_core::{Attributes, StopSequence};
use proc_output::LogOptions;

/// Everything that is needed to start one instance; nothing is looked up elsewhere.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// The project's name.
    pub project: String,
    /// The service's name.
    pub service: String,
    /// The instance's name: names its directory, its socket and its log files.
    pub instance: String,
    /// The instance's number, from 1.
    pub index: u32,
    /// The program and its arguments. A name without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment of the service, complete: nothing is inherited. `LISTEN_PID`,
    /// `LISTEN_FDS` and `LISTEN_FDNAMES` are added from `listen`.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// Session, user, limits and the rest, applied before the program is executed.
    pub attributes: Attributes,
    /// What the service reads.
    pub stdin: StdinMode,
    /// Where its output goes.
    pub log: LogOptions,
    /// Sockets passed from descriptor 3 on, in this order.
    pub listen: Vec<PassedSocket>,
    /// A further descriptor the service gets under a number of its choice (readiness by
    /// `notify_fd`); at least 3 and not one of the `listen` ones.
    pub notify_fd: Option<(Arc<OwnedFd>, i32)>,
    /// Whether background children may outlive the leader. The backend only reports; the
    /// supervisor decides. It matters when there is no supervisor (`die_with_supervisor`).
    pub detached: bool,
    /// Whether the tree ends, by `stop`, when the supervisor is gone, however it died.
    pub die_with_supervisor: bool,
    /// The sequence for `die_with_supervisor`.
    pub stop: StopSequence,
    /// The highest run number that the supervisor has on record; the new one is higher.
    pub last_run: u64,
    /// Settings that only another backend understands (`unit`, `scope`, `sudo`, `label`); a
    /// backend that finds one it cannot honour refuses.
    pub foreign: Vec<(String, String)>,
}

/// One listening socket for the service.
#[derive(Debug, Clone)]
pub struct PassedSocket {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
    /// The socket, shared because it stays open over restarts.
    pub fd: Arc<OwnedFd>,
}

/// What a service has as standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StdinMode {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe that the supervisor can write to and close.
    Pipe,
    /// A pseudo-terminal as standard input, output and error, and as the controlling terminal.
    Pty,
}
