//! A backend without processes, and a project around it, for the driver on tokio's paused clock.
#![allow(
    dead_code,
    reason = "each test file uses its part, so `expect` would fail in the others"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use proc_backends::{
    AdoptError, Adopted, Backend, BackendEvent, BackendEventKind, BackendEvents, BoxFuture,
    Capabilities, EventSender, Exit, InstanceSpec, InstanceStatus, Keeper, LogOffsets, Missed,
    OperateError, RunState, SignalTarget, StartError, Started, event_channel,
};
use proc_core::{Identity, Mechanism, ProcessEnd, Signal, StopReport, StopSequence, Survivor};
use proc_policy::Jitter;
use proc_spec::{Command, Project, ServiceSpec};
use proc_supervisor::{Begin, Handle, Options, Supervisor, Who, offline};
use tokio::time::Instant;

/// How many exits its keeper remembers beside the last one.
pub(crate) const KEPT: usize = 4;

/// How the runs of an instance go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    /// The program cannot be started.
    pub(crate) not_found: bool,
    /// It ends by itself after this time with this code; the last entry repeats.
    pub(crate) ends: Vec<(Duration, i32)>,
    /// How long it takes to end once it was asked to.
    pub(crate) stop_takes: Duration,
    /// It survives KILL.
    pub(crate) immortal: bool,
}

/// One thing the backend was asked to do, and when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) what: &'static str,
    pub(crate) instance: String,
}

#[derive(Debug, Default)]
struct Instances {
    behaviours: BTreeMap<String, Behaviour>,
    specs: BTreeMap<String, InstanceSpec>,
    live: BTreeMap<String, Started>,
    exits: BTreeMap<String, Exit>,
    /// Every exit of an instance, as long as it is not acknowledged.
    unstored: BTreeMap<String, Vec<Exit>>,
    runs: BTreeMap<String, u64>,
    acknowledged: BTreeSet<(String, u64)>,
    asked: Vec<Asked>,
    /// Of which it cannot be told whether they live.
    doubted: BTreeSet<String>,
    /// Where to look whether an exit is on the disk when the next run begins.
    records: Option<PathBuf>,
    unrecorded: Vec<(String, u64)>,
    pids: u32,
}

