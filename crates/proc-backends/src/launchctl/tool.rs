//! The command lines of launchctl(1), and what its codes mean.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use proc_core::Signal;

use super::facts::{JobFacts, JobState, is_disabled, job_state};
use super::options::LaunchctlOptions;
use super::target::Target;
use crate::backend::BoxFuture;
use crate::call::{Answer, Call};
use crate::manager::ManagerError;

/// What the codes of launchctl(1) mean (`launchctl error N`); measured and inferred in the
/// contract table.
mod code {
    pub(super) const NOT_PERMITTED: i32 = 1;
    pub(super) const NO_PROCESS: i32 = 3;
    pub(super) const IO: i32 = 5;
    pub(super) const IN_PROGRESS: i32 = 36;
    pub(super) const ALREADY: i32 = 37;
    pub(super) const NO_DOMAIN: i32 = 112;
    pub(super) const NO_SERVICE: i32 = 113;
    pub(super) const DISABLED: i32 = 119;
    pub(super) const WRONG_DOMAIN: i32 = 125;
    pub(super) const PROTECTED: i32 = 150;
}

/// Whatever runs launchctl(1): the program, or a launchd made of plain data in tests.
pub(crate) trait Exec: Send + Sync + fmt::Debug {
    fn run(&self, call: Call) -> BoxFuture<'_, Result<Answer, ManagerError>>;
}

/// Runs the program.
#[derive(Debug)]
pub(crate) struct Program;

impl Exec for Program {
    fn run(&self, call: Call) -> BoxFuture<'_, Result<Answer, ManagerError>> {
        Box::pin(async move { call.run().await })
    }
}

/// What launchd has under a label.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// Nothing is loaded.
    Nothing,
    /// A job.
    Job(JobFacts),
}

/// What became of an attempt to load a job.
#[derive(Debug)]
pub(crate) enum Loaded {
    Yes,
    /// launchd says so while the old job is still there, and for many other reasons.
    Busy(ManagerError),
    Disabled,
}

/// Runs launchctl(1) for one target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool<'a> {
    pub(crate) options: &'a LaunchctlOptions,
    pub(crate) exec: &'a dyn Exec,
    pub(crate) target: &'a Target,
}

