//! Readiness that a service tells itself: sd_notify messages, and a newline on a descriptor.
//!
//! The receiver runs beside the loop for as long as the run is watched. The sender of a message
//! must belong to the instance's tree: its line of parents leads to the leader, or to the leader's
//! own parent, which adopts the orphans of the tree.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proc_backends::{Backend, Keeper, PassedSocket};
use proc_core::list;
use proc_probe::{
    FdStore, Notification, NotifyChange, NotifyFd, NotifySocket, NotifyState, Probe, ProbeKind,
    Role,
};
use proc_spec::ServiceSpec;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Driver, Msg};
use crate::machine::Event;

/// The longest line of parents that is followed.
const DEPTH: usize = 64;

/// What an instance keeps for notifications.
#[derive(Default)]
pub(crate) struct Notify {
    /// The receiver of messages, from the first start on.
    socket: Option<Arc<NotifySocket>>,
    /// The reading end of the present run's descriptor.
    newline: Option<NotifyFd>,
    /// Descriptors that the service keeps here over its restarts.
    store: Arc<Mutex<FdStore>>,
    task: Option<JoinHandle<()>>,
    /// Asks the receiver to take what has come so far.
    drain: Option<mpsc::Sender<oneshot::Sender<Option<u32>>>>,
}

/// What a receiver has still to take when a leader has ended.
#[derive(Debug)]
pub(super) struct Drain(mpsc::Sender<oneshot::Sender<Option<u32>>>);

impl Drain {
    /// Returns the main process that was named, once everything that was sent has been taken.
    pub(super) async fn main_pid(&self) -> Option<u32> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok().flatten()
    }
}

impl Driver {
    /// Prepares what a start needs: variables, the descriptor, and stored descriptors.
    pub(super) fn prepare_notify(&mut self, key: &str, spec: &ServiceSpec) -> Prepared {
        let mut prepared = Prepared::default();
        let path = self
            .fixed
            .runtime_dir
            .join("notify")
            .join(format!("{key}.sock"));
        let private = spec.attributes.user.is_none();
        let Some(instance) = self.instances.get_mut(key) else {
            return prepared;
        };
        let notify = &mut instance.notify;
        if wants_socket(spec) {
            notify.open(&path, private, &mut instance.trouble);
        }
        if let Some(socket) = &notify.socket {
            let value = socket.variable().to_string_lossy().into_owned();
            prepared.env.insert("NOTIFY_SOCKET".to_owned(), value);
            if let Some(watchdog) = spec.watchdog {
                let micros = watchdog.as_micros().to_string();
                prepared.env.insert("WATCHDOG_USEC".to_owned(), micros);
            }
        }
        if let Some(number) = wants_newline(spec) {
            match NotifyFd::pipe() {
                Ok((reader, writer)) => {
                    notify.newline = Some(reader);
                    prepared.fd = Some((Arc::new(writer), number));
                }
                Err(error) => {
                    let line = format!("{key}: notify_fd: {error}");
                    instance.trouble.insert("notify".to_owned(), line);
                }
            }
        }
        prepared.stored = notify.stored();
        prepared
    }

