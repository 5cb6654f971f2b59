//! The one owner of everything: a task that takes events in order, lets the machines decide, and
//! carries out what they want.
//!
//! Nothing in the loop sleeps, runs a user's code, or waits for a disk or a backend: such work is
//! done by tasks that send a [`Msg`] back, failures included. After every event
//! [`Driver::reconcile`] makes what is wanted come about as far as it can: stops whose dependents
//! are gone, starts whose needs hold, answers whose time has come.

mod adopt;
mod apply;
mod ask;
mod budget;
mod doubt;
mod exits;
mod files;
mod finish;
mod follow;
mod hooks;
mod instance;
mod launch;
mod listen;
mod memory;
mod notify;
mod overlap;
mod probes;
mod records;
mod roll;
mod start;
mod status;
mod stop;
mod tickets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proc_backends::{
    AdoptError, Adopted, Backend, BackendEvent, OperateError, PassedSocket,
    StartError as LaunchError, Started,
};
use proc_core::StopReport;
use proc_hooks::Phase as HookPhase;
use proc_policy::Bucket;
use proc_probe::ProbeEvent;
use proc_spec::{Project, ServiceSpec};
use tokio::sync::{mpsc, watch};

pub(crate) use self::adopt::{Left, is_alive};
use self::finish::Ending;
pub(crate) use self::instance::Instance;
use self::notify::Said;
pub(crate) use self::status::overall;
use self::tickets::Ticket;
use crate::clock::Clock;
use crate::graph::Graph;
use crate::handle::Request;
use crate::history::History;
use crate::local_time::LocalTime;
use crate::machine::{Action, Event, Timer};
use crate::options::Begin;
use crate::recorder::{End, Recorder, Report};
use crate::request::Finished;
use crate::stamp::Stamp;
use crate::state::Desired;
use crate::view::Who;

/// How many messages wait for the loop before their senders wait too.
const INBOX: usize = 4096;

/// What tasks tell the loop.
#[derive(Debug)]
pub(crate) enum Msg {
    /// A backend has news.
    Backend(BackendEvent),
    /// A start has been answered.
    Spawned {
        key: String,
        epoch: u64,
        result: Result<Started, LaunchError>,
    },
    /// An end has been answered.
    Ended {
        key: String,
        epoch: u64,
        result: Result<StopReport, OperateError>,
    },
    /// A phase's hooks have run.
    Hooks {
        key: String,
        job: u64,
        phase: HookPhase,
        result: Result<(), String>,
    },
    /// A probe has news.
    Probe {
        key: String,
        epoch: u64,
        event: ProbeEvent,
    },
    /// A service has said something of itself.
    Notified { key: String, epoch: u64, said: Said },
    /// The service wrote a line that a probe waits for.
    Line {
        key: String,
        epoch: u64,
        line: Vec<u8>,
    },
    /// How much memory the processes of an instance take, in bytes.
    Memory { key: String, epoch: u64, bytes: u64 },
    /// The main process of a run is known, or why another one is not it.
    Followed {
        key: String,
        epoch: u64,
        run: u64,
        found: Result<follow::Found, String>,
    },
    /// Files of a service have changed, or why they cannot be watched.
    Watched {
        service: String,
        seen: Result<PathBuf, String>,
    },
    /// A surplus instance has been forgotten by its backend.
    Forgotten { key: String },
    /// It is time to look again for an instance of which it could not be told whether it lives.
    LookAgain { key: String },
    /// Its backend has looked.
    Looked {
        key: String,
        found: Box<Result<Option<Adopted>, AdoptError>>,
    },
    /// Everything told up to this event is on the disk, or the disk has had its chance.
    Flushed { seq: u64 },
}

/// What does not change while a supervisor lives.
#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) log_dir: PathBuf,
    pub(crate) journal: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) foreground: bool,
    pub(crate) exit_with: Vec<String>,
    pub(crate) local_time: LocalTime,
    pub(crate) version: String,
    pub(crate) warning: Option<String>,
    pub(crate) pid: u32,
    pub(crate) started_at: Stamp,
}

