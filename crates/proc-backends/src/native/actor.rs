//! The task of one instance: it owns the connection to the shim and everything known about the service.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use proc_core::{ProcessHandle, StopSequence};
use proc_shim::{LaunchOptions, Request, Role, ShimProcess, Snapshot, StartSpec, Terms};
use tokio::sync::mpsc;

use super::NativeOptions;
use super::command::{Command, Done, Pending};
use super::convert;
use super::doubt::doubtful;
use super::input::Input;
use super::link::{Arrived, Link};
use super::silent::silent;
use super::takeover::{LocalStop, gone, stop_ended};
use crate::error::{OperateError, StartError};
use crate::event::{BackendEvent, BackendEventKind, EventSender};
use crate::spec::InstanceSpec;
use crate::status::{Exit, InstanceStatus, Keeper, Missed, RunState, Started};

/// Duplicates of what the shim holds, so that another one can take over.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) leader: Option<ProcessHandle>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) pty: bool,
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
    pub(super) degraded: Vec<String>,
    pub(super) input: VecDeque<Input>,
    pub(super) feeding: bool,
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
                group: self.options.stops_groups(),
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
