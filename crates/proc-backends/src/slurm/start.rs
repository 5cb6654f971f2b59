//! Starts: a job is submitted, and a start is complete when Slurm runs it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

use proc_core::{Attributes, Resource};
use proc_output::Stream;

use super::facts::{SlurmFacts, SlurmPhase};
use super::instance::{Instance, TROUBLE, is_down};
use super::job::Job;
use super::record::JobId;
use super::watch::Seen;
use crate::error::StartError;
use crate::event::BackendEventKind;
use crate::manager::{ManagerError, Output};
use crate::spec::{InstanceSpec, StdinMode};
use crate::status::Started;

impl Instance {
    /// Submits the job and waits until it runs, which takes as long as Slurm's queue.
    pub(super) async fn start(self: &Arc<Self>, spec: InstanceSpec) -> Result<Started, StartError> {
        let mut called_off = self.called_off.subscribe();
        let _turn = self.order.lock().await;
        let refused = |source| StartError::Manager {
            instance: spec.instance.clone(),
            source,
        };
        refuse_what_is_impossible(&spec)?;
        self.get_to_know();
        self.still_running().await.map_err(refused)?;
        let job = self.prepare(&spec).await?;
        let downgrades = downgrades(&spec, &job);
        let id = self.submit(&job).await.map_err(refused)?;
        let facts = self
            .until_it_runs(id, &mut called_off)
            .await
            .map_err(refused)?;
        let mut life = self.life.lock().await;
        let started = self.begun(&mut life, &facts, downgrades);
        self.say(life.run, format!("job {id} runs on {}", facts.node))
            .await;
        self.follow(&mut life);
        Ok(started)
    }

    /// Refuses a second run.
    async fn still_running(&self) -> Result<(), ManagerError> {
        let Some((job, name)) = self.present().await else {
            return Ok(());
        };
        let facts = self.look(job, &name).await?;
        self.reconcile(facts.as_ref()).await;
        match facts.filter(|facts| !is_down(Some(facts))) {
            None => Ok(()),
            Some(facts) => Err(ManagerError::NotStarted {
                unit: self.name.clone(),
                reason: format!("the job before it is not over: {}", facts.in_words()),
            }),
        }
    }

    /// Begins a run and writes down the name of its job: should we die in the middle of the submission, the next
    /// supervisor finds the job by it.
    async fn prepare(&self, spec: &InstanceSpec) -> Result<Job, StartError> {
        let keeper = |source| StartError::Keeper {
            instance: spec.instance.clone(),
            source,
        };
        let options = self.common.watcher.tool.options();
        let mut life = self.life.lock().await;
        life.follower = None;
        let recorded = self.read_record().ok().flatten();
        let recorded = recorded.map_or(0, |record| record.run);
        life.run = life.run.max(spec.last_run).max(recorded) + 1;
        (life.started, life.exit, life.job) = (None, None, None);
        (life.lost, life.missed) = (false, false);
        life.node.clear();
        life.log.clone_from(&spec.log);
        life.name = unique_name(spec, life.run);
        let dir = spec
            .log
            .dir
            .clone()
            .unwrap_or_else(|| options.log_dir.clone());
        let output = Output::ours(&dir, &self.name, spec.log.merge).map_err(keeper)?;
        let job = Job {
            name: life.name.clone(),
            argv: spec.argv.clone(),
            cwd: spec.cwd.clone(),
            umask: spec.attributes.umask,
            env: spec.env.clone(),
            stdout: output.file(Stream::Stdout),
            stderr: (!spec.log.merge).then(|| output.file(Stream::Stderr)),
            options: resources(spec)?,
            dependency: None,
        };
        life.output = Some(output);
        let mut private = std::fs::DirBuilder::new();
        private
            .recursive(true)
            .mode(0o700)
            .create(options.records(&self.name))
            .map_err(keeper)?;
        self.record(&life).map_err(keeper)?;
        Ok(job)
    }

    async fn submit(&self, job: &Job) -> Result<u32, ManagerError> {
        let tool = &self.common.watcher.tool;
        let dir = tool.options().records(&self.name);
        let id = match tool.submit(job, &dir).await {
            Ok(id) => id,
            Err(error) => {
                self.take_back(job, &error).await;
                return Err(error);
            }
        };
        let mut life = self.life.lock().await;
        life.job = Some(JobId::new(id));
        self.keep(&life);
        let run = life.run;
        drop(life);
        self.say(run, format!("job {id} was submitted")).await;
        Ok(id)
    }