/// The backend; clones share it.
#[derive(Clone)]
pub(crate) struct Fake {
    instances: Arc<Mutex<Instances>>,
    events: Arc<Mutex<EventSender>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let (sender, _) = event_channel();
        Self {
            instances: Arc::default(),
            events: Arc::new(Mutex::new(sender)),
        }
    }

    pub(crate) fn behaves(&self, instance: &str, behaviour: Behaviour) {
        self.lock()
            .behaviours
            .insert(instance.to_owned(), behaviour);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.lock().asked.clone()
    }

    /// What was asked, without the times: `start web`.
    pub(crate) fn asked_in_words(&self) -> Vec<String> {
        self.asked()
            .iter()
            .map(|asked| format!("{} {}", asked.what, asked.instance))
            .collect()
    }

    pub(crate) fn starts_of(&self, instance: &str) -> Vec<Instant> {
        let asked = self.asked().into_iter();
        asked
            .filter(|a| a.what == "start" && a.instance == instance)
            .map(|a| a.at)
            .collect()
    }

    pub(crate) fn spec(&self, instance: &str) -> Option<InstanceSpec> {
        self.lock().specs.get(instance).cloned()
    }

    pub(crate) fn is_live(&self, instance: &str) -> bool {
        self.lock().live.contains_key(instance)
    }

    pub(crate) fn run(&self, instance: &str) -> u64 {
        self.lock().runs.get(instance).copied().unwrap_or(0)
    }

    pub(crate) fn is_acknowledged(&self, instance: &str, run: u64) -> bool {
        self.lock()
            .acknowledged
            .contains(&(instance.to_owned(), run))
    }

    /// The leader ends now.
    pub(crate) async fn end(&self, instance: &str, end: ProcessEnd) {
        let run = self.run(instance);
        self.finish(instance, run, end).await;
    }

    /// From now on it cannot be told whether an instance lives, or it can be again.
    pub(crate) fn doubt(&self, instance: &str, doubted: bool) {
        let mut all = self.lock();
        if doubted {
            all.doubted.insert(instance.to_owned());
        } else {
            all.doubted.remove(instance);
        }
    }

    /// The leader ends while nobody sees it.
    pub(crate) fn end_unseen(&self, instance: &str) {
        let mut all = self.lock();
        let run = all.live.remove(instance).unwrap().run;
        let exit = Exit {
            run,
            end: None,
            unknown: Some("nobody was there".to_owned()),
            at: SystemTime::now(),
            runtime: Duration::ZERO,
            oom: None,
            log: LogOffsets::default(),
        };
        all.exits.insert(instance.to_owned(), exit);
    }

    /// The keeper of an instance is lost, or there again.
    pub(crate) async fn lose(&self, instance: &str) {
        let cause = "the shim was killed".to_owned();
        self.tell(
            instance,
            self.run(instance),
            BackendEventKind::Lost { cause },
        )
        .await;
    }

    pub(crate) async fn recover(&self, instance: &str) {
        let started = self.lock().live[instance].clone();
        let run = started.run;
        self.tell(instance, run, BackendEventKind::Recovered { started })
            .await;
    }

    /// From now on every start looks whether the exit before it is in the journal under `dir`.
    pub(crate) fn check_records(&self, dir: &Path) {
        self.lock().records = Some(dir.to_owned());
    }

    /// The runs that began before the exit of the run before them was on the disk.
    pub(crate) fn unrecorded(&self) -> Vec<(String, u64)> {
        self.lock().unrecorded.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Instances> {
        self.instances.lock().unwrap()
    }

    async fn tell(&self, instance: &str, run: u64, kind: BackendEventKind) {
        let sender = self.events.lock().unwrap().clone();
        sender
            .send(BackendEvent {
                instance: instance.to_owned(),
                run,
                kind,
            })
            .await;
    }

    async fn finish(&self, instance: &str, run: u64, end: ProcessEnd) {
        let exit = {
            let mut instances = self.lock();
            let Some(started) = instances.live.get(instance).filter(|s| s.run == run) else {
                return;
            };
            let exit = Exit {
                run,
                end: Some(end),
                unknown: None,
                at: SystemTime::now(),
                runtime: Duration::from_millis(u64::from(started.pgid)),
                oom: Some(false),
                log: LogOffsets::default(),
            };
            instances.live.remove(instance);
            instances.exits.insert(instance.to_owned(), exit.clone());
            let unstored = instances.unstored.entry(instance.to_owned()).or_default();
            unstored.push(exit.clone());
            exit
        };
        self.tell(instance, run, BackendEventKind::Exited(exit))
            .await;
        self.tell(instance, run, BackendEventKind::TreeEmpty).await;
    }

    fn note(&self, what: &'static str, instance: &str) {
        let asked = Asked {
            at: Instant::now(),
            what,
            instance: instance.to_owned(),
        };
        self.lock().asked.push(asked);
    }

    async fn begin(&self, spec: InstanceSpec) -> Result<Started, StartError> {
        let name = spec.instance.clone();
        self.note("start", &name);
        let (started, end) = {
            let mut all = self.lock();
            let behaviour = all.behaviours.get(&name).cloned().unwrap_or_default();
            if behaviour.not_found {
                return Err(StartError::NotFound {
                    program: "x".to_owned(),
                });
            }
            assert!(!all.live.contains_key(&name), "a second copy of {name}");
            assert!(
                !all.doubted.contains(&name),
                "perhaps a second copy of {name}"
            );
            let run = all.runs.get(&name).copied().unwrap_or(0).max(spec.last_run) + 1;
            if let Some(dir) = all.records.clone().filter(|_| run > 1) {
                let events = offline::events(&dir, 0).unwrap();
                let mut exits = events.iter().filter(|e| e.service.as_ref() == Some(&name));
                if !exits.any(|e| {
                    e.exit
                        .as_ref()
                        .is_some_and(|exit| exit.run == Some(run - 1))
                }) {
                    all.unrecorded.push((name.clone(), run));
                }
            }
            let nth = usize::try_from(run).unwrap() - 1;
            let end = behaviour.ends.get(nth).or(behaviour.ends.last()).copied();
            all.pids += 1;
            let pid = 1_000_000 + all.pids;
            // The group stands for the runtime that its exit is to show.
            let runtime = end.map_or(3_600_000, |(after, _)| {
                u32::try_from(after.as_millis()).unwrap()
            });
            let started = Started {
                run,
                pid,
                identity: identity(pid),
                pgid: runtime,
                started_at: SystemTime::now(),
                downgrades: Vec::new(),
            };
            all.runs.insert(name.clone(), run);
            all.live.insert(name.clone(), started.clone());
            all.specs.insert(name.clone(), spec);
            (started, end)
        };
        if let Some((after, code)) = end {
            let (fake, run) = (self.clone(), started.run);
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                fake.finish(&name, run, ProcessEnd::Exited(code)).await;
            });
        }
        Ok(started)
    }

    async fn end_tree(&self, instance: &str, sequence: StopSequence) -> StopReport {
        self.note("stop", instance);
        let run = self.run(instance);
        let behaviour = self
            .lock()
            .behaviours
            .get(instance)
            .cloned()
            .unwrap_or_default();
        let mut survivors = Vec::new();
        if self.lock().doubted.contains(instance) {
            survivors.push(Survivor {
                pid: 1,
                comm: String::new(),
                reason: "it cannot be told".to_owned(),
            });
        } else if self.is_live(instance) {
            if behaviour.immortal {
                let pid = self.lock().live[instance].pid;
                let reason = "uninterruptible".to_owned();
                survivors.push(Survivor {
                    pid,
                    comm: "immortal".to_owned(),
                    reason,
                });
            } else {
                tokio::time::sleep(behaviour.stop_takes).await;
                let signal = sequence
                    .steps
                    .first()
                    .map_or(Signal::KILL, |step| step.signal);
                let end = ProcessEnd::Signaled {
                    signal,
                    core_dumped: false,
                };
                self.finish(instance, run, end).await;
            }
            self.note("stopped", instance);
        }
        StopReport {
            mechanism: Mechanism::Subreaper,
            signalled: 1,
            escalated: false,
            survivors,
            elapsed: behaviour.stop_takes,
        }
    }

    /// Returns what nobody has acknowledged, but for the last exit of what does not run; at most [`KEPT`] of it.
    fn missed(&self, instance: &str) -> Missed {
        let all = self.lock();
        let mut exits = all.unstored.get(instance).cloned().unwrap_or_default();
        if !all.live.contains_key(instance) {
            exits.pop();
        }
        let dropped: Vec<Exit> = exits.drain(..exits.len().saturating_sub(KEPT)).collect();
        Missed {
            exits,
            dropped: dropped.len() as u64,
            dropped_through: dropped.last().map_or(0, |exit| exit.run),
        }
    }

    fn current(&self, instance: &str) -> InstanceStatus {
        let all = self.lock();
        let state = match (all.live.get(instance), all.exits.get(instance)) {
            (Some(started), _) => RunState::Running(started.clone()),
            (None, Some(exit)) => RunState::Exited(exit.clone()),
            (None, None) => RunState::Idle,
        };
        InstanceStatus {
            tree_empty: !all.live.contains_key(instance),
            state,
            keeper: Keeper::Foreign,
            log_dropped_bytes: 0,
            degraded: Vec::new(),
        }
    }
}

