//! One instance: a job that is loaded, followed and taken over again.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use proc_core::{Identity, ProcessEnd, ProcessHandle, Signal};
use proc_output::LogOptions;

use super::facts::{JobFacts, JobState, LastEnd, job_state};
use super::options::LaunchctlOptions;
use super::record::JobRecord;
use super::target::Target;
use super::tool::{Exec, Seen, Tool};
use crate::error::{AdoptError, OperateError};
use crate::event::{BackendEvent, BackendEventKind, EventSender};
use crate::joined::Stops;
use crate::manager::{
    ExitRecord, Follower, ManagerError, Output, StartedRecord, read_record, write_record,
};
use crate::status::{Exit, InstanceStatus, Keeper, RunState, Started};

/// How often launchd is asked. It tells nobody of changes by itself.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How soon it is asked after its process was seen to end.
const AFTER_END: Duration = Duration::from_millis(100);

/// What all instances share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) options: LaunchctlOptions,
    pub(super) exec: Box<dyn Exec>,
    pub(super) events: EventSender,
    pub(super) uid: u32,
}

/// An instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) common: Arc<Common>,
    /// Starts, adoptions and forgetting go one at a time; stops and signals do not wait for them.
    pub(super) order: tokio::sync::Mutex<()>,
    pub(super) life: tokio::sync::Mutex<Life>,
    pub(super) target: Mutex<Option<Target>>,
    pub(super) stops: Stops,
}

/// What is known of the present or last run.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) run: u64,
    pub(super) path: Option<String>,
    pub(super) runs: Option<u64>,
    pub(super) started: Option<Started>,
    pub(super) exit: Option<Exit>,
    /// launchd is restarting it by itself.
    pub(super) lost: bool,
    /// Between two looks somebody may have loaded another job under this label, or the present one
    /// is being removed: what launchd says of a last run need not be about ours.
    pub(super) blind: bool,
    pub(super) handle: Option<ProcessHandle>,
    pub(super) output: Option<Output>,
    pub(super) log: LogOptions,
    pub(super) follower: Option<Follower>,
}

/// Returns whether a job has no process and is not about to get one.
pub(super) fn is_down(seen: &Seen) -> bool {
    match seen {
        Seen::Nothing => true,
        Seen::Job(facts) => matches!(job_state(facts).0, JobState::Stopped | JobState::Failed),
    }
}

impl Instance {
    pub(super) fn new(name: &str, common: Arc<Common>) -> Self {
        Self {
            name: name.to_owned(),
            common,
            order: tokio::sync::Mutex::default(),
            life: tokio::sync::Mutex::default(),
            target: Mutex::default(),
            stops: Stops::default(),
        }
    }

    /// Returns the job, once there was a start or an adoption.
    pub(super) fn known(&self) -> Result<Target, OperateError> {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        target.clone().ok_or_else(|| OperateError::Unknown {
            instance: self.name.clone(),
        })
    }

    pub(super) fn tool<'a>(&'a self, target: &'a Target) -> Tool<'a> {
        Tool {
            options: &self.common.options,
            exec: &*self.common.exec,
            target,
        }
    }

