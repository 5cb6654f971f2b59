//! One instance as the driver knows it: its machine and what belongs to the present run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proc_backends::{LogOffsets, Started};
use proc_core::StopSequence;
use proc_probe::{Evidence, ProbeTask, Role};
use tokio::task::JoinHandle;

use super::doubt::Doubt;
use super::follow::Held;
use super::notify::Notify;
use crate::machine::{Machine, Phase, Transition};
use crate::record::InstanceRecord;
pub(crate) use crate::record::Part;
use crate::view::{LastExit, SurvivorView, Who};

/// One instance of a service.
pub(crate) struct Instance {
    pub(crate) service: String,
    pub(crate) index: u32,
    pub(crate) machine: Machine,
    /// Counts the runs of this supervisor: answers of an earlier run are told apart by it.
    pub(crate) epoch: u64,
    /// The run, while it lives and until its end was dealt with.
    pub(crate) started: Option<Started>,
    /// The run as that of the process that was named as its main one.
    pub(crate) main: Option<Started>,
    /// The exit of a leader, while it is looked for who goes on.
    pub(crate) held: Option<Held>,
    pub(crate) last_exit: Option<LastExit>,
    /// The code of a last start that never became a process: 127, 126 or 125.
    pub(crate) not_run: Option<i32>,
    /// The last signal that somebody had sent to it: to which run, its number, and who.
    pub(crate) sent: Option<(u64, i32, Who)>,
    /// The highest run number seen.
    pub(crate) last_run: u64,
    /// Where the output of the run before the present one ended.
    pub(crate) log_from: LogOffsets,
    /// Whether it ended under this supervisor, for the rules about the project's end.
    pub(crate) ended_here: bool,
    /// The last run that ended.
    pub(crate) exit_run: u64,
    /// The last run whose exit was told.
    pub(crate) counted: u64,
    /// The number of the event that tells of it, until that is on the disk. The next run waits, so that after a kill not more is
    /// left to its keeper's memory than a disk that refuses made necessary.
    pub(crate) unwritten: Option<u64>,
    pub(crate) survivors: Vec<SurvivorView>,
    /// Set while it cannot be told whether it lives.
    pub(crate) doubt: Option<Doubt>,
    /// Calls the start off that is under way.
    pub(crate) call_off: Option<Arc<tokio::sync::Notify>>,
    /// A stop that waits for its dependents.
    pub(crate) order: Option<StopOrder>,
    /// How the end under way is to go, where somebody said.
    pub(crate) sequence: Option<StopSequence>,
    pub(crate) probes: BTreeMap<&'static str, ProbeTask>,
    /// What the service says of itself.
    pub(crate) notify: Notify,
    /// Its status in its own words.
    pub(crate) status_text: Option<String>,
    /// What reads how much memory it takes.
    pub(crate) meter: Option<JoinHandle<()>>,
    /// What feeds the log probe.
    pub(crate) feed: Option<JoinHandle<()>>,
    pub(crate) hooks: Option<(u64, JoinHandle<()>)>,
    /// What does not work for this instance.
    pub(crate) trouble: BTreeMap<String, String>,
    /// It goes when it is down.
    pub(crate) surplus: bool,
    /// What it is to its index during a rolling restart.
    pub(crate) part: Part,
    /// A file of it that changed while it was being started.
    pub(crate) stale: Option<PathBuf>,
    /// When the restart budgets let it start, while it waits for that.
    pub(crate) turn: Option<Duration>,
    /// What the last rolling restart came to, where it kept this instance.
    pub(crate) note: String,
    /// Its backend is forgetting it.
    pub(crate) forgetting: bool,
    /// What was recorded last.
    pub(crate) saved: Option<InstanceRecord>,
}

/// A stop, or a restart, that waits until what depends on the instance is down.
#[derive(Debug, Clone)]
pub(crate) struct StopOrder {
    pub(crate) kind: &'static str,
    pub(crate) by: Option<Who>,
    pub(crate) again: bool,
}

impl Instance {
    pub(crate) fn new(service: &str, index: u32, machine: Machine) -> Self {
        Self {
            service: service.to_owned(),
            index,
            machine,
            epoch: 0,
            started: None,
            main: None,
            held: None,
            last_exit: None,
            not_run: None,
            sent: None,
            last_run: 0,
            log_from: LogOffsets::default(),
            ended_here: false,
            exit_run: 0,
            counted: 0,
            unwritten: None,
            survivors: Vec::new(),
            doubt: None,
            call_off: None,
            order: None,
            sequence: None,
            probes: BTreeMap::new(),
            notify: Notify::default(),
            status_text: None,
            meter: None,
            feed: None,
            hooks: None,
            trouble: BTreeMap::new(),
            surplus: false,
            part: Part::Current,
            stale: None,
            turn: None,
            note: String::new(),
            forgetting: false,
            saved: None,
        }
    }

    /// Names who sent the signal that ended a run, where it went through us: a parent is not told by the kernel.
    pub(crate) fn name_sender(&self, told: &mut Transition) {
        let fatal = told.exit.as_ref().and_then(|exit| exit.signal);
        if let (None, Some(fatal), Some((run, sent, who))) = (&told.by, fatal, &self.sent)
            && *run == self.last_run
            && *sent == fatal
        {
            told.by = Some(who.clone());
        }
    }

    /// Returns whether it is not the one that stands for its index.
    pub(crate) const fn is_spare(&self) -> bool {
        !matches!(self.part, Part::Current)
    }

    /// Returns when something is to be done by itself; a turn that has come is not awaited.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let timer = self.machine.next_deadline().map(|(due, _)| due);
        let turn = self.turn.filter(|turn| *turn > now);
        timer.into_iter().chain(turn).min()
    }

    /// Returns whether it is being ended at this moment.
    pub(crate) fn is_ending(&self) -> bool {
        let phase = self.machine.phase();
        matches!(
            phase,
            Phase::PreStop | Phase::Ending | Phase::Rest | Phase::PostStop
        )
    }

    /// Returns whether a process of it lives, or may be about to.
    pub(crate) fn is_up(&self) -> bool {
        let phase = self.machine.phase();
        let coming = matches!(phase, Phase::PreStart | Phase::Spawning);
        coming || self.machine.is_live() || self.is_ending()
    }

    pub(crate) fn probe(&self, role: Role) -> Option<&ProbeTask> {
        self.probes.get(role_name(role))
    }

    /// Returns what the probe that it waits for on its way up saw last.
    pub(crate) fn awaited(&self) -> Option<Evidence> {
        let probe = self
            .probe(Role::Startup)
            .or_else(|| self.probe(Role::Ready));
        probe.map(ProbeTask::evidence)
    }
}

/// Returns the key of a role.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Ready => "ready",
        Role::Alive => "alive",
        Role::Startup => "startup",
    }
}