fn identity(pid: u32) -> Identity {
    let mut identity = Identity::current().unwrap();
    identity.pid = pid;
    identity.start_ticks = u64::from(pid);
    identity.pidfs_ino = None;
    identity.handle = None;
    identity
}

type Done<'a> = BoxFuture<'a, Result<(), OperateError>>;

impl Backend for Fake {
    fn name(&self) -> &'static str {
        "native"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn events(&self) -> Option<BackendEvents> {
        let (sender, events) = event_channel();
        *self.events.lock().unwrap() = sender;
        Some(events)
    }

    fn recorded(&self) -> Vec<String> {
        self.lock().runs.keys().cloned().collect()
    }

    fn start(&self, spec: InstanceSpec) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(self.begin(spec))
    }

    fn stop<'a>(
        &'a self,
        instance: &'a str,
        sequence: StopSequence,
    ) -> BoxFuture<'a, Result<StopReport, OperateError>> {
        Box::pin(async move { Ok(self.end_tree(instance, sequence).await) })
    }

    fn signal<'a>(&'a self, instance: &'a str, _: Signal, _: SignalTarget) -> Done<'a> {
        self.note("signal", instance);
        Box::pin(async { Ok(()) })
    }

    fn reload<'a>(&'a self, instance: &'a str, _: Signal) -> Done<'a> {
        self.note("reload", instance);
        Box::pin(async { Ok(()) })
    }

    fn status<'a>(
        &'a self,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<InstanceStatus, OperateError>> {
        Box::pin(async { Ok(self.current(instance)) })
    }

    fn adopt<'a>(
        &'a self,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<Option<Adopted>, AdoptError>> {
        let known = self.lock().runs.get(instance).copied();
        if self.lock().doubted.contains(instance) {
            let doubt = AdoptError::Doubt {
                pid: Some(7),
                run: known,
                obstacle: "it is dark".to_owned(),
                remedy: "make light".to_owned(),
            };
            return Box::pin(async { Err(doubt) });
        }
        let adopted = known.map(|last_run| Adopted {
            status: self.current(instance),
            last_run,
            notes: Vec::new(),
            missed: self.missed(instance),
        });
        Box::pin(async { Ok(adopted) })
    }

    fn acknowledge<'a>(&'a self, instance: &'a str, run: u64) -> Done<'a> {
        let mut all = self.lock();
        all.acknowledged.insert((instance.to_owned(), run));
        if let Some(unstored) = all.unstored.get_mut(instance) {
            unstored.retain(|exit| exit.run > run);
        }
        Box::pin(async { Ok(()) })
    }

    fn stdin_write<'a>(&'a self, instance: &'a str, _: Vec<u8>) -> Done<'a> {
        self.note("stdin", instance);
        Box::pin(async { Ok(()) })
    }

    fn stdin_close<'a>(&'a self, _: &'a str) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }

    fn rotate_log<'a>(&'a self, _: &'a str) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }

    fn set_die_with_supervisor<'a>(&'a self, _: &'a str, _: bool) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }

    fn forget<'a>(&'a self, instance: &'a str) -> Done<'a> {
        self.note("forget", instance);
        let mut all = self.lock();
        if !all.live.contains_key(instance) {
            all.runs.remove(instance);
            all.exits.remove(instance);
        }
        Box::pin(async { Ok(()) })
    }
}

