//! The task of one instance: it owns the connection to the shim and everything known about the service.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use proc_core::{ProcessHandle, StopSequence};
use proc_shim::{
    FdSet, LaunchOptions, Notice, Reply, Request, Role, ShimProcess, Snapshot, StartSpec, Terms,
};
use tokio::sync::mpsc;

use super::NativeOptions;
use super::command::{Command, Done, Pending};
use super::convert;
use super::doubt::doubtful;
use super::link::{Arrived, Link};
use super::silent::silent;
use super::takeover::{LocalStop, gone, stop_ended};
use crate::error::{OperateError, StartError};
use crate::event::{BackendEvent, BackendEventKind, EventSender};
use crate::spec::InstanceSpec;
use crate::status::{Exit, InstanceStatus, Keeper, Missed, RunState, Started};

/// The most bytes of standard input in one request.
const CHUNK: usize = 64 * 1024;

/// Duplicates of what the shim holds, so that another one can take over.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) leader: Option<ProcessHandle>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) pty: bool,
}

/// What waits for standard input.
#[derive(Debug)]
enum Input {
    Write(Vec<u8>, Done<(), OperateError>),
    Close(Done<(), OperateError>),
}

/// Everything about one instance.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) instance: String,
    pub(super) options: Arc<NativeOptions>,
    events: EventSender,
    pub(super) link: Option<Link>,
    /// Why a shim could not begin, in its own words.
    pub(super) refused: Option<io::Error>,
    pub(super) held: Held,
    pub(super) terms: Option<Terms>,
    pub(super) cgroup: Option<std::path::PathBuf>,
    pub(super) running: Option<Started>,
    pub(super) last_exit: Option<Exit>,
    /// What an earlier supervisor may not have recorded.
    pub(super) missed: Missed,
    /// The last run whose exit is on record: the next shim is told as well.
    acknowledged: u64,
    pub(super) tree_empty: bool,
    pub(super) last_run: u64,
    pub(super) replacement: bool,
    dropped: u64,
    degraded: Vec<String>,
    input: VecDeque<Input>,
    feeding: bool,
    /// The leader of a service that nobody keeps.
    pub(super) orphan: Option<ProcessHandle>,
    /// A run of which nobody keeps hold, and of which it cannot be told whether it lives.
    pub(super) doubted: Option<Started>,
    /// Whether a run may have begun whose record could not be read.
    pub(super) unread: bool,
    /// A stop without a shim.
    pub(super) local: Option<LocalStop>,
    /// Replacements that were lost in a row.
    pub(super) attempts: u32,
    /// Whether the shim was found stopped, and has not answered since.
    pub(super) continued: bool,
}

impl Actor {
    pub(super) fn new(instance: String, options: Arc<NativeOptions>, events: EventSender) -> Self {
        Self {
            instance,
            options,
            events,
            link: None,
            refused: None,
            held: Held::default(),
            terms: None,
            cgroup: None,
            running: None,
            last_exit: None,
            missed: Missed::default(),
            acknowledged: 0,
            tree_empty: true,
            last_run: 0,
            replacement: false,
            dropped: 0,
            degraded: Vec::new(),
            input: VecDeque::new(),
            feeding: false,
            orphan: None,
            doubted: None,
            unread: false,
            local: None,
            attempts: 0,
            continued: false,
        }
    }

