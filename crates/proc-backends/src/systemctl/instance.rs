//! One instance: a unit that is started, followed, stopped and taken over again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use proc_core::{Identity, ProcessEnd, ProcessHandle, Signal};
use proc_output::LogOptions;

use super::common::Common;
use super::facts::UnitFacts;
use super::journal::{self, Copy};
use super::record::InstanceRecord;
use super::state::{UnitState, unit_state};
use super::target::Target;
use super::tool::Tool;
use super::watch::Watch;
use crate::error::{AdoptError, OperateError};
use crate::event::{BackendEvent, BackendEventKind};
use crate::joined::Stops;
use crate::manager::{
    ExitRecord, Follower, ManagerError, StartedRecord, read_record, write_record,
};
use crate::status::{Exit, InstanceStatus, Keeper, LogOffsets, RunState, Started};

/// An instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) common: Arc<Common>,
    /// Starts, adoptions and forgetting go one at a time; stops and signals do not wait for them.
    pub(super) order: tokio::sync::Mutex<()>,
    pub(super) life: tokio::sync::Mutex<Life>,
    pub(super) target: Mutex<Option<Target>>,
    pub(super) stopping: Stops,
}

/// What is known of the present or last run.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) run: u64,
    pub(super) invocation: String,
    pub(super) started: Option<Started>,
    pub(super) exit: Option<Exit>,
    pub(super) tree_empty: bool,
    /// systemd is restarting it by itself.
    pub(super) lost: bool,
    pub(super) handle: Option<ProcessHandle>,
    pub(super) copy: Option<Arc<Copy>>,
    pub(super) log: LogOptions,
    pub(super) follower: Option<Follower>,
}

impl Instance {
    pub(super) fn new(name: &str, common: Arc<Common>) -> Self {
        Self {
            name: name.to_owned(),
            common,
            order: tokio::sync::Mutex::default(),
            life: tokio::sync::Mutex::new(Life {
                tree_empty: true,
                ..Life::default()
            }),
            target: Mutex::default(),
            stopping: Stops::default(),
        }
    }

    /// Returns the unit, once there was a start or an adoption.
    pub(super) fn known(&self) -> Result<Target, OperateError> {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        target.clone().ok_or_else(|| OperateError::Unknown {
            instance: self.name.clone(),
        })
    }

