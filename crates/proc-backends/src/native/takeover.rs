//! When the shim is lost: another one takes over, or the service is watched by its identity.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use proc_core::{
    Child, Identity, ProcessEnd, ProcessHandle, Scope, StopDriver, StopOptions, StopReport,
    StopSequence, StopTarget, run_stop, stop_tree,
};
use proc_shim::{AdoptSpec, RecordError, Reply, Request, RunRecord, Terms};
use tokio::task::JoinHandle;

use super::actor::{Actor, Held};
use super::command::{Done, Pending};
use super::convert;
use super::doubt::{Doubt, Look, look};
use crate::error::{OperateError, StartError};
use crate::event::BackendEventKind;
use crate::status::{Exit, LogOffsets, Started};

/// How long a shim that closed its connection gets to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many replacements are tried in a row.
const ATTEMPTS: u32 = 3;

/// A stop that runs on a thread of its own, without a shim.
#[derive(Debug)]
pub(super) struct LocalStop {
    thread: JoinHandle<io::Result<StopReport>>,
    waiting: Vec<Done<StopReport, OperateError>>,
}

/// Waits until a process has exited, for ever where there is none.
pub(super) async fn gone(orphan: &Option<ProcessHandle>) {
    match orphan {
        Some(orphan) if orphan.exited().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

/// Waits for a stop without a shim, for ever where there is none.
pub(super) async fn stop_ended(local: &mut Option<LocalStop>) -> io::Result<StopReport> {
    match local {
        Some(local) => (&mut local.thread)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error))),
        None => std::future::pending().await,
    }
}

impl Actor {
    /// The connection is at its end.
    pub(super) async fn lost(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.continued = false;
        let (pending, child, shim) = link.into_parts();
        let end = bury(child, shim.as_ref()).await;
        self.fail_input();
        let stops = self.fail_pending(pending).await;
        if self.running.is_some() {
            let pid = shim.map_or_else(String::new, |shim| format!(" (pid {})", shim.pid()));
            let cause = match end {
                Some(end) => format!("the shim{pid} {end}"),
                None => format!("the shim{pid} is gone"),
            };
            self.tell(self.last_run, BackendEventKind::Lost { cause })
                .await;
            self.replace().await;
        }
        for (sequence, done) in stops {
            self.restop(sequence, done);
        }
    }

    /// Tells everybody who waited; returns the stops, which go on without this shim.
    async fn fail_pending(
        &mut self,
        pending: Vec<Pending>,
    ) -> Vec<(StopSequence, Done<StopReport, OperateError>)> {
        let lost = || OperateError::KeeperLost {
            instance: self.instance.clone(),
        };
        let mut stops = Vec::new();
        let mut starts = Vec::new();
        let mut adopts = Vec::new();
        for pending in pending {
            match pending {
                Pending::Stop(sequence, done) => stops.push((sequence, done)),
                Pending::Start(_, done) => starts.push(done),
                Pending::Adopt(done, notes) | Pending::Fds(done, notes) => {
                    adopts.push((done, notes));
                }
                Pending::Status(done) => {
                    let _nobody_waits = done.send(Ok(self.known()));
                }
                Pending::Plain(_, done) | Pending::Input(_, Some(done)) => {
                    let _nobody_waits = done.send(Err(lost()));
                }
                Pending::Follow(done) => {
                    let _nobody_waits = done.send(Err(lost()));
                }
                Pending::Forget(done) => {
                    let _nobody_waits = done.send(self.remove_records());
                }
                Pending::Hello | Pending::Input(_, None) | Pending::TakeOver | Pending::Nobody => {}
            }
        }
        for done in starts {
            let error = match self.refused.take() {
                Some(source) => StartError::Keeper {
                    instance: self.instance.clone(),
                    source,
                },
                None => {
                    let _looked_for_again = self.end_unknown_run().await;
                    StartError::KeeperLost {
                        instance: self.instance.clone(),
                    }
                }
            };
            let _nobody_waits = done.send(Err(error));
        }
        for (done, notes) in adopts {
            self.adopt_without_shim(done, notes).await;
        }
        stops
    }

    /// A start was under way: its record, written before the program was executed, says what to end. Returns why that cannot
    /// be told, where it cannot; then it is looked for again before the next start and the next stop.
    pub(super) async fn end_unknown_run(&mut self) -> Option<Doubt> {
        let record = match RunRecord::read(&self.options.records(&self.instance)) {
            Err(RecordError::Io(error)) => {
                self.unread = true;
                return Some(Doubt::from_io("its record cannot be read: ", &error));
            }
            record => record.ok().flatten(),
        };
        self.unread = false;
        let record =
            record.filter(|record| !record.failed && record.running.run > self.last_run)?;
        self.last_run = record.running.run;
        match look(&record.running.identity) {
            Look::Alive(leader) => end_tree(leader).await,
            Look::Ended => {}
            Look::Doubt(doubt) => {
                self.doubted = Some(convert::started(record.running));
                return Some(doubt);
            }
        }
        None
    }

