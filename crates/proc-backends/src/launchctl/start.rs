//! Starts: the sequence that leaves no old job behind and trusts no answer twice.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use proc_core::ProcessEnd;
use proc_output::Stream;
use proc_spec::launchd::{LaunchdJob, exit_seconds, impossible};
use tokio::time::Instant;

use super::facts::{JobFacts, JobState, LastEnd, job_state};
use super::instance::Instance;
use super::target::Target;
use super::tool::{Loaded, Seen, Tool};
use crate::error::StartError;
use crate::manager::{ManagerError, Output};
use crate::spec::{InstanceSpec, StdinMode};
use crate::status::Started;

/// How long the pause between two attempts at something that launchd is not ready for is.
const AGAIN: Duration = Duration::from_millis(250);
/// What launchd records of a program that it could not run: EX_CONFIG.
const SPAWN_FAILED: i32 = 78;

impl Instance {
    /// Loads the job, starts it and follows it.
    pub(super) async fn start(self: &Arc<Self>, spec: InstanceSpec) -> Result<Started, StartError> {
        let _turn = self.order.lock().await;
        let refused = |source| StartError::Manager {
            instance: spec.instance.clone(),
            source,
        };
        let keeper = |source| StartError::Keeper {
            instance: spec.instance.clone(),
            source,
        };
        let target = Target::of(&spec, self.common.uid)?;
        refuse_what_is_impossible(&spec, &target)?;
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        let seen = self.still_running(&target).await?;
        let mut life = self.life.lock().await;
        life.follower = None;
        let recorded = self.read_record().ok().flatten();
        let recorded = recorded.map_or(0, |record| record.run);
        life.run = life.run.max(spec.last_run).max(recorded) + 1;
        (life.started, life.exit, life.handle, life.runs) = (None, None, None, None);
        (life.lost, life.blind) = (false, false);
        life.log.clone_from(&spec.log);
        let dir = spec
            .log
            .dir
            .clone()
            .unwrap_or_else(|| self.common.options.log_dir.clone());
        let path = if target.own {
            let output = Output::ours(&dir, &self.name, spec.log.merge).map_err(keeper)?;
            let path = self.write_job(&target, &spec, &output, life.run)?;
            life.output = Some(output);
            path
        } else {
            self.existing(&target, &seen).map_err(refused)?
        };
        life.path = Some(path.display().to_string());
        // Should we die in the middle of the start, the next supervisor looks at the job.
        self.record(&life, &target).map_err(keeper)?;
        if !target.own {
            let facts = match seen {
                Seen::Job(facts) => facts,
                Seen::Nothing => files_of(&path),
            };
            let records = self.common.options.records(&self.name);
            let place = (dir.as_path(), self.name.as_str());
            let output = Output::existing(place, &spec.log, facts.files(), &records, false);
            life.output = Some(output.map_err(keeper)?);
        }
        drop(life);
        let brought = self.bring_up(&target, &path).await;
        let (facts, pid) = match brought {
            Ok(up) => up,
            Err(error) => return Err(self.not_started(&target, &spec, error).await),
        };
        let mut life = self.life.lock().await;
        let begun = self
            .begun(&mut life, &target, &facts, pid, Vec::new())
            .await;
        self.keep(&life, &target);
        self.follow(&mut life, &target);
        Ok(begun)
    }

    /// Refuses a second run, and ends what is left of an earlier one of ours.
    async fn still_running(&self, target: &Target) -> Result<Seen, StartError> {
        let refused = |source| StartError::Manager {
            instance: self.name.clone(),
            source,
        };
        let tool = self.tool(target);
        let seen = tool.look().await.map_err(refused)?;
        self.reconcile(target, &seen).await;
        let life = self.life.lock().await;
        if let (Some(started), None) = (&life.started, &life.exit) {
            return Err(StartError::StillRunning {
                instance: self.name.clone(),
                pid: started.pid,
            });
        }
        Ok(seen)
    }

    /// Writes the job file of one run; each has a name of its own, so that it cannot be mistaken
    /// for another.
    fn write_job(
        &self,
        target: &Target,
        spec: &InstanceSpec,
        output: &Output,
        run: u64,
    ) -> Result<PathBuf, StartError> {
        let refused = |source| StartError::Manager {
            instance: spec.instance.clone(),
            source,
        };
        let job = job(target, spec, output)?;
        let dir = self.common.options.records(&self.name);
        let marker = format!(
            "Written by proc for {} of {}",
            self.name,
            self.common.options.state_dir.display()
        );
        let text = job
            .to_plist(Some(&marker))
            .map_err(|error| StartError::Unsupported {
                field: error.field,
                backend: super::NAME,
            })?;
        remove_jobs(&dir);
        let path = dir.join(format!("{run}.plist"));
        let failed = |source| {
            refused(ManagerError::Write {
                path: path.display().to_string(),
                source,
            })
        };
        std::fs::create_dir_all(&dir).map_err(failed)?;
        // launchd refuses files that others can write; the environment is nobody else's business.
        proc_store::atomic::write(&path, text.as_bytes(), 0o600)
            .map_err(|error| failed(std::io::Error::new(error.io().kind(), error.to_string())))?;
        Ok(path)
    }

