//! Failures of backend operations.

use std::io;
use std::path::PathBuf;

use crate::manager::ManagerError;

/// Why an instance was not started. Nothing runs after any of these.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program does not exist (code 127).
    #[error("program `{program}` not found")]
    NotFound {
        /// The program as given.
        program: String,
    },
    /// The program exists but cannot be executed (code 126).
    #[error("program `{program}` cannot be executed: {errno}")]
    NotExecutable {
        /// The program as given.
        program: String,
        /// The kernel's reason.
        errno: io::Error,
    },
    /// An attribute could not be applied (code 125).
    #[error("{kind}: {attribute} `{value}`: {errno}", kind = errno.kind_name())]
    Attribute {
        /// The key: `user`, `cwd`, `limits.nofile`.
        attribute: String,
        /// The value that failed.
        value: String,
        /// The kernel's reason.
        errno: Errno,
    },
    /// The previous run, or a background child of it, still lives.
    #[error("`{instance}` still runs as pid {pid}")]
    StillRunning {
        /// The instance.
        instance: String,
        /// Its leader, or one of its children.
        pid: u32,
    },
    /// Whether the previous run still lives cannot be told.
    #[error(
        "the run before{} may still live: {obstacle}; {remedy}",
        pid.map_or_else(String::new, |pid| format!(", pid {pid},"))
    )]
    Doubt {
        /// Its leader, where it is known.
        pid: Option<u32>,
        /// What stands in the way.
        obstacle: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Its detectors see it running, and it was not started here.
    #[error("`{instance}` runs already, started by somebody else: {evidence}")]
    RunsAlready {
        /// The instance.
        instance: String,
        /// Which detector saw what.
        evidence: String,
    },
    /// The spec asks for something that this backend cannot do.
    #[error("{field} is not possible with the {backend} backend")]
    Unsupported {
        /// The config key.
        field: String,
        /// The backend.
        backend: &'static str,
    },
    /// The keeper could not be started or did not answer.
    #[error("no shim for `{instance}`")]
    Keeper {
        /// The instance.
        instance: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The keeper ended in the middle; whether the program was executed is not known, and what
    /// there was of it was ended.
    #[error("the shim of `{instance}` was lost during the start")]
    KeeperLost {
        /// The instance.
        instance: String,
    },
    /// The service manager that runs it could not be asked, or said no.
    #[error("`{instance}` was not started")]
    Manager {
        /// The instance.
        instance: String,
        /// What the manager said.
        #[source]
        source: ManagerError,
    },
}

impl StartError {
    /// Returns the code that `proc run` and `last_exit` use: 127, 126 or 125.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }
}

/// An error number that prints as its meaning and knows its kind's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(
    /// The number, as in errno(3).
    pub i32,
);

impl Errno {
    /// Returns the kind's name, `PermissionDenied`.
    #[must_use]
    pub fn kind_name(self) -> String {
        format!("{:?}", io::Error::from_raw_os_error(self.0).kind())
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

/// Why an operation on an instance did not happen.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The backend has never heard of it.
    #[error("`{instance}` is not known to the backend")]
    Unknown {
        /// The instance.
        instance: String,
    },
    /// There is nothing to operate on.
    #[error("`{instance}` does not run")]
    NotRunning {
        /// The instance.
        instance: String,
    },
    /// Its tree is not empty.
    #[error("`{instance}` still runs")]
    StillRunning {
        /// The instance.
        instance: String,
    },
    /// Its standard input cannot be written.
    #[error("standard input of `{instance}` is not open; `stdin = \"pipe\"` opens it")]
    NoStdin {
        /// The instance.
        instance: String,
    },
    /// The backend cannot do this at all.
    #[error("{operation} is not possible with the {backend} backend")]
    Unsupported {
        /// The verb.
        operation: &'static str,
        /// The backend.
        backend: &'static str,
    },
    /// The keeper was lost before it answered; a later event tells what became of the instance.
    #[error("the shim of `{instance}` was lost")]
    KeeperLost {
        /// The instance.
        instance: String,
    },
    /// The operation itself failed.
    #[error("`{instance}`: {operation} failed")]
    Failed {
        /// The instance.
        instance: String,
        /// The verb.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The service manager that runs it could not be asked, or said no.
    #[error("`{instance}`: {operation} failed")]
    Manager {
        /// The instance.
        instance: String,
        /// The verb.
        operation: &'static str,
        /// What the manager said.
        #[source]
        source: ManagerError,
    },
}

/// Why an earlier supervisor's instance could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// A record makes no sense; it was set aside.
    #[error("record `{}` cannot be read ({reason}); kept as `{}`", path.display(), kept.display())]
    Unreadable {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Where it is now.
        kept: PathBuf,
    },
    /// The instance's directory cannot be read.
    #[error("cannot look at `{}`", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Whether it still runs cannot be told, so nothing may be started over it. Ask again later.
    #[error(
        "cannot tell whether {} still lives, so nothing is started over it: {obstacle}; {remedy}",
        pid.map_or_else(|| "it".to_owned(), |pid| format!("pid {pid}"))
    )]
    Doubt {
        /// The leader on record.
        pid: Option<u32>,
        /// Its run.
        run: Option<u64>,
        /// What stands in the way.
        obstacle: String,
        /// What to do about it.
        remedy: String,
    },
    /// The service manager that runs it could not be asked.
    #[error("cannot ask about `{instance}`")]
    Manager {
        /// The instance.
        instance: String,
        /// What the manager said.
        #[source]
        source: ManagerError,
    },
}