    /// Begins to hear the present run.
    pub(super) fn hear(&mut self, key: &str) {
        let Some(spec) = self.spec_of(key) else {
            return;
        };
        let path = self
            .fixed
            .runtime_dir
            .join("notify")
            .join(format!("{key}.sock"));
        let inbox = self.inbox.clone();
        let backend = self.backend_of(&spec.name);
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        if instance
            .notify
            .task
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return;
        }
        if wants_socket(&spec) {
            // After a change of supervisors: the same path as before, so the service finds it.
            let private = spec.attributes.user.is_none();
            instance.notify.open(&path, private, &mut instance.trouble);
        }
        let Some(leader) = instance.started.as_ref().map(|started| started.pid) else {
            return;
        };
        let (drain, drained) = mpsc::channel(1);
        let hearing = Hearing {
            key: key.to_owned(),
            epoch: instance.epoch,
            leader,
            keeper: keeper_of(leader),
            inbox,
            store: Arc::clone(&instance.notify.store),
        };
        let (socket, newline) = (
            instance.notify.socket.clone(),
            instance.notify.newline.take(),
        );
        if socket.is_none() && newline.is_none() {
            return;
        }
        let state = NotifyState::new(spec.watchdog);
        instance.notify.drain = socket.is_some().then_some(drain);
        instance.notify.task = Some(tokio::spawn(async move {
            let mut hearing = hearing;
            hearing.find_keeper(backend).await;
            tokio::join!(
                hearing.messages(socket, state, drained),
                hearing.newline(newline)
            );
        }));
    }

    pub(super) fn stop_hearing(&mut self, key: &str) {
        let instance = self.instances.get_mut(key);
        if let Some(instance) = instance {
            instance.notify.drain = None;
            if let Some(task) = instance.notify.task.take() {
                task.abort();
            }
        }
    }

    /// Shows a statement to the probes that wait for one.
    fn feed(&self, key: &str, ready: bool, how: &str) {
        let Some((spec, instance)) = self.spec_of(key).zip(self.instances.get(key)) else {
            return;
        };
        let probes = [
            (Role::Ready, &spec.ready),
            (Role::Alive, &spec.alive),
            (Role::Startup, &spec.startup),
        ];
        for (role, probe) in probes {
            let kind = probe.as_ref().map(|probe| &probe.kind);
            if matches!(kind, Some(ProbeKind::Notify | ProbeKind::NotifyFd(_)))
                && let Some(task) = instance.probe(role)
            {
                task.feed_statement(ready, how);
            }
        }
    }

    /// The service has said something.
    pub(super) fn notified(&mut self, key: &str, epoch: u64, change: Said) {
        let Some(instance) = self.instances.get_mut(key).filter(|i| i.epoch == epoch) else {
            return;
        };
        match change {
            Said::Ready(ready, how) => self.feed(key, ready, how),
            Said::MainPid(pid) => self.main_named(key, pid),
            Said::Status(text) => instance.status_text = Some(text),
            Said::Errno(number) => {
                let error = std::io::Error::from_raw_os_error(number);
                let note =
                    instance
                        .machine
                        .note("notify", None, format!("ERRNO={number}: {error}"));
                self.perform(key, vec![note]);
            }
            Said::Extend(time) => self.drive(key, Event::Extend(time)),
            Said::Unhealthy(evidence) => {
                self.drive(
                    key,
                    Event::Unhealthy {
                        evidence: evidence.to_owned(),
                    },
                );
            }
        }
    }
}

impl Notify {
    /// Returns what a replacement begins with: the descriptors that the service keeps here.
    pub(super) fn successor(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            ..Self::default()
        }
    }

    /// Returns what has still to be taken of the present run's messages.
    pub(super) fn drain(&self) -> Option<Drain> {
        self.drain.clone().map(Drain)
    }

    fn open(
        &mut self,
        path: &std::path::Path,
        private: bool,
        trouble: &mut BTreeMap<String, String>,
    ) {
        if self.socket.is_some() {
            return;
        }
        // A service of another user cannot reach our directories.
        let bound = if private {
            let dir = path.parent().unwrap_or(path);
            // Should it fail, the bind says why.
            let _bind_says = std::fs::create_dir_all(dir);
            NotifySocket::bind(path)
        } else {
            NotifySocket::bind_abstract(path)
        };
        match bound {
            Ok(socket) => {
                trouble.remove("notify");
                self.socket = Some(Arc::new(socket));
            }
            Err(error) => {
                trouble.insert("notify".to_owned(), super::start::chain(&error));
            }
        }
    }

    fn stored(&self) -> Vec<PassedSocket> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let copies = store.iter().filter_map(|(name, fd)| {
            let fd = fd.try_clone_to_owned().ok()?;
            Some(PassedSocket {
                name: name.to_owned(),
                fd: Arc::new(fd),
            })
        });
        copies.collect()
    }
}

/// What a start gets for notifications.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) env: BTreeMap<String, String>,
    pub(super) fd: Option<(Arc<OwnedFd>, i32)>,
    pub(super) stored: Vec<PassedSocket>,
}

