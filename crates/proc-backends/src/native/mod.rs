//! Services as processes of this machine, each kept by a shim of its own.

mod actor;
mod adopt;
mod answer;
mod command;
mod console;
mod convert;
mod doubt;
mod input;
mod link;
mod silent;
mod takeover;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use proc_core::{Signal, StopReport, StopSequence};
use proc_shim::{LaunchOptions, ShimProgram};
use tokio::sync::{mpsc, oneshot};

pub use self::console::Console;

use self::actor::Actor;
use self::command::{Command, Done};
use crate::backend::{Backend, BoxFuture, SignalTarget};
use crate::capability::Capabilities;
use crate::error::{AdoptError, OperateError, StartError};
use crate::event::{BackendEvents, EventSender, event_channel};
use crate::spec::InstanceSpec;
use crate::status::{Adopted, InstanceStatus, Started};

/// Requests that wait for an instance's task; a caller beyond that waits itself.
const QUEUE: usize = 64;

/// Where the native backend keeps what.
#[derive(Debug, Clone)]
pub struct NativeOptions {
    /// The project's state directory; records go to `instances/<instance>/` below it. Absolute.
    pub state_dir: PathBuf,
    /// The project's runtime directory; sockets go to `shim/<instance>.sock` below it. Absolute.
    pub runtime_dir: PathBuf,
    /// The directory of the logs, where a service names none. Absolute.
    pub log_dir: PathBuf,
    /// The program that is a shim.
    pub shim: ShimProgram,
    /// The caller's own streams for every service, instead of a log and `stdin` of the spec.
    pub console: Option<Arc<Console>>,
}

impl NativeOptions {
    /// Returns the usual layout: `log/` below the state directory, and the shim beside the
    /// running program or the program itself.
    ///
    /// # Errors
    /// When the running program cannot be named.
    pub fn new(state_dir: &Path, runtime_dir: &Path) -> io::Result<Self> {
        Ok(Self {
            log_dir: state_dir.join("log"),
            state_dir: state_dir.to_owned(),
            runtime_dir: runtime_dir.to_owned(),
            shim: ShimProgram::find(&std::env::current_exe()?),
            console: None,
        })
    }

    /// Returns the directory of an instance's records.
    pub(crate) fn records(&self, instance: &str) -> PathBuf {
        self.state_dir.join("instances").join(instance)
    }

    /// Returns whether a stop ends the leader's process group alone.
    pub(crate) fn stops_groups(&self) -> bool {
        self.console.as_ref().is_some_and(|c| c.spares_background)
    }

    pub(crate) fn launch(&self, instance: &str) -> LaunchOptions {
        LaunchOptions {
            instance: instance.to_owned(),
            dir: self.records(instance),
            socket: self
                .runtime_dir
                .join("shim")
                .join(format!("{instance}.sock")),
            log_dir: self.log_dir.clone(),
            keep_session: self.console.as_ref().is_some_and(|c| c.keep_session),
            scratch: self.console.as_ref().and_then(|c| c.scratch.clone()),
        }
    }
}

/// The native backend: one shim per instance.
///
/// Dropping it lets go of everything: shims and services live on, except those whose spec says
/// `die_with_supervisor`.
#[derive(Debug)]
pub struct NativeBackend {
    options: Arc<NativeOptions>,
    events: EventSender,
    receiver: Mutex<Option<BackendEvents>>,
    instances: Mutex<HashMap<String, mpsc::Sender<Command>>>,
}

impl NativeBackend {
    /// Prepares the directories.
    ///
    /// # Errors
    /// When a directory cannot be created.
    pub fn new(options: NativeOptions) -> io::Result<Self> {
        create_private(&options.state_dir.join("instances"))?;
        create_private(&options.runtime_dir.join("shim"))?;
        let (events, receiver) = event_channel();
        Ok(Self {
            options: Arc::new(options),
            events,
            receiver: Mutex::new(Some(receiver)),
            instances: Mutex::new(HashMap::new()),
        })
    }

    /// Returns the queue of an instance's task, started where there is none.
    fn queue(&self, instance: &str) -> mpsc::Sender<Command> {
        let mut instances = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = instances.get(instance).filter(|queue| !queue.is_closed()) {
            return queue.clone();
        }
        let (queue, commands) = mpsc::channel(QUEUE);
        let actor = Actor::new(
            instance.to_owned(),
            Arc::clone(&self.options),
            self.events.clone(),
        );
        tokio::spawn(actor.run(commands));
        instances.insert(instance.to_owned(), queue.clone());
        queue
    }