    /// Submitting failed, and where the answer was lost there may be a job all the same.
    async fn take_back(&self, job: &Job, error: &ManagerError) {
        let maybe = matches!(
            error,
            ManagerError::TimedOut { .. }
                | ManagerError::Garbage { .. }
                | ManagerError::NoManager { .. }
        );
        if maybe && let Err(error) = self.common.watcher.tool.cancel_named(&job.name).await {
            tracing::warn!(instance = %self.name, %error, "a job may be left under this instance's name");
        }
    }

    /// Waits in Slurm's queue, until it is called off.
    async fn until_it_runs(
        &self,
        id: u32,
        called_off: &mut tokio::sync::watch::Receiver<u64>,
    ) -> Result<SlurmFacts, ManagerError> {
        let mut watching = self.common.watcher.watch(id);
        let (mut off, mut told, mut missed) = (false, String::new(), false);
        let failed = |reason: String| ManagerError::NotStarted {
            unit: format!("job {id}"),
            reason,
        };
        loop {
            let seen = tokio::select! {
                seen = watching.next() => seen,
                changed = called_off.changed(), if !off => {
                    off = changed.is_ok();
                    Seen::NotAsked
                }
            };
            let facts = match seen {
                Seen::NotAsked => None,
                Seen::Silence(error) => {
                    self.waits(&mut told, error).await;
                    None
                }
                Seen::Nothing if std::mem::replace(&mut missed, true) => {
                    self.forget_job().await;
                    return Err(failed("Slurm does not know it any more".to_owned()));
                }
                Seen::Nothing => None,
                Seen::Job(facts) => Some(facts),
            };
            if let Some(facts) = facts {
                missed = false;
                match facts.phase() {
                    SlurmPhase::Ended if facts.node.is_empty() || off => {
                        self.runs(&mut told).await;
                        self.forget_job().await;
                        let reason = if off {
                            "it was called off".to_owned()
                        } else {
                            facts.in_words()
                        };
                        return Err(failed(reason));
                    }
                    // It may be over already; its end is told like any other.
                    SlurmPhase::Running | SlurmPhase::Ending | SlurmPhase::Ended if !off => {
                        self.runs(&mut told).await;
                        return Ok(facts);
                    }
                    _ => {
                        self.note_submission(&facts).await;
                        self.waits(&mut told, facts.in_words()).await;
                    }
                }
            }
            if off {
                watching.hurry();
                self.cancel(id).await;
            }
        }
    }

    /// Gives up a start that is under way; it fails then. A job that waits leaves the queue.
    pub(super) fn call_off(&self) {
        self.called_off.send_modify(|times| *times += 1);
    }

    async fn cancel(&self, id: u32) {
        if let Err(error) = self.common.watcher.tool.cancel(&[id]).await {
            // It is tried again with the next answer.
            tracing::warn!(instance = %self.name, %error, "job {id} could not be cancelled yet");
        }
    }

    /// Tells why the job does not run yet, when that has changed.
    async fn waits(&self, told: &mut String, why: String) {
        if *told != why {
            told.clone_from(&why);
            let what = TROUBLE.to_owned();
            self.tell_of_run(BackendEventKind::Trouble { what, error: why })
                .await;
        }
    }

    async fn runs(&self, told: &mut String) {
        if !std::mem::take(told).is_empty() {
            let what = TROUBLE.to_owned();
            self.tell_of_run(BackendEventKind::Healed { what }).await;
        }
    }

    async fn note_submission(&self, facts: &SlurmFacts) {
        let mut life = self.life.lock().await;
        let known = life.job.is_none_or(|job| job.submitted == facts.submitted);
        if let Some(job) = life.job.as_mut().filter(|_| !known) {
            job.note(facts);
            self.keep(&life);
        }
    }

    /// The job is no more, and its run never was.
    async fn forget_job(&self) {
        let mut life = self.life.lock().await;
        life.job = None;
        self.keep(&life);
    }
}

/// Returns the name of a run's job: legible, and never used twice.
fn unique_name(spec: &InstanceSpec, run: u64) -> String {
    let legible = |text: &str| {
        text.replace(
            |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_',
            "_",
        )
    };
    let bits = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    let token = bits & 0xff_ffff;
    // The instance is checked, not repaired: it is in paths as well.
    format!(
        "{}.{}.{run}.{token:06x}",
        spec.instance,
        legible(&spec.project)
    )
}