    pub(super) fn tool<'a>(&'a self, target: &'a Target) -> Tool<'a> {
        Tool {
            options: &self.common.options,
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

    /// Opens the log, unless it is open with these options.
    pub(super) fn open_log(
        &self,
        life: &mut Life,
        target: &Target,
        options: &LogOptions,
    ) -> std::io::Result<()> {
        if life.copy.is_some() && life.log == *options {
            return Ok(());
        }
        life.copy = None;
        let source = self.tool(target).journal();
        let records = self.common.options.records(&self.name);
        std::fs::create_dir_all(&records)?;
        let to = journal::Target {
            dir: options
                .dir
                .clone()
                .unwrap_or_else(|| self.common.options.log_dir.clone()),
            instance: self.name.clone(),
            options: options.clone(),
            cursor: records.join("cursor"),
        };
        life.copy = Some(Arc::new(Copy::new(source, to)?));
        life.log = options.clone();
        Ok(())
    }

    /// Writes down what the next supervisor has to know.
    pub(super) fn record(&self, life: &Life, target: &Target) -> std::io::Result<()> {
        let dir = self.common.options.records(&self.name);
        let record = InstanceRecord {
            target: target.clone(),
            log: life.log.clone(),
            run: life.run,
            invocation: life.invocation.clone(),
            started: life.started.as_ref().map(StartedRecord::new),
            exit: life.exit.as_ref().map(ExitRecord::new),
        };
        write_record(&dir, &record)
    }

    pub(super) fn read_record(&self) -> Result<Option<InstanceRecord>, AdoptError> {
        read_record(&self.common.options.records(&self.name))
    }

    /// Takes note of the main process that the unit has now.
    pub(super) async fn begun(
        self: &Arc<Self>,
        life: &mut Life,
        target: &Target,
        facts: &UnitFacts,
        downgrades: Vec<String>,
    ) -> Started {
        let handle = self.handle(target, facts).await;
        let pid = if facts.main_pid > 0 {
            facts.main_pid
        } else {
            facts.exec_pid
        };
        let started = Started {
            run: life.run,
            pid,
            identity: handle
                .as_ref()
                .map_or_else(|| stranger(target, pid), |handle| handle.identity().clone()),
            pgid: pid,
            started_at: facts.started_at.unwrap_or_else(SystemTime::now),
            downgrades,
        };
        life.handle = handle;
        life.invocation.clone_from(&facts.invocation);
        life.started = Some(started.clone());
        life.exit = None;
        life.tree_empty = false;
        life.lost = false;
        started
    }

    /// Opens the main process. systemd has not reaped it as long as it says that it is the one,
    /// so asking once more after opening it proves that the number still is that process.
    async fn handle(&self, target: &Target, facts: &UnitFacts) -> Option<ProcessHandle> {
        if target.host.is_some() || facts.main_pid == 0 {
            return None;
        }
        let handle = ProcessHandle::of(facts.main_pid).ok()?;
        let again = self.tool(target).show().await.ok()?;
        let same = again.main_pid == facts.main_pid && again.invocation == facts.invocation;
        same.then_some(handle)
    }

    /// Follows the unit until the run has ended.
    pub(super) fn follow(self: &Arc<Self>, life: &mut Life, target: &Target) {
        let bus = self.common.bus(target, &self.tool(target));
        let handle = life
            .handle
            .as_ref()
            .and_then(|handle| handle.try_clone().ok());
        let mut watch = Watch::new(&bus, &target.unit, handle);
        let (weak, target) = (Arc::downgrade(self), target.clone());
        let task = tokio::spawn(async move {
            let _keeps_listening = bus;
            let mut troubled = false;
            while let Some(instance) = weak.upgrade() {
                match instance.tool(&target).show().await {
                    Ok(facts) => {
                        if troubled {
                            let what = "systemctl".to_owned();
                            instance
                                .tell_of_run(BackendEventKind::Healed { what })
                                .await;
                            troubled = false;
                        }
                        if instance.reconcile(&target, &facts, Some(&mut watch)).await {
                            return;
                        }
                    }
                    Err(error) => {
                        if !troubled {
                            let what = "systemctl".to_owned();
                            let error = error.to_string();
                            instance
                                .tell_of_run(BackendEventKind::Trouble { what, error })
                                .await;
                        }
                        troubled = true;
                    }
                }
                drop(instance);
                if troubled {
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                } else {
                    watch.changed().await;
                }
            }
        });
        life.follower = Some(Follower::new(task.abort_handle()));
    }

    /// Compares what systemd says with what was told, and tells the difference once.
    /// Returns whether the run is over.
    pub(super) async fn reconcile(
        self: &Arc<Self>,
        target: &Target,
        facts: &UnitFacts,
        watch: Option<&mut Watch>,
    ) -> bool {
        let mut life = self.life.lock().await;
        if life.started.is_none() {
            return true;
        }
        if life.exit.is_some() {
            self.empty(&mut life, facts).await;
            return life.tree_empty;
        }
        let (state, reason) = unit_state(facts);
        match state {
            UnitState::Running => self.runs(&mut life, target, facts, watch).await,
            UnitState::Backoff if !life.lost => {
                life.lost = true;
                let kind = BackendEventKind::Lost { cause: reason };
                self.tell(life.run, kind).await;
            }
            UnitState::Exited | UnitState::Failed | UnitState::Stopped if !facts.job => {
                self.ended(&mut life, target, facts).await;
                return life.tree_empty;
            }
            _ => {}
        }
        false
    }

    async fn runs(
        self: &Arc<Self>,
        life: &mut Life,
        target: &Target,
        facts: &UnitFacts,
        watch: Option<&mut Watch>,
    ) {
        let Some(started) = life.started.clone() else {
            return;
        };
        let same = facts.main_pid == 0 || facts.main_pid == started.pid;
        if same && !life.lost {
            return;
        }
        if !life.lost {
            let unit = &target.unit;
            let cause = format!("`{unit}` was restarted by systemd or somebody else");
            self.tell(life.run, BackendEventKind::Lost { cause }).await;
        }
        let started = self.begun(life, target, facts, started.downgrades).await;
        if let Some(watch) = watch {
            watch.process(
                life.handle
                    .as_ref()
                    .and_then(|handle| handle.try_clone().ok()),
            );
        }
        self.keep(life, target);
        self.tell(life.run, BackendEventKind::Recovered { started })
            .await;
    }

    /// Writes the record where a failure is worth a line only: the run itself is not touched.
    pub(super) fn keep(&self, life: &Life, target: &Target) {
        if let Err(error) = self.record(life, target) {
            tracing::warn!(instance = %self.name, %error, "the record could not be written");
        }
    }

    async fn ended(&self, life: &mut Life, target: &Target, facts: &UnitFacts) {
        let log = match &life.copy {
            Some(copy) => copy.drain().await,
            None => 0,
        };
        let exit = exit(life, facts, log);
        life.exit = Some(exit.clone());
        life.lost = false;
        self.keep(life, target);
        self.tell(life.run, BackendEventKind::Exited(exit)).await;
        self.empty(life, facts).await;
    }

    /// Tells that nothing is left, once the unit is down.
    async fn empty(&self, life: &mut Life, facts: &UnitFacts) {
        if !life.tree_empty && super::stop::is_down(facts) {
            life.tree_empty = true;
            self.tell(life.run, BackendEventKind::TreeEmpty).await;
        }
    }

    /// Says what is known right now.
    pub(super) async fn status(self: &Arc<Self>) -> Result<InstanceStatus, OperateError> {
        let target = self.known()?;
        let mut degraded = Vec::new();
        match self.tool(&target).show().await {
            Ok(facts) => {
                self.reconcile(&target, &facts, None).await;
                let (state, reason) = unit_state(&facts);
                if matches!(state, UnitState::Unknown | UnitState::Backoff) {
                    degraded.push(format!("systemctl: {reason}"));
                }
            }
            Err(error) => degraded.push(format!("systemctl: {error}")),
        }
        let life = self.life.lock().await;
        let trouble = life.copy.as_ref().and_then(|copy| copy.trouble());
        degraded.extend(trouble.map(|trouble| format!("log: {trouble}")));
        Ok(life.status(degraded))
    }

    /// Sends a signal through systemd, which knows the unit's processes.
    pub(super) async fn signal(&self, signal: Signal, all: bool) -> Result<(), OperateError> {
        let target = self.known()?;
        let tool = self.tool(&target);
        let facts = tool.show().await.map_err(self.refused("signal"))?;
        if !all && facts.main_pid == 0 || super::stop::is_down(&facts) {
            return Err(OperateError::NotRunning {
                instance: self.name.clone(),
            });
        }
        tool.kill(signal, all).await.map_err(self.refused("signal"))
    }

    /// Uses the unit's own way to reload, else the signal.
    pub(super) async fn reload(&self, signal: Signal) -> Result<(), OperateError> {
        let target = self.known()?;
        let tool = self.tool(&target);
        let facts = tool.show().await.map_err(self.refused("reload"))?;
        if facts.can_reload && facts.active == "active" {
            return tool.reload().await.map_err(self.refused("reload"));
        }
        self.signal(signal, false).await
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
            state,
            tree_empty: self.tree_empty,
            keeper: Keeper::Foreign,
            log_dropped_bytes: 0,
            degraded,
        }
    }
}

/// Returns how the run ended, from whoever still knows.
pub(super) fn exit(life: &Life, facts: &UnitFacts, log: u64) -> Exit {
    let same = life.invocation.is_empty() || facts.invocation == life.invocation;
    let told = facts.end.filter(|_| same);
    // systemd forgets a unit that ended well as soon as nobody refers to it; the kernel does not.
    let end = told.or_else(|| life.handle.as_ref().and_then(ProcessHandle::exit_info));
    let now = SystemTime::now();
    let at = facts.ended_at.filter(|_| same).unwrap_or(now);
    let started = life
        .started
        .as_ref()
        .map_or(at, |started| started.started_at);
    let runtime = facts.runtime.filter(|_| same);
    let killed = end.and_then(ProcessEnd::signal) == Some(Signal::KILL);
    Exit {
        run: life.run,
        unknown: end
            .is_none()
            .then(|| format!("systemd no longer knows how `{}` ended", facts.id)),
        end,
        at,
        runtime: runtime.unwrap_or_else(|| at.duration_since(started).unwrap_or_default()),
        oom: match facts.result.as_str() {
            "oom-kill" => Some(true),
            // Without the memory controller systemd cannot tell who killed it.
            _ if killed => None,
            _ => Some(false),
        },
        log: LogOffsets {
            stdout: log,
            stderr: 0,
        },
    }
}

/// Returns the record of a process that cannot be opened: of another machine, or gone already.
fn stranger(target: &Target, pid: u32) -> Identity {
    let ours = Identity::current().ok();
    Identity {
        boot_id: match &target.host {
            Some(host) => format!("host:{host}"),
            None => ours
                .as_ref()
                .map_or_else(String::new, |ours| ours.boot_id.clone()),
        },
        pid_ns: ours.as_ref().map_or(0, |ours| ours.pid_ns),
        pid,
        start_ticks: 0,
        pidfs_ino: None,
        handle: None,
    }
}