    /// Finds the file of a job that exists.
    fn existing(&self, target: &Target, seen: &Seen) -> Result<PathBuf, ManagerError> {
        if let Seen::Job(JobFacts {
            path: Some(path), ..
        }) = seen
        {
            return Ok(path.into());
        }
        let recorded = self.read_record().ok().flatten();
        let recorded = recorded.filter(|record| record.target == *target);
        let recorded = recorded.and_then(|record| record.path);
        let name = format!("{}.plist", target.label);
        let usual = self
            .common
            .options
            .job_dirs
            .iter()
            .map(|dir| dir.join(&name));
        let mut all = recorded.map(PathBuf::from).into_iter().chain(usual);
        all.find(|path| path.is_file())
            .ok_or_else(|| target.no_job())
    }

    /// The sequence; returns how the job stands and its process.
    async fn bring_up(
        &self,
        target: &Target,
        path: &Path,
    ) -> Result<(JobFacts, u32), ManagerError> {
        let tool = self.tool(target);
        if target.own {
            // Overrides outlive the job file: somebody may have disabled the label long ago.
            tool.enable().await?;
            tool.bootout().await?;
            self.until_gone(&tool).await?;
            load(&tool, path).await?;
        } else {
            if tool.is_disabled().await? {
                return Err(target.disabled());
            }
            match tool.look().await? {
                Seen::Nothing => load(&tool, path).await?,
                Seen::Job(facts) => {
                    if let (JobState::Running, Some(pid)) = (job_state(&facts).0, facts.pid) {
                        return Ok((facts, pid));
                    }
                }
            }
        }
        let told = tool.kickstart().await?;
        self.up(&tool, told).await
    }