    /// Runs until the backend is dropped.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let waiting = self.link.as_ref().and_then(Link::waiting_since);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return,
                },
                arrived = next(&mut self.link) => match arrived {
                    Some(arrived) => self.arrived(arrived).await,
                    None => self.lost().await,
                },
                () = silent(waiting) => self.look_at_shim().await,
                () = gone(&self.orphan) => self.orphan_ended().await,
                () = doubtful(&self.doubted, self.running.is_some()) => {
                    self.settle_doubt().await;
                }
                report = stop_ended(&mut self.local) => self.local_stop_ended(report).await,
            }
        }
    }

    async fn arrived(&mut self, arrived: Arrived) {
        self.heard().await;
        match arrived {
            Arrived::Reply(pending, reply, fds) => self.reply(pending, reply, fds).await,
            Arrived::Notice(notice) => self.notice(notice).await,
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Start(spec, done) => match self.clear_the_way().await {
                Ok(()) => self.start(spec, done),
                Err(doubt) => {
                    let _nobody_waits = done.send(Err(doubt));
                }
            },
            Command::Stop(sequence, done) => match self.settle_doubt().await {
                None => self.stop(sequence, done),
                Some(doubt) => {
                    let _nobody_waits = done.send(Ok(self.nothing_stopped(&doubt)));
                }
            },
            Command::Signal(signal, target, done) => match (&self.link, &self.orphan) {
                (None, Some(orphan)) => {
                    let sent = orphan
                        .signal(signal)
                        .map_err(|source| OperateError::Failed {
                            instance: self.instance.clone(),
                            operation: "signal",
                            source: io::Error::other(source),
                        });
                    let _nobody_waits = done.send(sent);
                }
                _ => {
                    let request = Request::Signal {
                        signal,
                        target: convert::target(target),
                    };
                    self.plain("signal", request, done);
                }
            },
            Command::Status(done) => self.status(done),
            Command::Adopt(done) => self.adopt(done).await,
            Command::Acknowledge(run, done) => {
                let _nobody_waits = done.send(Ok(()));
                self.acknowledged = self.acknowledged.max(run);
                self.ask(&Request::Acknowledge { run }, Vec::new(), Pending::Nobody);
            }
            Command::StdinWrite(bytes, done) => {
                self.input.push_back(Input::Write(bytes, done));
                self.feed();
            }
            Command::StdinClose(done) => {
                self.input.push_back(Input::Close(done));
                self.feed();
            }
            Command::Resize(rows, columns, done) => {
                self.plain("resize", Request::Resize { rows, columns }, done);
            }
            Command::RotateLog(done) => self.plain("rotate", Request::RotateLog, done),
            Command::SetDie(die, done) => {
                if let Some(terms) = &mut self.terms {
                    terms.die_with_supervisor = die;
                }
                self.plain(
                    "option",
                    Request::SetOptions {
                        die_with_supervisor: die,
                    },
                    done,
                );
            }
            Command::Forget(done) => self.forget(done),
            Command::Follow(run, pid, done) => self.follow(run, pid, done),
        }
    }

    /// Asks the shim, if there is one; says whether there is. Who waits is dropped otherwise.
    pub(super) fn ask(&mut self, request: &Request, fds: Vec<OwnedFd>, pending: Pending) -> bool {
        let Some(link) = &mut self.link else {
            return false;
        };
        // A request over the limit is refused here; everything else shows as loss.
        link.ask(request, fds, pending).is_ok()
    }

    fn plain(&mut self, operation: &'static str, request: Request, done: Done<(), OperateError>) {
        if self.link.is_none() {
            let _nobody_waits = done.send(Err(self.not_running()));
            return;
        }
        self.ask(&request, Vec::new(), Pending::Plain(operation, done));
    }

    fn not_running(&self) -> OperateError {
        OperateError::NotRunning {
            instance: self.instance.clone(),
        }
    }

    /// Starts a shim where there is none, and greets it.
    pub(super) fn launch(&mut self) -> io::Result<()> {
        let options: LaunchOptions = self.options.launch(&self.instance);
        let process = ShimProcess::launch(&self.options.shim, &options)?;
        self.link = Some(Link::new(process.socket, Some(process.child))?);
        self.refused = None;
        let hello = Request::Hello {
            role: Role::Controller,
        };
        self.ask(&hello, Vec::new(), Pending::Hello);
        // What it finds in the records of another shim may be on record here.
        if self.acknowledged > 0 {
            let run = self.acknowledged;
            self.ask(&Request::Acknowledge { run }, Vec::new(), Pending::Nobody);
        }
        Ok(())
    }

    fn start(&mut self, spec: Box<InstanceSpec>, done: Done<Started, StartError>) {
        let in_the_way = self.orphan.as_ref().map(ProcessHandle::pid);
        if let Some(pid) = in_the_way {
            let instance = self.instance.clone();
            let _nobody_waits = done.send(Err(StartError::StillRunning { instance, pid }));
            return;
        }
        let keeper = |source| StartError::Keeper {
            instance: spec.instance.clone(),
            source,
        };
        if self.link.is_none()
            && let Err(error) = self.launch()
        {
            let _nobody_waits = done.send(Err(keeper(error)));
            return;
        }
        match self.shims_spec(&spec) {
            Ok((start, fds)) => {
                // Kept before the answer comes: a shim that is lost in between is replaced by it.
                self.ask(
                    &Request::Start(Box::new(start)),
                    fds,
                    Pending::Start(spec, done),
                );
            }
            Err(error) => {
                let _nobody_waits = done.send(Err(keeper(error)));
            }
        }
    }

    /// Returns the shim's form of a spec, on the caller's streams where it has given them.
    fn shims_spec(&self, spec: &InstanceSpec) -> io::Result<(StartSpec, Vec<OwnedFd>)> {
        let (mut start, mut fds) = convert::start_spec(spec, self.last_run)?;
        if let Some(console) = &self.options.console {
            console.apply(&mut start, &mut fds)?;
        }
        Ok((start, fds))
    }

    fn follow(&mut self, run: u64, pid: Option<u32>, done: Done<Started, OperateError>) {
        if self.link.is_none() {
            let _nobody_waits = done.send(Err(self.not_running()));
            return;
        }
        let pid = pid.unwrap_or(0);
        self.ask(
            &Request::Follow { run, pid },
            Vec::new(),
            Pending::Follow(done),
        );
    }

    fn stop(&mut self, sequence: StopSequence, done: Done<proc_core::StopReport, OperateError>) {
        if self.link.is_some() {
            let request = Request::Stop {
                sequence: sequence.clone(),
                tier: None,
            };
            self.ask(&request, Vec::new(), Pending::Stop(sequence, done));
        } else {
            self.stop_locally(sequence, vec![done]);
        }
    }

    fn status(&mut self, done: Done<InstanceStatus, OperateError>) {
        if self.link.is_none() {
            let _nobody_waits = done.send(Ok(self.known()));
            return;
        }
        self.ask(&Request::Status, Vec::new(), Pending::Status(done));
    }

    /// Returns what is known without asking.
    pub(super) fn known(&self) -> InstanceStatus {
        let state = match (&self.running, &self.last_exit) {
            (Some(running), _) => RunState::Running(running.clone()),
            (None, Some(exit)) => RunState::Exited(exit.clone()),
            (None, None) => RunState::Idle,
        };
        let keeper = match self.link.as_ref().map(|link| link.shim.as_ref()) {
            Some(shim) => Keeper::Shim {
                pid: shim.map_or(0, ProcessHandle::pid),
                replacement: self.replacement,
            },
            None => Keeper::Nobody,
        };
        InstanceStatus {
            state,
            tree_empty: self.tree_empty,
            keeper,
            log_dropped_bytes: self.dropped,
            degraded: self.degraded.clone(),
        }
    }

    /// Takes over what a shim says of itself.
    pub(super) fn learn(&mut self, snapshot: Snapshot) {
        if let Some(link) = &mut self.link
            && link.shim.is_none()
        {
            link.shim = snapshot.shim.as_ref().and_then(|shim| shim.open().ok());
        }
        self.last_run = self.last_run.max(snapshot.last_run);
        self.running = snapshot.running.map(convert::started);
        if let Some(exited) = snapshot.exited {
            self.last_exit = Some(convert::exit(exited));
        }
        self.tree_empty = snapshot.tree_empty;
        self.replacement = snapshot.replacement;
        self.dropped = snapshot.dropped_bytes;
        self.degraded = snapshot.troubles;
        self.cgroup = snapshot.cgroup;
        if snapshot.terms.is_some() {
            self.terms = snapshot.terms;
        }
    }

    fn forget(&mut self, done: Done<(), OperateError>) {
        if self.orphan.is_some() || self.doubted.is_some() || self.unread || self.local.is_some() {
            let instance = self.instance.clone();
            let _nobody_waits = done.send(Err(OperateError::StillRunning { instance }));
        } else if self.link.is_some() {
            self.ask(&Request::Exit, Vec::new(), Pending::Forget(done));
        } else {
            let _nobody_waits = done.send(self.remove_records());
        }
    }

    /// Removes the records, and the directory if nothing else is in it.
    pub(super) fn remove_records(&self) -> Result<(), OperateError> {
        let dir = self.options.records(&self.instance);
        for name in ["shim", "run", "exit", "shim.lock"] {
            match std::fs::remove_file(dir.join(name)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    let instance = self.instance.clone();
                    return Err(OperateError::Failed {
                        instance,
                        operation: "forget",
                        source,
                    });
                }
                _ => {}
            }
        }
        let _not_empty = std::fs::remove_dir(dir);
        Ok(())
    }

    /// Goes on with what waits for standard input.
    fn feed(&mut self) {
        if self.feeding {
            return;
        }
        let Some(next) = self.input.pop_front() else {
            return;
        };
        if self.link.is_none() {
            let (Input::Write(_, done) | Input::Close(done)) = next;
            let _nobody_waits = done.send(Err(OperateError::NoStdin {
                instance: self.instance.clone(),
            }));
            return self.feed();
        }
        self.feeding = true;
        match next {
            Input::Close(done) => {
                // Our duplicate would keep the pipe open.
                if !self.held.pty {
                    self.held.stdin = None;
                }
                self.ask(
                    &Request::StdinClose,
                    Vec::new(),
                    Pending::Input("stdin", Some(done)),
                );
            }
            Input::Write(mut bytes, done) => {
                let rest = bytes.split_off(bytes.len().min(CHUNK));
                let last = rest.is_empty();
                let mut done = Some(done);
                if !last && let Some(done) = done.take() {
                    self.input.push_front(Input::Write(rest, done));
                }
                self.ask(
                    &Request::StdinWrite(bytes),
                    Vec::new(),
                    Pending::Input("stdin", done),
                );
            }
        }
    }

    /// Ends what waits for standard input: it is not there any more.
    pub(super) fn fail_input(&mut self) {
        self.feeding = false;
        for input in std::mem::take(&mut self.input) {
            let (Input::Write(_, done) | Input::Close(done)) = input;
            let _nobody_waits = done.send(Err(OperateError::NoStdin {
                instance: self.instance.clone(),
            }));
        }
    }

    async fn reply(&mut self, pending: Pending, reply: Reply, fds: Vec<OwnedFd>) {
        match (pending, reply) {
            (Pending::Hello, Reply::Snapshot(snapshot)) => {
                self.last_run = self.last_run.max(snapshot.last_run);
            }
            (Pending::Hello, Reply::Failed(failure)) => {
                self.refused = Some(match failure.errno {
                    0 => io::Error::other(failure.value),
                    errno => io::Error::from_raw_os_error(errno),
                });
            }
            (Pending::Adopt(done, notes), Reply::Snapshot(snapshot)) => {
                self.greeted(*snapshot, done, notes);
            }
            (Pending::Start(spec, done), Reply::Started { running, fds: set }) => {
                self.hold(set, fds);
                self.terms = Some(Terms {
                    log: spec.log.clone(),
                    detached: spec.detached,
                    die_with_supervisor: spec.die_with_supervisor,
                    stop: spec.stop.clone(),
                });
                let started = convert::started(running);
                self.last_run = self.last_run.max(started.run);
                self.running = Some(started.clone());
                self.replacement = false;
                self.tree_empty = false;
                let _nobody_waits = done.send(Ok(started));
            }
            (Pending::Start(_, done), Reply::Failed(failure)) => {
                let _nobody_waits = done.send(Err(convert::start_error(&self.instance, failure)));
            }
            (Pending::Follow(done), Reply::Started { running, fds: set }) => {
                self.hold(set, fds);
                let started = convert::started(running);
                self.running = Some(started.clone());
                let _nobody_waits = done.send(Ok(started));
            }
            (Pending::Follow(done), Reply::Failed(failure)) => {
                let error = convert::operate_error(&self.instance, "follow", failure);
                let _nobody_waits = done.send(Err(error));
            }
            (Pending::Stop(_, done), Reply::Stopped(report)) => {
                let _nobody_waits = done.send(Ok(report));
            }
            (Pending::Status(done), Reply::Snapshot(snapshot)) => {
                self.learn(*snapshot);
                let _nobody_waits = done.send(Ok(self.known()));
            }
            (Pending::Plain(_, done), Reply::Done) => {
                let _nobody_waits = done.send(Ok(()));
            }
            (Pending::Plain(operation, done), Reply::Failed(failure)) => {
                let error = convert::operate_error(&self.instance, operation, failure);
                let _nobody_waits = done.send(Err(error));
            }
            (Pending::Input(operation, done), reply) => {
                self.feeding = false;
                let outcome = match reply {
                    Reply::Failed(failure) => {
                        Err(convert::operate_error(&self.instance, operation, failure))
                    }
                    _ => Ok(()),
                };
                let failed = outcome.is_err();
                if let Some(done) = done {
                    let _nobody_waits = done.send(outcome);
                } else if failed {
                    self.fail_input();
                }
                self.feed();
            }
            (Pending::Forget(done), Reply::Failed(failure)) => {
                let error = convert::operate_error(&self.instance, "forget", failure);
                let _nobody_waits = done.send(Err(error));
            }
            // The end of the connection says that it is gone.
            (Pending::Forget(done), _) => self.forgotten(done).await,
            (Pending::Fds(done, notes), reply) => {
                if let Reply::Fds(set) = reply {
                    self.hold(set, fds);
                }
                self.adopted(done, notes);
            }
            (Pending::TakeOver, reply) => self.taken_over(&reply).await,
            _ => {}
        }
    }

    fn hold(&mut self, set: FdSet, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| if wanted { fds.next() } else { None };
        self.held = Held {
            leader: next(set.pidfd).and_then(|fd| ProcessHandle::from_fd(fd).ok()),
            stdout: next(set.stdout),
            stderr: next(set.stderr),
            stdin: next(set.stdin),
            pty: set.pty,
        };
    }

    async fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Exited(exited) => self.exited(convert::exit(exited)).await,
            Notice::TreeEmpty { run } => {
                self.tree_empty = true;
                self.held = Held::default();
                self.tell(run, BackendEventKind::TreeEmpty).await;
            }
            Notice::StopProgress { signal, wait } => {
                self.tell(
                    self.last_run,
                    BackendEventKind::StopProgress { signal, wait },
                )
                .await;
            }
            Notice::Trouble { what, error } => {
                self.degraded.push(format!("{what}: {error}"));
                self.tell(self.last_run, BackendEventKind::Trouble { what, error })
                    .await;
            }
            Notice::Healed { what } => {
                self.degraded
                    .retain(|line| !line.starts_with(&format!("{what}: ")));
                self.tell(self.last_run, BackendEventKind::Healed { what })
                    .await;
            }
            // Only the supervisor's own shim respawns, and that one has no backend.
            Notice::Respawned(_) => {}
        }
    }

    /// The leader has exited.
    pub(super) async fn exited(&mut self, exit: Exit) {
        self.running = None;
        self.last_exit = Some(exit.clone());
        self.fail_input();
        self.tell(exit.run, BackendEventKind::Exited(exit)).await;
    }

    pub(super) async fn tell(&self, run: u64, kind: BackendEventKind) {
        self.events
            .send(BackendEvent {
                instance: self.instance.clone(),
                run,
                kind,
            })
            .await;
    }
}

/// Waits for the next message of a shim, for ever where there is none.
async fn next(link: &mut Option<Link>) -> Option<Arrived> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
