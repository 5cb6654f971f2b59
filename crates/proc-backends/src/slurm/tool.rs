//! The command lines of sbatch(1), squeue(1), scancel(1) and sinfo(1), and what their answers mean.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use proc_core::Signal;
use tokio::sync::Semaphore;

use super::facts::{FORMAT, SlurmFacts};
use super::job::Job;
use super::options::SlurmOptions;
use crate::call::{Answer, Call};
use crate::manager::ManagerError;

/// How many jobs are asked about or cancelled in one call.
const AT_ONCE: usize = 500;
/// How many calls run at once: a controller has better things to do.
const CALLS: usize = 8;

/// What squeue(1) says of the jobs that were asked about; `None` is a job that it does not know, an error one of which
/// it says something that makes no sense.
pub(crate) type Jobs = HashMap<u32, Result<Option<SlurmFacts>, String>>;

/// Runs Slurm's programs.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    options: Arc<SlurmOptions>,
    turns: Arc<Semaphore>,
}

/// Which processes of a job a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The program alone.
    Program,
    /// Everything that runs in the job.
    All,
}

impl Tool {
    pub(crate) fn new(options: SlurmOptions) -> Self {
        Self {
            options: Arc::new(options),
            turns: Arc::new(Semaphore::new(CALLS)),
        }
    }

    pub(crate) fn options(&self) -> &SlurmOptions {
        &self.options
    }

    async fn run(&self, program: &str, args: Vec<String>) -> Result<Answer, ManagerError> {
        let _turn = self.turns.acquire().await;
        let slurms = ["SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SINFO_"];
        let mut env = self.options.env.clone();
        env.retain(|name, _| {
            name == "SLURM_CONF" || slurms.iter().all(|prefix| !name.starts_with(prefix))
        });
        env.insert("SLURM_TIME_FORMAT".to_owned(), "%s".to_owned());
        let call = Call {
            program: program.to_owned(),
            args,
            env,
            timeout: self.options.timeout,
        };
        call.run().await
    }

    /// Submits a job, whose script and environment lie in `dir` meanwhile, and returns its number.
    pub(crate) async fn submit(&self, job: &Job, dir: &Path) -> Result<u32, ManagerError> {
        let (args, _files) = job.prepare(dir)?;
        let answer = self.run(&self.options.sbatch, args).await?;
        if answer.code != 0 {
            return Err(refusal("sbatch", "the job", &answer));
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        // With several clusters the one it went to follows.
        let number = last.and_then(|line| line.trim().split(';').next());
        number
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| garbage("sbatch", &text))
    }

    /// Asks about jobs. Text in columns of our choice, not `--json`: that ignores which jobs are asked about (Slurm
    /// 22.05 answers with every job of the cluster, and an unreachable controller with code 0 and no jobs), and
    /// its shape changes with every version.
    pub(crate) async fn look(&self, ids: &[u32]) -> Result<Jobs, ManagerError> {
        let mut all = Jobs::new();
        for ids in ids.chunks(AT_ONCE) {
            all.extend(ids.iter().map(|id| (*id, Ok(None))));
            let list: Vec<String> = ids.iter().map(u32::to_string).collect();
            let which = format!("--jobs={}", list.join(","));
            for line in self.ask(which).await? {
                // What is wrong with one job says nothing about the others.
                let (id, told) = match SlurmFacts::parse(&line) {
                    Some(facts) => (Some(facts.id), Ok(Some(facts))),
                    None => (number(&line), Err(garbage("squeue", &line).to_string())),
                };
                match id.and_then(|id| all.get_mut(&id)) {
                    Some(slot) => *slot = told,
                    None if told.is_err() => return Err(garbage("squeue", &line)),
                    None => {}
                }
            }
        }
        Ok(all)
    }

    /// Asks about our own jobs of a name.
    pub(crate) async fn named(&self, name: &str) -> Result<Vec<SlurmFacts>, ManagerError> {
        let lines = self.ask(format!("--name={name}")).await?;
        let jobs = lines
            .iter()
            .map(|line| SlurmFacts::parse(line).ok_or_else(|| garbage("squeue", line)));
        let mut jobs: Vec<SlurmFacts> = jobs.collect::<Result<_, _>>()?;
        jobs.retain(|facts| facts.name == name);
        Ok(jobs)
    }

