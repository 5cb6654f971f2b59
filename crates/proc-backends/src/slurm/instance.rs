//! One instance: a job that is submitted, followed, cancelled and found again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proc_core::{Identity, ProcessEnd, Signal};
use proc_output::LogOptions;

use super::facts::{SlurmFacts, SlurmPhase};
use super::record::{JobId, JobRecord};
use super::tool::Reach;
use super::watch::{Seen, Watcher};
use crate::error::{AdoptError, OperateError};
use crate::event::{BackendEvent, BackendEventKind, EventSender};
use crate::joined::Stops;
use crate::manager::{
    ExitRecord, Follower, ManagerError, Output, StartedRecord, read_record, write_record,
};
use crate::status::{Exit, InstanceStatus, Keeper, RunState, Started};

/// What troubles are told under.
pub(super) const TROUBLE: &str = "slurm";

/// What all instances share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) watcher: Arc<Watcher>,
    pub(super) events: EventSender,
}

/// An instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) common: Arc<Common>,
    /// Starts, adoptions and forgetting go one at a time; stops and signals do not wait for them.
    pub(super) order: tokio::sync::Mutex<()>,
    pub(super) life: tokio::sync::Mutex<Life>,
    pub(super) stops: Stops,
    /// Counts how often a start was called off.
    pub(super) called_off: tokio::sync::watch::Sender<u64>,
    /// Whether there was a start or an adoption.
    pub(super) known: Mutex<bool>,
}

/// What is known of the present or last run.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) run: u64,
    pub(super) name: String,
    pub(super) job: Option<JobId>,
    pub(super) node: String,
    pub(super) started: Option<Started>,
    pub(super) exit: Option<Exit>,
    /// Slurm has put it back into the queue.
    pub(super) lost: bool,
    /// Slurm did not know it the last time.
    pub(super) missed: bool,
    pub(super) output: Option<Output>,
    pub(super) log: LogOptions,
    pub(super) follower: Option<Follower>,
}

/// Returns whether nothing of a job is left, nor about to come.
pub(super) fn is_down(facts: Option<&SlurmFacts>) -> bool {
    facts.is_none_or(|facts| facts.phase() == SlurmPhase::Ended)
}

pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Instance {
    pub(super) fn new(name: &str, common: Arc<Common>) -> Self {
        Self {
            name: name.to_owned(),
            common,
            order: tokio::sync::Mutex::default(),
            life: tokio::sync::Mutex::default(),
            stops: Stops::default(),
            called_off: tokio::sync::watch::Sender::new(0),
            known: Mutex::new(false),
        }
    }

    /// Fails before the first start or adoption.
    pub(super) fn known(&self) -> Result<(), OperateError> {
        match *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            true => Ok(()),
            false => Err(OperateError::Unknown {
                instance: self.name.clone(),
            }),
        }
    }

    pub(super) fn get_to_know(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = true;
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

    pub(super) async fn tell(&self, run: u64, kind: BackendEventKind) {
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
    pub(super) fn record(&self, life: &Life) -> std::io::Result<()> {
        let dir = self.common.watcher.tool.options().records(&self.name);
        let record = JobRecord {
            log: life.log.clone(),
            run: life.run,
            name: life.name.clone(),
            job: life.job,
            node: life.node.clone(),
            started: life.started.as_ref().map(StartedRecord::new),
            exit: life.exit.as_ref().map(ExitRecord::new),
        };
        write_record(&dir, &record)
    }

    pub(super) fn read_record(&self) -> Result<Option<JobRecord>, AdoptError> {
        read_record(&self.common.watcher.tool.options().records(&self.name))
    }

    /// Writes the record where a failure is worth a line only: the run itself is not touched.
    pub(super) fn keep(&self, life: &Life) {
        if let Err(error) = self.record(life) {
            tracing::warn!(instance = %self.name, %error, "the record could not be written");
        }
    }

    /// Takes note that the job runs.
    pub(super) fn begun(
        &self,
        life: &mut Life,
        facts: &SlurmFacts,
        downgrades: Vec<String>,
    ) -> Started {
        let mut job = life.job.unwrap_or_else(|| JobId::new(facts.id));
        job.note(facts);
        let started = Started {
            run: life.run,
            pid: 0,
            identity: identity(job),
            pgid: 0,
            started_at: facts.started.map_or_else(SystemTime::now, at),
            downgrades,
        };
        life.job = Some(job);
        life.node.clone_from(&facts.node);
        life.started = Some(started.clone());
        (life.exit, life.lost, life.missed) = (None, false, false);
        self.keep(life);
        started
    }

    /// Follows the job until the run has ended.
    pub(super) fn follow(self: &Arc<Self>, life: &mut Life) {
        let Some(job) = life.job else { return };
        let mut watching = self.common.watcher.watch(job.id);
        let weak = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            let mut troubled = false;
            loop {
                let seen = watching.next().await;
                let Some(instance) = weak.upgrade() else {
                    return;
                };
                let silence = matches!(seen, Seen::Silence(_));
                if silence != troubled {
                    troubled = silence;
                    instance.tell_of_run(trouble(&seen)).await;
                }
                let facts = match seen {
                    Seen::Silence(_) | Seen::NotAsked => continue,
                    Seen::Nothing => None,
                    Seen::Job(facts) => Some(facts),
                };
                match instance.reconcile(facts.as_ref()).await {
                    Change::Over => return,
                    Change::Some => watching.hurry(),
                    Change::None => {}
                }
            }
        });
        life.follower = Some(Follower::new(task.abort_handle()));
    }

    /// Compares what Slurm says with what was told, and tells the difference once.
    pub(super) async fn reconcile(&self, facts: Option<&SlurmFacts>) -> Change {
        let mut life = self.life.lock().await;
        let (Some(job), Some(started), None) = (life.job, life.started.clone(), &life.exit) else {
            return Change::Over;
        };
        let Some(facts) = facts.filter(|facts| job.is(facts, &life.name)) else {
            // A controller that has just begun may not have read all its records.
            if !std::mem::replace(&mut life.missed, true) {
                return Change::Some;
            }
            let id = job.id;
            self.ended(
                &mut life,
                Err(format!("Slurm no longer knows job {id}, nor how it ended")),
                None,
            )
            .await;
            return Change::Over;
        };
        life.missed = false;
        match facts.phase() {
            SlurmPhase::Waiting if !life.lost => {
                self.lost(&mut life, facts).await;
                Change::Some
            }
            SlurmPhase::Running if life.lost || facts.restarts != job.restarts => {
                if !life.lost {
                    self.lost(&mut life, facts).await;
                }
                let started = self.begun(&mut life, facts, started.downgrades);
                self.say(life.run, format!("job {} runs on {}", facts.id, facts.node))
                    .await;
                self.tell(life.run, BackendEventKind::Recovered { started })
                    .await;
                Change::Some
            }
            SlurmPhase::Ended => {
                self.ended(&mut life, facts.end(), Some(facts)).await;
                Change::Over
            }
            _ => Change::None,
        }
    }

    /// Tells something that belongs into the instance's history.
    pub(super) async fn say(&self, run: u64, text: String) {
        self.tell(run, BackendEventKind::Note { text }).await;
    }

    /// Slurm has taken the job off its node.
    async fn lost(&self, life: &mut Life, facts: &SlurmFacts) {
        let cause = self.why_requeued(&life.node, facts).await;
        life.lost = true;
        if let Some(job) = &mut life.job {
            job.note(facts);
        }
        self.keep(life);
        self.tell(life.run, BackendEventKind::Lost { cause }).await;
    }

    /// Says why a job is in the queue again, as far as Slurm tells.
    pub(super) async fn why_requeued(&self, node: &str, facts: &SlurmFacts) -> String {
        let id = facts.id;
        if node.is_empty() {
            return format!("{}: it waits in Slurm's queue", facts.in_words());
        }
        let said = self.common.watcher.tool.node(node).await;
        let of_node = match said {
            Ok(state) => format!("node {node} is {state}"),
            Err(error) => format!("what became of node {node} cannot be told: {error}"),
        };
        format!(
            "job {id} was requeued by Slurm (restart {}): {of_node}",
            facts.restarts
        )
    }

    async fn ended(
        &self,
        life: &mut Life,
        end: Result<ProcessEnd, String>,
        facts: Option<&SlurmFacts>,
    ) {
        let exit = exit(life, end, facts);
        life.exit = Some(exit.clone());
        life.lost = false;
        self.keep(life);
        self.tell(life.run, BackendEventKind::Exited(exit)).await;
        // Slurm ends everything in a job before it says that the job is over.
        self.tell(life.run, BackendEventKind::TreeEmpty).await;
    }

    /// Returns the job that runs, or is on its way to.
    pub(super) async fn present(&self) -> Option<(JobId, String)> {
        let life = self.life.lock().await;
        let job = life.job.filter(|_| life.exit.is_none())?;
        Some((job, life.name.clone()))
    }

    /// Asks how the present job stands; `None` where there is none.
    pub(super) async fn look(
        &self,
        job: JobId,
        name: &str,
    ) -> Result<Option<SlurmFacts>, ManagerError> {
        let seen = self.common.watcher.look(job.id).await?;
        Ok(seen.filter(|facts| job.is(facts, name)))
    }

    /// Says what is known right now.
    pub(super) async fn status(&self) -> Result<InstanceStatus, OperateError> {
        self.known()?;
        let mut degraded = Vec::new();
        if let Some((job, name)) = self.present().await {
            match self.look(job, &name).await {
                Ok(facts) => {
                    self.reconcile(facts.as_ref()).await;
                    let odd = [SlurmPhase::Unknown, SlurmPhase::Waiting, SlurmPhase::Ending];
                    let facts = facts.filter(|facts| odd.contains(&facts.phase()));
                    degraded.extend(facts.map(|facts| format!("{TROUBLE}: {}", facts.in_words())));
                }
                Err(error) => degraded.push(format!("{TROUBLE}: {error}")),
            }
        }
        Ok(self.life.lock().await.status(degraded))
    }

    /// Sends a signal through Slurm.
    pub(super) async fn signal(&self, signal: Signal, reach: Reach) -> Result<(), OperateError> {
        self.known()?;
        let gone = || OperateError::NotRunning {
            instance: self.name.clone(),
        };
        let (job, name) = self.present().await.ok_or_else(gone)?;
        let facts = self
            .look(job, &name)
            .await
            .map_err(self.refused("signal"))?;
        if facts.is_none_or(|facts| facts.phase() != SlurmPhase::Running) {
            return Err(gone());
        }
        let tool = &self.common.watcher.tool;
        tool.signal(&[job.id], signal, reach)
            .await
            .map_err(self.refused("signal"))
    }
}