    fn known(&self, instance: &str) -> Option<mpsc::Sender<Command>> {
        let instances = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        instances.get(instance).cloned()
    }

    /// Asks an instance's task and waits for the answer.
    fn ask<'a, T, E>(
        &'a self,
        queue: Option<mpsc::Sender<Command>>,
        command: impl FnOnce(Done<T, E>) -> Command + Send + 'a,
        lost: impl FnOnce() -> E + Send + 'a,
    ) -> BoxFuture<'a, Result<T, E>>
    where
        T: Send + 'a,
        E: Send + 'a,
    {
        let (done, answer) = oneshot::channel();
        let command = command(done);
        Box::pin(async move {
            let Some(queue) = queue else {
                return Err(lost());
            };
            if queue.send(command).await.is_err() {
                return Err(lost());
            }
            answer.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    fn operate<'a, T: Send + 'a>(
        &'a self,
        instance: &'a str,
        command: impl FnOnce(Done<T, OperateError>) -> Command + Send + 'a,
    ) -> BoxFuture<'a, Result<T, OperateError>> {
        let unknown = || OperateError::Unknown {
            instance: instance.to_owned(),
        };
        self.ask(self.known(instance), command, unknown)
    }
}

impl Backend for NativeBackend {
    fn name(&self) -> &'static str {
        "native"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            exit_code_survives: true,
            exact_stop: true,
            services_survive: true,
            passes_sockets: true,
            stdin: true,
            writes_logs: true,
            take_over: proc_core::ProcessHandle::of(std::process::id()).is_ok(),
            notes: vec![format!("shim: {}", self.options.shim.program.display())],
        }
    }

    fn events(&self) -> Option<BackendEvents> {
        self.receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn recorded(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.options.state_dir.join("instances")) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    fn start(&self, spec: InstanceSpec) -> BoxFuture<'_, Result<Started, StartError>> {
        if let Some((field, _)) = spec.foreign.first() {
            let error = StartError::Unsupported {
                field: field.clone(),
                backend: "native",
            };
            return Box::pin(async { Err(error) });
        }
        let instance = spec.instance.clone();
        let queue = self.queue(&instance);
        self.ask(
            Some(queue),
            |done| Command::Start(Box::new(spec), done),
            || StartError::KeeperLost { instance },
        )
    }

    fn stop<'a>(
        &'a self,
        instance: &'a str,
        sequence: StopSequence,
    ) -> BoxFuture<'a, Result<StopReport, OperateError>> {
        self.operate(instance, |done| Command::Stop(sequence, done))
    }

    fn signal<'a>(
        &'a self,
        instance: &'a str,
        signal: Signal,
        target: SignalTarget,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        self.operate(instance, move |done| Command::Signal(signal, target, done))
    }

    fn reload<'a>(
        &'a self,
        instance: &'a str,
        signal: Signal,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        self.signal(instance, signal, SignalTarget::Leader)
    }

    fn status<'a>(
        &'a self,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<InstanceStatus, OperateError>> {
        self.operate(instance, Command::Status)
    }

    fn adopt<'a>(
        &'a self,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<Option<Adopted>, AdoptError>> {
        let lost = || AdoptError::Io {
            path: self.options.records(instance),
            source: io::ErrorKind::BrokenPipe.into(),
        };
        self.ask(Some(self.queue(instance)), Command::Adopt, lost)
    }

    fn acknowledge<'a>(
        &'a self,
        instance: &'a str,
        run: u64,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        self.operate(instance, move |done| Command::Acknowledge(run, done))
    }

    fn stdin_write<'a>(
        &'a self,
        instance: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        self.operate(instance, |done| Command::StdinWrite(bytes, done))
    }

    fn stdin_close<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>> {
        self.operate(instance, Command::StdinClose)
    }

    fn resize<'a>(
        &'a self,
        instance: &'a str,
        rows: u16,
        columns: u16,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        self.operate(instance, move |done| Command::Resize(rows, columns, done))
    }

    fn rotate_log<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>> {
        self.operate(instance, Command::RotateLog)
    }

    fn set_die_with_supervisor<'a>(
        &'a self,
        instance: &'a str,
        die: bool,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        self.operate(instance, move |done| Command::SetDie(die, done))
    }

    fn follow<'a>(
        &'a self,
        instance: &'a str,
        run: u64,
        pid: Option<u32>,
    ) -> BoxFuture<'a, Result<Started, OperateError>> {
        self.operate(instance, move |done| Command::Follow(run, pid, done))
    }

    fn forget<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>> {
        self.operate(instance, Command::Forget)
    }
}

fn create_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}