/// What a service has said.
#[derive(Debug)]
pub(crate) enum Said {
    /// Whether it is ready, and how it said so.
    Ready(bool, &'static str),
    /// Its status in words.
    Status(String),
    /// Another process of the tree is the main one.
    MainPid(u32),
    /// The number of an error that it has met.
    Errno(i32),
    /// The start may take at least this long from now.
    Extend(Duration),
    /// It is to be replaced.
    Unhealthy(&'static str),
}

/// The receiver of one run.
struct Hearing {
    key: String,
    epoch: u64,
    leader: u32,
    /// The leader's parent, who adopts the orphans of the tree; 0 for unknown.
    keeper: u32,
    inbox: mpsc::Sender<Msg>,
    store: Arc<Mutex<FdStore>>,
}

impl Hearing {
    /// Asks who the leader's parent was where it has ended already.
    async fn find_keeper(&mut self, backend: Option<Arc<dyn Backend>>) {
        if self.keeper == 0
            && let Some(backend) = backend
            && let Ok(status) = backend.status(&self.key).await
            && let Keeper::Shim { pid, .. } = status.keeper
        {
            self.keeper = pid;
        }
    }

    async fn messages(
        &self,
        socket: Option<Arc<NotifySocket>>,
        mut state: NotifyState,
        mut drained: mpsc::Receiver<oneshot::Sender<Option<u32>>>,
    ) {
        let Some(socket) = socket else {
            return;
        };
        loop {
            let expiry = async {
                match state.watchdog_deadline() {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                received = socket.receive(|pid| self.in_tree(pid)) => match received {
                    Ok(notification) => self.take(notification, &mut state).await,
                    Err(error) => {
                        tracing::warn!(instance = self.key, %error, "cannot receive notifications");
                        return;
                    }
                },
                Some(answer) = drained.recv() => {
                    while let Ok(Some(notification)) = socket.receive_now(|pid| self.in_tree(pid)) {
                        self.take(notification, &mut state).await;
                    }
                    // Nobody waits any more when the search was called off.
                    let _gone = answer.send(state.main_pid());
                }
                () = expiry => {
                    self.say(Said::Unhealthy("watchdog: nothing was heard in time")).await;
                    return;
                }
            }
        }
    }

    async fn take(&self, mut notification: Notification, state: &mut NotifyState) {
        self.store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(&mut notification);
        let changes = state.apply(&notification.message, Instant::now(), |pid| {
            self.in_tree(pid)
        });
        for change in changes {
            match change {
                NotifyChange::Ready => self.say(Said::Ready(true, "READY=1")).await,
                NotifyChange::Reloading => self.say(Said::Ready(false, "RELOADING=1")).await,
                NotifyChange::Stopping => self.say(Said::Ready(false, "STOPPING=1")).await,
                NotifyChange::Status(text) => self.say(Said::Status(text)).await,
                NotifyChange::Errno(number) => self.say(Said::Errno(number)).await,
                NotifyChange::ExtendTimeout(time) => self.say(Said::Extend(time)).await,
                NotifyChange::WatchdogTrigger => {
                    self.say(Said::Unhealthy("watchdog: WATCHDOG=trigger"))
                        .await;
                }
                NotifyChange::MainPid(pid) => self.say(Said::MainPid(pid)).await,
            }
        }
        // A barrier's descriptor closes here, after everything before it was said.
    }

    /// Returns whether a process belongs to the instance's tree.
    fn in_tree(&self, pid: u32) -> bool {
        let mut at = pid;
        for _ in 0..DEPTH {
            if at == self.leader || (self.keeper > 1 && at == self.keeper) {
                return true;
            }
            match list::get(at) {
                Ok(info) if info.ppid > 1 => at = info.ppid,
                _ => return false,
            }
        }
        false
    }

    async fn newline(&self, newline: Option<NotifyFd>) {
        let Some(mut newline) = newline else {
            return;
        };
        if let Ok(true) = newline.ready().await {
            self.say(Said::Ready(true, "a newline")).await;
        }
    }

    async fn say(&self, said: Said) {
        let message = Msg::Notified {
            key: self.key.clone(),
            epoch: self.epoch,
            said,
        };
        // The loop may have ended.
        let _gone = self.inbox.send(message).await;
    }
}

/// Returns the parent of a leader, 0 where there is none to tell.
fn keeper_of(leader: u32) -> u32 {
    let parent = list::get(leader).map_or(0, |info| info.ppid);
    if parent > 1 { parent } else { 0 }
}

fn kinds(spec: &ServiceSpec) -> impl Iterator<Item = &ProbeKind> {
    let probes: [&Option<Probe>; 3] = [&spec.ready, &spec.alive, &spec.startup];
    probes.into_iter().flatten().map(|probe| &probe.kind)
}

pub(super) fn wants_socket(spec: &ServiceSpec) -> bool {
    spec.watchdog.is_some() || kinds(spec).any(|kind| *kind == ProbeKind::Notify)
}

fn wants_newline(spec: &ServiceSpec) -> Option<i32> {
    kinds(spec).find_map(|kind| match kind {
        ProbeKind::NotifyFd(number) => Some(*number),
        _ => None,
    })
}