    /// Returns the lines about some jobs.
    async fn ask(&self, which: String) -> Result<Vec<String>, ManagerError> {
        let user = rustix::process::geteuid().as_raw();
        let args = vec![
            "--noheader".to_owned(),
            "--states=all".to_owned(),
            format!("--user={user}"),
            which,
            format!("--Format={FORMAT}"),
        ];
        let answer = self.run(&self.options.squeue, args).await?;
        if answer.code != 0 {
            return match refusal("squeue", "the job", &answer) {
                ManagerError::NoUnit { .. } => Ok(Vec::new()),
                error => Err(error),
            };
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(lines.map(str::to_owned).collect())
    }

    /// Takes jobs out of the queue, or ends them.
    pub(crate) async fn cancel(&self, ids: &[u32]) -> Result<(), ManagerError> {
        self.scancel(ids, &[]).await
    }

    /// Takes our own jobs of a name out of the queue, or ends them.
    pub(crate) async fn cancel_named(&self, name: &str) -> Result<(), ManagerError> {
        let user = rustix::process::geteuid().as_raw();
        let args = vec![format!("--user={user}"), format!("--name={name}")];
        let answer = self.run(&self.options.scancel, args).await?;
        fine_if_gone(&answer, name)
    }

    /// Sends a signal to what runs in jobs; it never cancels one that waits.
    pub(crate) async fn signal(
        &self,
        ids: &[u32],
        signal: Signal,
        reach: Reach,
    ) -> Result<(), ManagerError> {
        let reach = match reach {
            Reach::Program => "--batch",
            Reach::All => "--full",
        };
        let signal = format!("--signal={}", signal.raw());
        self.scancel(ids, &[&signal, reach, "--state=RUNNING"])
            .await
    }

    async fn scancel(&self, ids: &[u32], options: &[&str]) -> Result<(), ManagerError> {
        for ids in ids.chunks(AT_ONCE) {
            let mut args: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            args.extend(ids.iter().map(u32::to_string));
            let answer = self.run(&self.options.scancel, args).await?;
            fine_if_gone(&answer, &format!("job {}", ids[0]))?;
        }
        Ok(())
    }

    /// Asks for a node's state and the reason on record, in words.
    pub(crate) async fn node(&self, node: &str) -> Result<String, ManagerError> {
        let args = vec![
            "--noheader".to_owned(),
            "--Node".to_owned(),
            format!("--nodes={node}"),
            "--format=%T;%E".to_owned(),
        ];
        let answer = self.run(&self.options.sinfo, args).await?;
        if answer.code != 0 {
            return Err(refusal("sinfo", node, &answer));
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        let line = text.lines().next().unwrap_or_default();
        let (state, reason) = line.split_once(';').unwrap_or((line, "none"));
        // A star says that the node does not answer.
        let silent = if state.ends_with('*') {
            " and does not answer"
        } else {
            ""
        };
        let state = state.trim_end_matches('*').escape_debug();
        Ok(match reason.trim() {
            "none" | "" => format!("{state}{silent}"),
            reason => format!("{state}{silent} ({})", reason.escape_debug()),
        })
    }
}

/// A job that is over cannot be cancelled, and need not be.
fn fine_if_gone(answer: &Answer, what: &str) -> Result<(), ManagerError> {
    if answer.code == 0 {
        return Ok(());
    }
    match refusal("scancel", what, answer) {
        ManagerError::NoUnit { .. } => Ok(()),
        error => Err(error),
    }
}

/// Returns the number that a line begins with.
fn number(line: &str) -> Option<u32> {
    line.split(';').next()?.parse().ok()
}

fn garbage(command: &str, what: &str) -> ManagerError {
    let what: String = what.trim().chars().take(100).collect();
    ManagerError::Garbage {
        command: command.to_owned(),
        what: format!("`{}`", what.escape_debug()),
    }
}

/// Tells refusals apart by their text: the codes of Slurm's programs say nothing.
fn refusal(command: &str, what: &str, answer: &Answer) -> ManagerError {
    let mut lines = answer
        .stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("no message");
    let prefixes = [": error: ", ": fatal: "];
    let message = prefixes.iter().find_map(|prefix| first.split_once(prefix));
    let message: String = message
        .map_or(first, |(_, rest)| rest)
        .chars()
        .take(300)
        .collect();
    let message = message
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'");
    let says = |texts: &[&str]| {
        let text = answer.stderr.to_ascii_lowercase();
        texts.iter().any(|wanted| text.contains(wanted))
    };
    if says(&[
        "unable to contact slurm controller",
        "unable to establish",
        "munge",
        "authentication",
        "unable to process configuration",
        "connection refused",
        "timed out",
    ]) {
        return ManagerError::NoManager { message };
    }
    if says(&["access/permission denied", "not permitted", "access denied"]) {
        return ManagerError::Denied { message };
    }
    if says(&["invalid job id", "already completing or completed"]) {
        return ManagerError::NoUnit {
            unit: what.to_owned(),
        };
    }
    ManagerError::Failed {
        command: command.to_owned(),
        code: answer.code,
        message,
    }
}