/// What a look at a job brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The run is over, or there is none.
    Over,
    /// Something was told, or something is doubtful.
    Some,
    /// Nothing.
    None,
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

fn trouble(seen: &Seen) -> BackendEventKind {
    let what = TROUBLE.to_owned();
    match seen {
        Seen::Silence(error) => BackendEventKind::Trouble {
            what,
            error: error.clone(),
        },
        _ => BackendEventKind::Healed { what },
    }
}

/// Returns how the run ended.
pub(super) fn exit(
    life: &Life,
    end: Result<ProcessEnd, String>,
    facts: Option<&SlurmFacts>,
) -> Exit {
    let now = SystemTime::now();
    let ended = facts.and_then(|facts| facts.ended).map_or(now, at);
    let begun = facts.and_then(|facts| facts.started).map(at);
    let begun = begun.or(life.started.as_ref().map(|started| started.started_at));
    let oom = facts.is_some_and(|facts| facts.state == "OUT_OF_MEMORY");
    let killed = end.as_ref().ok().and_then(|end| end.signal()) == Some(Signal::KILL);
    Exit {
        run: life.run,
        unknown: end.as_ref().err().cloned(),
        end: end.ok(),
        at: ended,
        runtime: begun.map_or(Duration::ZERO, |begun| {
            ended.duration_since(begun).unwrap_or_default()
        }),
        // Without its own accounting of memory Slurm does not see the kernel's killer.
        oom: if killed && !oom { None } else { Some(oom) },
        log: life
            .output
            .as_ref()
            .map(Output::offsets)
            .unwrap_or_default(),
    }
}

/// Returns the record of a job: of another world than this machine's processes, so never mistaken for one.
pub(super) fn identity(job: JobId) -> Identity {
    Identity {
        boot_id: "slurm".to_owned(),
        pid_ns: 0,
        pid: job.id,
        start_ticks: job.submitted,
        pidfs_ino: None,
        handle: None,
    }
}