/// Returns the options of sbatch(1): what the `slurm` table says, and of `limits` what it does not.
fn resources(spec: &InstanceSpec) -> Result<BTreeMap<String, String>, StartError> {
    let mut options = BTreeMap::new();
    for (key, value) in &spec.foreign {
        match key.strip_prefix("slurm.") {
            Some(option) => options.insert(option.to_owned(), value.clone()),
            None => return Err(unsupported(key)),
        };
    }
    let asked = |options: &BTreeMap<String, String>, begin: &str| {
        options
            .keys()
            .any(|option| option == begin || option.starts_with(&format!("{begin}-per")))
    };
    if let Some(bytes) = memory(&spec.attributes)
        && !asked(&options, "mem")
    {
        options.insert("mem".to_owned(), proc_spec::slurm_memory(bytes));
    }
    if let Some(cpus) = cpus(&spec.attributes)
        && !asked(&options, "cpus")
    {
        options.insert("cpus-per-task".to_owned(), cpus.to_string());
    }
    Ok(options)
}

/// Returns the bound on memory, wherever it is written.
fn memory(attributes: &Attributes) -> Option<u64> {
    let limits = attributes.limits.iter();
    let limit = limits.filter(|limit| limit.resource == Resource::Memory);
    let limit = limit.filter_map(|limit| limit.hard).next();
    limit.or_else(|| attributes.cgroup.as_ref()?.memory_max)
}

/// Returns the bound on processors, in whole ones.
fn cpus(attributes: &Attributes) -> Option<u64> {
    let cgroup = attributes.cgroup.as_ref()?;
    let period = cgroup.cpu_period_us.unwrap_or(100_000).max(1);
    cgroup.cpu_max_us.map(|us| us.div_ceil(period).max(1))
}

fn unsupported(field: &str) -> StartError {
    StartError::Unsupported {
        field: field.to_owned(),
        backend: super::NAME,
    }
}

/// Nothing that cannot be honoured is ignored.
fn refuse_what_is_impossible(spec: &InstanceSpec) -> Result<(), StartError> {
    let set = [
        (spec.argv.is_empty(), "a job without a command"),
        (spec.stdin != StdinMode::Null, "stdin"),
        (!spec.listen.is_empty(), "listen"),
        (spec.notify_fd.is_some(), "ready.notify_fd"),
        (spec.log.direct, "log.direct"),
    ];
    let found = set.iter().find(|(is, _)| *is).map(|(_, field)| *field);
    match found.or_else(|| shaping(&spec.attributes).into_iter().next()) {
        Some(field) => Err(unsupported(field)),
        None => Ok(()),
    }
}

/// Returns what is asked for that only whoever starts the process could do, by key.
pub(crate) fn shaping(attributes: &Attributes) -> Vec<&'static str> {
    let plain = Attributes::default();
    let limited = |limit: &proc_core::Limit| limit.resource != Resource::Memory;
    let pids = attributes
        .cgroup
        .as_ref()
        .is_some_and(|cgroup| cgroup.pids_max.is_some());
    let set = [
        ("user", attributes.user.is_some()),
        ("group", attributes.group.is_some()),
        ("supplementary_groups", !attributes.groups.is_empty()),
        ("nice", attributes.nice != plain.nice),
        ("io_priority", attributes.io_priority != plain.io_priority),
        (
            "cpu_affinity",
            attributes.cpu_affinity != plain.cpu_affinity,
        ),
        (
            "oom_score_adj",
            attributes.oom_score_adj != plain.oom_score_adj,
        ),
        (
            "no_new_privs",
            attributes.no_new_privs != plain.no_new_privs,
        ),
        ("limits", pids || attributes.limits.iter().any(limited)),
    ];
    set.iter()
        .filter(|(_, is)| *is)
        .map(|(key, _)| *key)
        .collect()
}

fn downgrades(spec: &InstanceSpec, job: &Job) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |is: bool, line: &str| lines.extend(is.then(|| line.to_owned()));
    add(
        memory(&spec.attributes).is_some(),
        "limits.memory: asked for by --mem; enforced only where the cluster does",
    );
    add(
        cpus(&spec.attributes).is_some(),
        "limits.cpu_max: whole CPUs by --cpus-per-task; enforced only where the cluster does",
    );
    add(
        spec.die_with_supervisor,
        "die_with_supervisor: the job lives on should the supervisor be killed",
    );
    add(
        spec.detached,
        "detached: Slurm ends what a job leaves behind",
    );
    let odd = job.lost_variables();
    add(
        !odd.is_empty(),
        &format!("env: a shell does not hand on {}", odd.join(", ")),
    );
    lines
}