    /// Starts another shim and hands it everything.
    async fn replace(&mut self) {
        self.attempts += 1;
        let (Some(running), Some(terms)) = (self.running.clone(), self.terms.clone()) else {
            return self.leave_alone().await;
        };
        if self.attempts > ATTEMPTS || self.held.leader.is_none() {
            return self.leave_alone().await;
        }
        let handed = self.hand_over(&running, terms);
        let begun = handed.and_then(|handed| self.launch().map(|()| handed));
        match begun {
            Ok((spec, fds)) => {
                self.ask(&Request::Adopt(Box::new(spec)), fds, Pending::TakeOver);
            }
            Err(_) => self.leave_alone().await,
        }
    }

    fn hand_over(&self, running: &Started, terms: Terms) -> io::Result<(AdoptSpec, Vec<OwnedFd>)> {
        let Held {
            leader,
            stdout,
            stderr,
            stdin,
            pty,
        } = &self.held;
        let mut fds = Vec::new();
        let leader = leader.as_ref().ok_or(io::ErrorKind::NotFound)?;
        fds.push(leader.to_fd()?);
        for fd in [stdout, stderr, stdin].into_iter().flatten() {
            fds.push(fd.try_clone()?);
        }
        let spec = AdoptSpec {
            run: running.run,
            identity: running.identity.clone(),
            pgid: running.pgid,
            started_at: convert::unix_ms(running.started_at),
            stdout: stdout.is_some(),
            stderr: stderr.is_some(),
            stdin: stdin.is_some(),
            pty: *pty,
            cgroup: self.cgroup.clone(),
            terms,
        };
        Ok((spec, fds))
    }

    /// The replacement has answered.
    pub(super) async fn taken_over(&mut self, reply: &Reply) {
        if *reply != Reply::Done {
            // It holds nothing; without it the service is watched from here.
            self.link = None;
            return self.leave_alone().await;
        }
        self.attempts = 0;
        self.replacement = true;
        if let Some(started) = self.running.clone() {
            self.tell(started.run, BackendEventKind::Recovered { started })
                .await;
        }
    }

    /// Nobody keeps the service: it is watched by its identity.
    async fn leave_alone(&mut self) {
        let known = self
            .held
            .leader
            .as_ref()
            .and_then(|leader| leader.try_clone().ok());
        if known.is_some() {
            self.orphan = known;
            return;
        }
        let Some(running) = self.running.clone() else {
            return;
        };
        match look(&running.identity) {
            Look::Alive(leader) => self.orphan = Some(leader),
            Look::Ended => {
                self.exited(unknown_exit(&running, "it ended while nobody watched it"))
                    .await;
                self.tree_is_empty().await;
            }
            // It goes on as one that nobody attends to, and is looked for again.
            Look::Doubt(_) => self.doubted = Some(running),
        }
    }