    pub(super) fn refused(
        &self,
        operation: &'static str,
    ) -> impl Fn(ManagerError) -> OperateError + '_ {
        move |source| OperateError::Manager {
            instance: self.name.clone(),
            operation,
            source,
        }
    }

    async fn tell(&self, run: u64, kind: BackendEventKind) {
        let event = BackendEvent {
            instance: self.name.clone(),
            run,
            kind,
        };
        self.common.events.send(event).await;
    }

    pub(super) async fn tell_of_run(&self, kind: BackendEventKind) {
        let run = self.life.lock().await.run;
        self.tell(run, kind).await;
    }

    /// Writes down what the next supervisor has to know.
    pub(super) fn record(&self, life: &Life, target: &Target) -> std::io::Result<()> {
        let dir = self.common.options.records(&self.name);
        let record = JobRecord {
            target: target.clone(),
            log: life.log.clone(),
            run: life.run,
            path: life.path.clone(),
            runs: life.runs,
            started: life.started.as_ref().map(StartedRecord::new),
            exit: life.exit.as_ref().map(ExitRecord::new),
        };
        write_record(&dir, &record)
    }

    pub(super) fn read_record(&self) -> Result<Option<JobRecord>, AdoptError> {
        read_record(&self.common.options.records(&self.name))
    }

    /// Writes the record where a failure is worth a line only: the run itself is not touched.
    pub(super) fn keep(&self, life: &Life, target: &Target) {
        if let Err(error) = self.record(life, target) {
            tracing::warn!(instance = %self.name, %error, "the record could not be written");
        }
    }

    /// Takes note of the process that the job has now.
    pub(super) async fn begun(
        &self,
        life: &mut Life,
        target: &Target,
        facts: &JobFacts,
        pid: u32,
        downgrades: Vec<String>,
    ) -> Started {
        let handle = self.handle(target, facts).await;
        let started = Started {
            run: life.run,
            pid,
            identity: handle
                .as_ref()
                .map_or_else(|| stranger(pid), |handle| handle.identity().clone()),
            pgid: pid,
            started_at: SystemTime::now(),
            downgrades,
        };
        life.handle = handle;
        life.runs = facts.runs;
        if !target.own {
            life.path.clone_from(&facts.path);
        }
        life.started = Some(started.clone());
        life.exit = None;
        life.lost = false;
        life.blind = false;
        started
    }

    /// Opens the process. launchd has not reaped it as long as it says that it is the one, so
    /// asking once more after opening it proves that the number still is that process.
    async fn handle(&self, target: &Target, facts: &JobFacts) -> Option<ProcessHandle> {
        let handle = ProcessHandle::of(facts.pid?).ok()?;
        let Ok(Seen::Job(again)) = self.tool(target).look().await else {
            return None;
        };
        let same = again.pid == facts.pid && again.runs == facts.runs;
        same.then_some(handle)
    }

    /// Follows the job until the run has ended.
    pub(super) fn follow(self: &Arc<Self>, life: &mut Life, target: &Target) {
        let (weak, target) = (Arc::downgrade(self), target.clone());
        let task = tokio::spawn(async move {
            let mut troubled = false;
            while let Some(instance) = weak.upgrade() {
                match instance.tool(&target).look().await {
                    Ok(seen) => {
                        if std::mem::take(&mut troubled) {
                            let what = "launchctl".to_owned();
                            instance
                                .tell_of_run(BackendEventKind::Healed { what })
                                .await;
                        }
                        if instance.reconcile(&target, &seen).await {
                            return;
                        }
                    }
                    Err(error) => {
                        instance.life.lock().await.blind = true;
                        if !std::mem::replace(&mut troubled, true) {
                            let what = "launchctl".to_owned();
                            let error = error.to_string();
                            instance
                                .tell_of_run(BackendEventKind::Trouble { what, error })
                                .await;
                        }
                    }
                }
                let handle = instance
                    .life
                    .lock()
                    .await
                    .handle
                    .as_ref()
                    .and_then(|h| h.try_clone().ok());
                drop(instance);
                changed(handle.as_ref()).await;
            }
        });
        life.follower = Some(Follower::new(task.abort_handle()));
    }

    /// Compares what launchd says with what was told, and tells the difference once.
    /// Returns whether the run is over.
    pub(super) async fn reconcile(&self, target: &Target, seen: &Seen) -> bool {
        let mut life = self.life.lock().await;
        if life.started.is_none() || life.exit.is_some() {
            return true;
        }
        if let Some(output) = &mut life.output {
            output.copy();
        }
        let Seen::Job(facts) = seen else {
            return self.gone(&mut life, target).await;
        };
        let (state, reason) = job_state(facts);
        match state {
            JobState::Running => self.runs(&mut life, target, facts).await,
            JobState::Starting if !life.lost => {
                life.lost = true;
                self.tell(life.run, BackendEventKind::Lost { cause: reason })
                    .await;
            }
            // It is being removed; the next one under this label is another job.
            JobState::Stopping => life.blind = true,
            JobState::Stopped | JobState::Failed => {
                let last = last_of(&life, target, facts);
                self.ended(&mut life, target, last).await;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Ours is not loaded any more. launchd keeps a job until its process has ended.
    async fn gone(&self, life: &mut Life, target: &Target) -> bool {
        let lives = life
            .handle
            .as_ref()
            .is_some_and(|handle| !handle.has_exited());
        if !lives {
            let told = Err("its job was removed, and with it how it ended".to_owned());
            self.ended(life, target, told).await;
        }
        !lives
    }

    async fn runs(&self, life: &mut Life, target: &Target, facts: &JobFacts) {
        let (Some(started), Some(pid)) = (life.started.clone(), facts.pid) else {
            return;
        };
        let counted = facts.runs.is_none() || life.runs.is_none() || facts.runs == life.runs;
        if pid == started.pid && counted && !life.lost {
            return;
        }
        let taken = target.own && !is_our_file(life, facts);
        if !life.lost {
            let label = &target.label;
            let by = if taken {
                "somebody else's job"
            } else {
                "launchd or somebody else"
            };
            let cause = format!("`{label}` was restarted by {by}");
            self.tell(life.run, BackendEventKind::Lost { cause }).await;
        }
        let started = self
            .begun(life, target, facts, pid, started.downgrades)
            .await;
        // Its end can be told only by the kernel then.
        life.blind = taken;
        self.keep(life, target);
        self.tell(life.run, BackendEventKind::Recovered { started })
            .await;
    }

    async fn ended(&self, life: &mut Life, target: &Target, told: Result<ProcessEnd, String>) {
        let end = life.handle.as_ref().and_then(ProcessHandle::exit_info);
        let end = end.map_or(told, Ok);
        let now = SystemTime::now();
        let started = life.started.as_ref();
        let since = started.map_or(now, |started| started.started_at);
        if let Some(started) = started {
            self.unified_log(target, life.output.as_ref(), started.pid, since)
                .await
                .into_iter()
                .for_each(|lines| {
                    if let Some(output) = &mut life.output {
                        output.unified(&lines);
                    }
                });
        }
        let killed = end.as_ref().ok().and_then(|end| end.signal()) == Some(Signal::KILL);
        let exit = Exit {
            run: life.run,
            unknown: end.as_ref().err().cloned(),
            end: end.ok(),
            at: now,
            runtime: now.duration_since(since).unwrap_or_default(),
            // macOS ends processes for want of memory by KILL and says so elsewhere.
            oom: if killed { None } else { Some(false) },
            log: life
                .output
                .as_ref()
                .map(Output::offsets)
                .unwrap_or_default(),
        };
        life.exit = Some(exit.clone());
        life.lost = false;
        self.keep(life, target);
        self.tell(life.run, BackendEventKind::Exited(exit)).await;
        // launchd ends the process group with its leader.
        self.tell(life.run, BackendEventKind::TreeEmpty).await;
    }

    async fn unified_log(
        &self,
        target: &Target,
        output: Option<&Output>,
        pid: u32,
        since: SystemTime,
    ) -> Option<Vec<u8>> {
        if !output.is_some_and(Output::is_unified) {
            return None;
        }
        let since = since
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        match self.tool(target).log_show(pid, since.as_secs()).await {
            Ok(lines) => Some(lines),
            Err(error) => {
                tracing::warn!(instance = %self.name, %error, "the unified log cannot be read");
                None
            }
        }
    }

    /// Says what is known right now.
    pub(super) async fn status(&self) -> Result<InstanceStatus, OperateError> {
        let target = self.known()?;
        let mut degraded = Vec::new();
        match self.tool(&target).look().await {
            Ok(seen) => {
                self.reconcile(&target, &seen).await;
                if let Seen::Job(facts) = &seen
                    && let (state, reason) = job_state(facts)
                    && matches!(
                        state,
                        JobState::Unknown | JobState::Starting | JobState::Stopping
                    )
                {
                    degraded.push(format!("launchctl: {reason}"));
                }
            }
            Err(error) => degraded.push(format!("launchctl: {error}")),
        }
        Ok(self.life.lock().await.status(degraded))
    }

    /// Sends a signal through launchd, to the job's process.
    pub(super) async fn signal(&self, signal: Signal) -> Result<(), OperateError> {
        let target = self.known()?;
        let tool = self.tool(&target);
        let seen = tool.look().await.map_err(self.refused("signal"))?;
        if is_down(&seen) {
            return Err(OperateError::NotRunning {
                instance: self.name.clone(),
            });
        }
        tool.kill(signal).await.map_err(self.refused("signal"))
    }
}

impl Life {
    pub(super) fn status(&self, degraded: Vec<String>) -> InstanceStatus {
        let state = match (&self.exit, &self.started) {
            (Some(exit), _) => RunState::Exited(exit.clone()),
            (None, Some(started)) => RunState::Running(started.clone()),
            (None, None) => RunState::Idle,
        };
        InstanceStatus {
            tree_empty: self.exit.is_some() || self.started.is_none(),
            state,
            keeper: Keeper::Foreign,
            log_dropped_bytes: 0,
            degraded,
        }
    }
}

/// Waits for the process's end, or for the next look.
pub(super) async fn changed(handle: Option<&ProcessHandle>) {
    match handle.filter(|handle| !handle.has_exited()) {
        Some(handle) => {
            tokio::select! {
                _ = handle.exited() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        None if handle.is_some() => tokio::time::sleep(AFTER_END).await,
        None => tokio::time::sleep(LOOK).await,
    }
}

/// Whether launchd has the job from the file that was written for this very run.
pub(super) fn is_our_file(life: &Life, facts: &JobFacts) -> bool {
    let real = |path: &str| std::fs::canonicalize(Path::new(path)).ok();
    match (&life.path, &facts.path) {
        (Some(ours), Some(theirs)) => {
            ours == theirs || real(ours).is_some_and(|p| Some(p) == real(theirs))
        }
        _ => false,
    }
}

/// Returns the end that launchd tells of, if it is certain to be this run's.
pub(super) fn last_of(
    life: &Life,
    target: &Target,
    facts: &JobFacts,
) -> Result<ProcessEnd, String> {
    let same_count = life.runs.is_some() && life.runs == facts.runs;
    // A file of ours serves one run only; another's may have been loaded again meanwhile.
    let same_job = match target.own {
        true => is_our_file(life, facts),
        false => !life.blind,
    };
    match facts.last {
        LastEnd::Known(end) if same_count && same_job => Ok(end),
        LastEnd::Known(_) => {
            Err("launchd tells of another run: cannot tell how this one ended".to_owned())
        }
        LastEnd::Never | LastEnd::Unknown => Err("launchd does not tell how it ended".to_owned()),
    }
}

/// Returns the record of a process that cannot be opened.
fn stranger(pid: u32) -> Identity {
    let ours = Identity::current().ok();
    Identity {
        boot_id: ours
            .as_ref()
            .map_or_else(String::new, |ours| ours.boot_id.clone()),
        pid_ns: ours.as_ref().map_or(0, |ours| ours.pid_ns),
        pid,
        start_ticks: 0,
        pidfs_ino: None,
        handle: None,
    }
}