/// A service with the restart policy's documented defaults, but without jitter.
pub(crate) fn service(name: &str) -> ServiceSpec {
    let command = Command::Argv(vec!["x".to_owned()]);
    let mut spec = ServiceSpec::plain(name, Some(command), Path::new("/"));
    spec.restart.jitter = Jitter::None;
    spec
}

/// A project of these services.
pub(crate) fn project(services: Vec<ServiceSpec>) -> Project {
    let mut project = Project::plain("shop", Path::new("/"));
    project.services = services;
    project
}

pub(crate) fn me(verb: &str) -> Who {
    Who {
        verb: verb.to_owned(),
        uid: Some(0),
        pid: Some(1),
    }
}

pub(crate) fn options(fake: &Fake, dir: &Path, services: Vec<ServiceSpec>) -> Options {
    let backend: Arc<dyn Backend> = Arc::new(fake.clone());
    Options::new(project(services), dir.to_owned(), vec![backend])
}

/// Starts a supervisor with `up`.
pub(crate) async fn up(fake: &Fake, dir: &Path, services: Vec<ServiceSpec>) -> Handle {
    Supervisor::start(options(fake, dir, services))
        .await
        .unwrap()
}

/// Starts a supervisor that goes on.
pub(crate) async fn resume(fake: &Fake, dir: &Path, services: Vec<ServiceSpec>) -> Handle {
    let mut options = options(fake, dir, services);
    options.begin = Begin::Resume;
    Supervisor::start(options).await.unwrap()
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