impl Tool<'_> {
    async fn run(&self, changes: bool, words: &[&str]) -> Result<Answer, ManagerError> {
        let mut program = self.options.launchctl.clone();
        let mut args: Vec<String> = Vec::new();
        if changes && self.target.sudo {
            args.extend(["-n".to_owned(), "--".to_owned(), program]);
            program = self.options.sudo.clone();
        }
        args.extend(words.iter().map(|word| (*word).to_owned()));
        self.call(program, args, self.options.timeout).await
    }

    async fn call(
        &self,
        program: String,
        args: Vec<String>,
        timeout: Duration,
    ) -> Result<Answer, ManagerError> {
        let call = Call {
            program,
            args,
            env: self.options.env.clone(),
            timeout,
        };
        self.exec.run(call).await
    }

    fn garbage(command: &str, what: String) -> ManagerError {
        ManagerError::Garbage {
            command: format!("launchctl {command}"),
            what,
        }
    }

    /// Asks what there is: by `print`, and by `list` where that is not understood.
    pub(crate) async fn look(&self) -> Result<Seen, ManagerError> {
        let service = self.target.service();
        let answer = self.run(false, &["print", &service]).await?;
        match answer.code {
            0 => {}
            code::NO_SERVICE => return Ok(Seen::Nothing),
            _ => return Err(self.refusal("print", &answer)),
        }
        let wrong = match JobFacts::parse(&answer.stdout, &service) {
            Ok(facts) if job_state(&facts).0 != JobState::Unknown => return Ok(Seen::Job(facts)),
            Ok(facts) => Ok(facts),
            Err(what) => Err(what),
        };
        let label = &self.target.label;
        let listed = self.run(false, &["list", label]).await;
        let listed = listed.ok().filter(|answer| answer.code == 0);
        if let Some(facts) = listed.and_then(|l| JobFacts::parse_list(&l.stdout, label).ok()) {
            return Ok(Seen::Job(facts));
        }
        wrong
            .map(Seen::Job)
            .map_err(|what| Self::garbage("print", what))
    }

    /// Asks whether the label may not be loaded at all.
    pub(crate) async fn is_disabled(&self) -> Result<bool, ManagerError> {
        let answer = self
            .run(false, &["print-disabled", &self.target.domain])
            .await?;
        if answer.code != 0 {
            return Err(self.refusal("print-disabled", &answer));
        }
        is_disabled(&answer.stdout, &self.target.label)
            .map_err(|what| Self::garbage("print-disabled", what))
    }

    pub(crate) async fn enable(&self) -> Result<(), ManagerError> {
        let answer = self.run(true, &["enable", &self.target.service()]).await?;
        self.unless(&answer, "enable", &[0])
    }

    /// Tells launchd to end and forget the job; it may take its time with both.
    pub(crate) async fn bootout(&self) -> Result<(), ManagerError> {
        let answer = self.run(true, &["bootout", &self.target.service()]).await?;
        let fine = [0, code::NO_PROCESS, code::IN_PROGRESS, code::NO_SERVICE];
        self.unless(&answer, "bootout", &fine)
    }

    pub(crate) async fn bootstrap(&self, path: &Path) -> Result<Loaded, ManagerError> {
        let path = path.display().to_string();
        let words = ["bootstrap", &self.target.domain, &path];
        let answer = self.run(true, &words).await?;
        match answer.code {
            0 => Ok(Loaded::Yes),
            code::IO | code::ALREADY => Ok(Loaded::Busy(self.refusal("bootstrap", &answer))),
            code::DISABLED => Ok(Loaded::Disabled),
            _ => Err(self.refusal("bootstrap", &answer)),
        }
    }

    /// Starts the job; returns the process, where launchd names it.
    pub(crate) async fn kickstart(&self) -> Result<Option<u32>, ManagerError> {
        let answer = self
            .run(true, &["kickstart", "-p", &self.target.service()])
            .await?;
        self.unless(&answer, "kickstart", &[0])?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let number = text.split_whitespace().next_back();
        Ok(number
            .and_then(|word| word.parse().ok())
            .filter(|pid| *pid > 0))
    }

    /// Sends a signal to the job's process.
    pub(crate) async fn kill(&self, signal: Signal) -> Result<(), ManagerError> {
        let name = format!("SIG{signal}");
        let answer = self
            .run(true, &["kill", &name, &self.target.service()])
            .await?;
        self.unless(&answer, "kill", &[0])
    }

    /// Returns what a process wrote to the unified log since a time.
    pub(crate) async fn log_show(
        &self,
        pid: u32,
        since_unix: u64,
    ) -> Result<Vec<u8>, ManagerError> {
        let words = [
            "show",
            "--style",
            "compact",
            "--predicate",
            &format!("processID == {pid}"),
            "--start",
            &format!("@{since_unix}"),
        ];
        let args = words.map(str::to_owned).to_vec();
        let answer = self
            .call(self.options.log.clone(), args, self.options.timeout)
            .await?;
        self.unless(&answer, "log show", &[0])?;
        Ok(answer.stdout)
    }

    fn unless(&self, answer: &Answer, verb: &str, fine: &[i32]) -> Result<(), ManagerError> {
        if fine.contains(&answer.code) {
            return Ok(());
        }
        Err(self.refusal(verb, answer))
    }

    fn refusal(&self, verb: &str, answer: &Answer) -> ManagerError {
        let mut lines = answer
            .stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let message: String = lines
            .next()
            .unwrap_or("no message")
            .chars()
            .take(300)
            .collect();
        let message = message.escape_debug().to_string().replace("\\\"", "\"");
        let sudo = [
            "a password is required",
            "is not in the sudoers",
            "may not run sudo",
        ];
        let denied = sudo.iter().any(|text| answer.stderr.contains(text))
            || answer.stderr.contains("Operation not permitted");
        match answer.code {
            code::NOT_PERMITTED | code::PROTECTED if denied => ManagerError::Denied { message },
            code::NO_DOMAIN | code::WRONG_DOMAIN => ManagerError::NoManager { message },
            code::NO_SERVICE | code::NO_PROCESS => self.target.no_job(),
            code::DISABLED => self.target.disabled(),
            code => ManagerError::Failed {
                command: format!("launchctl {verb}"),
                code,
                message,
            },
        }
    }
}
