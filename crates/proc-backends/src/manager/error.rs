//! Failures of another service manager, told apart so that each has a clear text.

use std::time::Duration;

/// Why a service manager could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// Its command line program is not installed.
    #[error("`{program}` not found; is it installed?")]
    NoProgram {
        /// The program.
        program: String,
    },
    /// The program could not be run.
    #[error("`{program}` could not be run")]
    Program {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It did not answer in time; it was killed.
    #[error("`{command}` did not answer within {}s and was killed", after.as_secs_f64())]
    TimedOut {
        /// The program and its verb.
        command: String,
        /// How long it had.
        after: Duration,
    },
    /// There is no manager to talk to.
    #[error("no service manager to talk to: {message}")]
    NoManager {
        /// What the program said.
        message: String,
    },
    /// Nobody could be asked; the question that was asked for everybody failed like this.
    #[error("{message}")]
    Silent {
        /// What was wrong.
        message: String,
    },
    /// The caller may not do that.
    #[error("not allowed: {message}")]
    Denied {
        /// What the program said.
        message: String,
    },
    /// The manager does not know the unit or label.
    #[error("`{unit}` does not exist")]
    NoUnit {
        /// The unit or label.
        unit: String,
    },
    /// The unit is masked or disabled.
    #[error("`{unit}` is {how}")]
    Barred {
        /// The unit or label.
        unit: String,
        /// `masked`, `disabled`.
        how: &'static str,
    },
    /// The unit's file cannot be used.
    #[error("`{unit}` cannot be loaded: {message}")]
    BadUnit {
        /// The unit or label.
        unit: String,
        /// What the manager said.
        message: String,
    },
    /// The unit was started too often.
    #[error(
        "`{unit}` was started too often for systemd's own start limit; `systemctl reset-failed {unit}` clears it"
    )]
    StartLimit {
        /// The unit.
        unit: String,
    },
    /// It ended, or timed out, before it counted as started.
    #[error("`{unit}` did not start: {reason}")]
    NotStarted {
        /// The unit or label.
        unit: String,
        /// What the manager recorded.
        reason: String,
    },
    /// A name in the configuration that cannot be passed on.
    #[error("{key} `{value}` is not valid: {reason}")]
    BadName {
        /// The config key: `unit`, `host`, `label`.
        key: &'static str,
        /// The value, escaped.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file of ours could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file or unit of that name belongs to somebody else.
    #[error("`{path}` is not ours: {reason}")]
    NotOurs {
        /// The file.
        path: String,
        /// Whose it is.
        reason: String,
    },
    /// The answer makes no sense.
    #[error("`{command}` gave an answer that makes no sense: {what}")]
    Garbage {
        /// The program and its verb.
        command: String,
        /// What is wrong with it.
        what: String,
    },
    /// Anything else it refused.
    #[error("`{command}` failed with code {code}: {message}")]
    Failed {
        /// The program and its verb.
        command: String,
        /// Its exit code.
        code: i32,
        /// What it said.
        message: String,
    },
}