    pub(super) async fn until_gone(&self, tool: &Tool<'_>) -> Result<(), ManagerError> {
        let deadline = Instant::now() + tool.options.gone_timeout;
        loop {
            let Seen::Job(facts) = tool.look().await? else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                let reason = format!(
                    "the old job does not go: launchd says `{}`",
                    facts.state.escape_debug()
                );
                return Err(ManagerError::NotStarted {
                    unit: tool.target.label.clone(),
                    reason,
                });
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Waits until the job has its process, or has had it.
    async fn up(
        &self,
        tool: &Tool<'_>,
        told: Option<u32>,
    ) -> Result<(JobFacts, u32), ManagerError> {
        let deadline = Instant::now() + tool.options.start_timeout;
        let failed = |reason: String| ManagerError::NotStarted {
            unit: tool.target.label.clone(),
            reason,
        };
        loop {
            let Seen::Job(facts) = tool.look().await? else {
                return Err(failed("its job was removed meanwhile".to_owned()));
            };
            let (state, reason) = job_state(&facts);
            let ran = facts.runs.is_none_or(|runs| runs > 0) && facts.last != LastEnd::Never;
            let spawn_failed = facts.job_state.as_deref() == Some("spawn failed");
            match (state, facts.pid) {
                (JobState::Running, Some(pid)) => return Ok((facts, pid)),
                (JobState::Failed | JobState::Stopped, _) if spawn_failed => {
                    return Err(failed(reason));
                }
                (JobState::Failed | JobState::Stopped, _) if ran => {
                    return Ok((facts, told.unwrap_or(0)));
                }
                (JobState::Unknown, _) => return Err(failed(reason)),
                _ => {}
            }
            if Instant::now() >= deadline {
                return Err(failed(format!(
                    "no process after {}s: {reason}",
                    tool.options.start_timeout.as_secs()
                )));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Takes back what was done so far of a start, and says why it did not come about.
    async fn not_started(
        &self,
        target: &Target,
        spec: &InstanceSpec,
        error: ManagerError,
    ) -> StartError {
        let tool = self.tool(target);
        if target.own {
            let failed = match tool.look().await {
                Ok(Seen::Job(facts)) => {
                    facts.last == LastEnd::Known(ProcessEnd::Exited(SPAWN_FAILED))
                        && facts.job_state.as_deref() == Some("spawn failed")
                }
                _ => false,
            };
            let _may_not_be_loaded = tool.bootout().await;
            let program = spec.argv.first().map(|word| spec.cwd.join(word));
            if let (true, Some(program)) = (failed, program) {
                let name = program.display().to_string();
                return match program.exists() {
                    false => StartError::NotFound { program: name },
                    true => StartError::NotExecutable {
                        program: name,
                        errno: std::io::Error::from_raw_os_error(8),
                    },
                };
            }
        }
        StartError::Manager {
            instance: spec.instance.clone(),
            source: error,
        }
    }
}

/// Loads a job, again and again while the old one is still going.
async fn load(tool: &Tool<'_>, path: &Path) -> Result<(), ManagerError> {
    let deadline = Instant::now() + tool.options.load_timeout;
    loop {
        let busy = match tool.bootstrap(path).await? {
            Loaded::Yes => return Ok(()),
            Loaded::Disabled => return Err(tool.target.disabled()),
            Loaded::Busy(error) => error,
        };
        // The same code is what a disabled label gives, on some versions.
        if tool.is_disabled().await? {
            return Err(tool.target.disabled());
        }
        if Instant::now() >= deadline {
            return Err(busy);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn remove_jobs(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.extension().is_some_and(|ext| ext == "plist") {
            let _another_try_with_the_next_start = std::fs::remove_file(path);
        }
    }
}

/// Returns where a job file that is not loaded says that its output goes.
fn files_of(path: &Path) -> JobFacts {
    let value = plist::Value::from_file(path).ok();
    let text = |key: &str| {
        let dict = value.as_ref()?.as_dictionary()?;
        dict.get(key)?.as_string().map(str::to_owned)
    };
    JobFacts {
        stdout: text("StandardOutPath"),
        stderr: text("StandardErrorPath"),
        ..JobFacts::default()
    }
}

/// The job file of a run. launchd restarts nothing by itself: the restart policy decides.
fn job(target: &Target, spec: &InstanceSpec, output: &Output) -> Result<LaunchdJob, StartError> {
    let unsupported = |field: &str| StartError::Unsupported {
        field: field.to_owned(),
        backend: super::NAME,
    };
    let text = |field: &str, text: &std::ffi::OsStr| {
        text.to_str()
            .map(str::to_owned)
            .ok_or_else(|| unsupported(&format!("{field} that is not UTF-8")))
    };
    let program = crate::program::find(spec)?;
    let mut env = std::collections::BTreeMap::new();
    for (name, value) in &spec.env {
        env.insert(text("env", name)?, text("env", value)?);
    }
    let file = |stream| text("log", output.file(stream).as_os_str());
    Ok(LaunchdJob {
        label: target.label.clone(),
        program: Some(text("argv", program.as_os_str())?),
        arguments: spec
            .argv
            .iter()
            .map(|word| text("argv", word))
            .collect::<Result<_, _>>()?,
        cwd: Some(text("cwd", spec.cwd.as_os_str())?),
        env,
        stdout: Some(file(Stream::Stdout)?),
        stderr: Some(file(Stream::Stderr)?),
        exit_seconds: exit_seconds(&spec.stop),
        abandon_group: spec.detached,
        attributes: spec.attributes.clone(),
        ..LaunchdJob::default()
    })
}

/// Nothing that cannot be honoured is ignored.
fn refuse_what_is_impossible(spec: &InstanceSpec, target: &Target) -> Result<(), StartError> {
    let attributes = &spec.attributes;
    let user =
        target.domain != "system" && (attributes.user.is_some() || attributes.group.is_some());
    let shaped = !target.own && !impossible_free(attributes);
    let set = [
        (spec.stdin != StdinMode::Null, "stdin"),
        (!spec.listen.is_empty(), "listen"),
        (spec.notify_fd.is_some(), "ready.notify_fd"),
        (target.own && user, "user or group with scope = \"user\""),
        (
            shaped,
            "user, limits and the like together with an existing job",
        ),
    ];
    let found = set
        .iter()
        .find(|(is, _)| *is)
        .map(|(_, field)| (*field).to_owned());
    match found.or_else(|| impossible(attributes).into_iter().next()) {
        Some(field) => Err(StartError::Unsupported {
            field,
            backend: super::NAME,
        }),
        None => Ok(()),
    }
}

/// Whether nothing is asked for that only whoever starts the process can do.
fn impossible_free(attributes: &proc_core::Attributes) -> bool {
    let plain = proc_core::Attributes {
        session: attributes.session,
        close_fds: attributes.close_fds,
        ..proc_core::Attributes::default()
    };
    *attributes == plain
}