/// A service as the driver goes by it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) spec: Arc<ServiceSpec>,
    /// What its running instances were started from.
    pub(crate) image: serde_json::Value,
    pub(crate) wanted: Desired,
    /// How many instances there are to be.
    pub(crate) count: u32,
    /// Whether `scale` said so.
    pub(crate) scaled: bool,
    /// Its listening sockets by what was asked for, with the addresses they are bound to.
    pub(crate) sockets: BTreeMap<String, (PassedSocket, String)>,
    /// It is no longer in the configuration, and goes when its instances are down.
    pub(crate) removed: bool,
}

/// The state of a supervisor.
pub(crate) struct Driver {
    pub(crate) fixed: Fixed,
    pub(crate) clock: Clock,
    pub(crate) project: Project,
    pub(crate) graph: Graph,
    pub(crate) backends: BTreeMap<String, Arc<dyn Backend>>,
    pub(crate) services: BTreeMap<String, Service>,
    /// By key: the name under which the backend knows an instance, which it keeps for life.
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) inbox: mpsc::Sender<Msg>,
    pub(crate) recorder: Recorder,
    /// The thread behind it.
    pub(crate) writer: End,
    pub(crate) history: History,
    /// Whether somebody waits for the disk on behalf of exits.
    pub(crate) flushing: bool,
    pub(crate) tickets: Vec<Ticket>,
    /// What watches the files of services.
    pub(crate) watchers: BTreeMap<String, files::Watcher>,
    /// How many restarts nobody asked for are still allowed: of groups by name, and of all.
    pub(crate) buckets: BTreeMap<Option<String>, Bucket>,
    /// What does not work, by what it is.
    pub(crate) trouble: BTreeMap<String, String>,
    /// Nothing is started: only what lives is looked after.
    pub(crate) hold: bool,
    /// Who was the last to end, if nobody was stopped since: its code may be the project's.
    pub(crate) last_ended: Option<String>,
    pub(crate) ending: Option<Ending>,
    /// What an earlier supervisor left, until it was taken over.
    pub(crate) left: Left,
    /// Who started this supervisor.
    pub(crate) who: Who,
    pub(crate) finished: watch::Sender<Option<Finished>>,
}

/// The channels into the loop.
pub(crate) struct Inputs {
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) inbox: mpsc::Receiver<Msg>,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
}

impl Driver {
    pub(crate) fn channel() -> (mpsc::Sender<Msg>, mpsc::Receiver<Msg>) {
        mpsc::channel(INBOX)
    }

    /// Takes over what an earlier supervisor left, and then serves until the project has ended.
    pub(crate) async fn run(mut self, mut inputs: Inputs, begin: Begin, who: Who) {
        self.listen_to_backends();
        self.adopt(&begin).await;
        self.begin(&begin, &who);
        self.reconcile();
        while !self.is_finished() {
            self.next(&mut inputs).await;
            self.reconcile();
        }
        self.leave(&mut inputs).await;
    }