    fn restop(&mut self, sequence: StopSequence, done: Done<StopReport, OperateError>) {
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

    /// Stops what there is by its identity, as far as it can be found.
    pub(super) fn stop_locally(
        &mut self,
        sequence: StopSequence,
        waiting: Vec<Done<StopReport, OperateError>>,
    ) {
        if let Some(local) = &mut self.local {
            local.waiting.extend(waiting);
            return;
        }
        let leader = self.orphan.as_ref().or(self.held.leader.as_ref());
        let leader = leader.and_then(|leader| leader.try_clone().ok());
        let cgroup = self
            .cgroup
            .as_ref()
            .and_then(|path| proc_core::Cgroup::open(path).ok());
        let group = self.options.stops_groups();
        let thread = tokio::task::spawn_blocking(move || {
            let mut target = match leader {
                Some(leader) => StopTarget::new(leader),
                None => StopTarget::leaderless(),
            };
            if let Some(cgroup) = cgroup {
                target = target.cgroup(cgroup);
            }
            if group {
                target = target.scope(Scope::Group);
            }
            let driver = StopDriver::new(sequence, target, std::time::Instant::now());
            Ok(run_stop(driver, &mut |_, _| {}))
        });
        self.local = Some(LocalStop { thread, waiting });
    }

    /// A stop without a shim is over.
    pub(super) async fn local_stop_ended(&mut self, report: io::Result<StopReport>) {
        let Some(local) = self.local.take() else {
            return;
        };
        // The exit is told before the report.
        if self.orphan.as_ref().is_some_and(ProcessHandle::has_exited) {
            self.orphan_ended().await;
        }
        if report
            .as_ref()
            .is_ok_and(|report| report.survivors.is_empty())
            && !self.tree_empty
        {
            self.tree_is_empty().await;
        }
        for done in local.waiting {
            let answer = match &report {
                Ok(report) => Ok(report.clone()),
                Err(error) => Err(OperateError::Failed {
                    instance: self.instance.clone(),
                    operation: "stop",
                    source: io::Error::new(error.kind(), error.to_string()),
                }),
            };
            let _nobody_waits = done.send(answer);
        }
    }

    pub(super) async fn tree_is_empty(&mut self) {
        self.tree_empty = true;
        self.held = Held::default();
        let run = self
            .last_exit
            .as_ref()
            .map_or(self.last_run, |exit| exit.run);
        self.tell(run, BackendEventKind::TreeEmpty).await;
    }

    /// The leader that nobody keeps has exited.
    pub(super) async fn orphan_ended(&mut self) {
        let Some(orphan) = self.orphan.take() else {
            return;
        };
        let Some(running) = self.running.clone() else {
            return;
        };
        let (end, nobody_left) = tokio::task::spawn_blocking(move || look_back(&orphan))
            .await
            .unwrap_or((None, true));
        let exit = Exit {
            end,
            unknown: end
                .is_none()
                .then(|| "its shim was lost, and the kernel does not tell others".to_owned()),
            ..unknown_exit(&running, "")
        };
        self.exited(exit).await;
        if nobody_left {
            self.tree_is_empty().await;
        }
    }

    /// The shim said that it ends.
    pub(super) async fn forgotten(&mut self, done: Done<(), OperateError>) {
        if let Some(link) = self.link.take() {
            let (_, child, shim) = link.into_parts();
            bury(child, shim.as_ref()).await;
        }
        let _nobody_waits = done.send(self.remove_records());
    }
}

/// Ends a leader and what it started.
pub(super) async fn end_tree(leader: ProcessHandle) {
    let stop = move || stop_tree(&leader, &StopSequence::kill(), StopOptions::default());
    let _ended_or_not_ours = tokio::task::spawn_blocking(stop).await;
}

/// Returns an exit of which nothing but its fact is known.
pub(super) fn unknown_exit(running: &Started, why: &str) -> Exit {
    let at = SystemTime::now();
    Exit {
        run: running.run,
        end: None,
        unknown: Some(why.to_owned()),
        at,
        runtime: at.duration_since(running.started_at).unwrap_or_default(),
        oom: None,
        log: LogOffsets::default(),
    }
}

/// Waits until a leader that has exited was reaped, for a moment; returns how it ended, where the
/// kernel tells, and whether its group is empty.
fn look_back(leader: &ProcessHandle) -> (Option<ProcessEnd>, bool) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut end = leader.exit_info();
    if end.is_none() {
        // Without asked-for events only POLLHUP is reported: it has been reaped.
        let mut fds = [PollFd::new(leader, PollFlags::empty())];
        let _in_time_or_not = poll(&mut fds, Timespec::try_from(PATIENCE).ok().as_ref());
        end = leader.exit_info();
    }
    let empty = matches!(
        leader.signal_group(proc_core::Signal::PROBE),
        Err(proc_core::SignalError::NoSuchProcess { .. })
    );
    (end, empty)
}

/// Waits for a shim to be gone; one that hangs without a connection is of no use and is killed.
async fn bury(child: Option<Child>, shim: Option<&ProcessHandle>) -> Option<ProcessEnd> {
    // Without a descriptor to spare there was no second handle.
    let shim = shim.or(child.as_ref().map(Child::handle))?;
    // Not only in time: without a descriptor to spare nobody can wait for it at all.
    let ended = tokio::time::timeout(PATIENCE, shim.exited()).await;
    if !matches!(ended, Ok(Ok(()))) {
        let _gone = shim.signal(proc_core::Signal::KILL);
        let _gone = tokio::time::timeout(PATIENCE, shim.exited()).await;
    }
    match &child {
        Some(child) => child.try_wait().ok().flatten(),
        None => shim.exit_info(),
    }
}

/// Opens a recorded process that is known to live.
pub(super) fn open(identity: &Identity) -> Option<ProcessHandle> {
    match look(identity) {
        Look::Alive(process) => Some(process),
        Look::Ended | Look::Doubt(_) => None,
    }
}