    /// Waits for one event and takes it.
    async fn next(&mut self, inputs: &mut Inputs) {
        let now = self.clock.now();
        let deadline = self
            .instances
            .values()
            .filter_map(|instance| instance.next_deadline(now))
            .min();
        let deadline = deadline.map(|due| self.clock.instant(due));
        let due = async {
            match deadline {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // With every handle dropped the project goes on.
            Some(request) = inputs.requests.recv() => self.ask(request),
            Some(message) = inputs.inbox.recv() => self.take(message),
            Some(report) = inputs.reports.recv() => self.reported(report),
            () = due => self.tick(),
        }
    }

    fn take(&mut self, message: Msg) {
        match message {
            Msg::Backend(event) => self.backend_event(event),
            Msg::Spawned { key, epoch, result } => self.spawned(&key, epoch, result),
            Msg::Ended { key, epoch, result } => self.ended(&key, epoch, result),
            Msg::Hooks {
                key,
                job,
                phase,
                result,
            } => self.hooks_done(&key, job, phase, result),
            Msg::Probe { key, epoch, event } => self.probed(&key, epoch, &event),
            Msg::Notified { key, epoch, said } => self.notified(&key, epoch, said),
            Msg::Line { key, epoch, line } => self.line(&key, epoch, &line),
            Msg::Memory { key, epoch, bytes } => self.measured(&key, epoch, bytes),
            Msg::Followed {
                key,
                epoch,
                run,
                found,
            } => self.followed(&key, epoch, run, found),
            Msg::Watched { service, seen } => self.watched(&service, seen),
            Msg::Forgotten { key } => self.forgotten(&key),
            Msg::LookAgain { key } => self.look_again(&key),
            Msg::Looked { key, found } => self.looked(&key, *found),
            Msg::Flushed { seq } => self.flushed(seq),
        }
    }

    /// Takes every deadline that has come.
    fn tick(&mut self) {
        let now = self.clock.now();
        let due: Vec<_> = self
            .instances
            .iter()
            .filter_map(|(key, instance)| {
                let (due, timer) = instance.machine.next_deadline()?;
                (due <= now).then(|| (key.clone(), timer))
            })
            .collect();
        for (key, timer) in due {
            if timer == Timer::StartTimeout {
                self.recall(&key);
            }
            self.drive(&key, Event::Due(timer));
        }
    }

    /// Lets one machine take an event, and carries out what it wants.
    pub(crate) fn drive(&mut self, key: &str, event: Event) {
        let now = self.clock.now();
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        let actions = instance.machine.step(event, now);
        self.perform(key, actions);
    }

    /// Carries out actions in order, and records what has changed.
    pub(crate) fn perform(&mut self, key: &str, actions: Vec<Action>) {
        let mut told = Vec::new();
        for action in actions {
            match action {
                Action::Hooks(phase) => self.run_hooks(key, phase),
                Action::CancelHooks => self.cancel_hooks(key),
                Action::Spawn => self.spawn(key),
                Action::Watch => self.watch(key),
                Action::Unwatch => self.unwatch(key),
                Action::End => self.end(key),
                Action::Schedule => self.schedule(key),
                Action::Another => self.start_another(key),
                Action::Tell(mut transition) => {
                    if let Some(instance) = self.instances.get(key) {
                        instance.name_sender(&mut transition);
                    }
                    told.push(transition);
                }
            }
        }
        self.record(key, told);
    }

    /// Makes what is wanted come about, as far as it can at this moment.
    fn reconcile(&mut self) {
        self.advance_rolls();
        self.release_stops();
        self.open_gates();
        self.remove_surplus();
        self.tend_watchers();
        self.settle_tickets();
        self.watch_for_the_end();
    }

    /// Returns the keys of a service's instances, by index.
    pub(crate) fn keys_of(&self, service: &str) -> Vec<String> {
        self.keys_where(service, |instance| !instance.is_spare())
    }

    /// Returns the keys of all that runs for a service: during a rolling restart an index has two.
    pub(crate) fn all_keys_of(&self, service: &str) -> Vec<String> {
        self.keys_where(service, |_| true)
    }

    pub(crate) fn keys_where(
        &self,
        service: &str,
        wanted: impl Fn(&Instance) -> bool,
    ) -> Vec<String> {
        let mut keys: Vec<(u32, String)> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.service == service && wanted(instance))
            .map(|(key, instance)| (instance.index, key.clone()))
            .collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Returns the services in the order of the configuration, removed ones last.
    pub(crate) fn order(&self) -> Vec<String> {
        let known = self
            .project
            .services
            .iter()
            .map(|service| service.name.clone());
        let removed = self
            .services
            .iter()
            .filter(|(_, s)| s.removed)
            .map(|(name, _)| name.clone());
        known
            .chain(removed)
            .filter(|name| self.services.contains_key(name))
            .collect()
    }

    /// Returns the backend of a service.
    pub(crate) fn backend_of(&self, service: &str) -> Option<Arc<dyn Backend>> {
        let name = self.services.get(service)?.spec.backend.as_str();
        self.backends.get(name).cloned()
    }

    /// Runs `work` beside the loop.
    pub(crate) fn beside(&self, work: impl Future<Output = Option<Msg>> + Send + 'static) {
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            if let Some(message) = work.await {
                // The loop may have ended: then nobody needs the answer any more.
                let _gone = inbox.send(message).await;
            }
        });
    }
}
