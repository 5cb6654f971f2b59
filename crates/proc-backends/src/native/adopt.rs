//! What an earlier supervisor left: a shim that answers, a service without a shim, or records alone.

use std::path::{Path, PathBuf};

use proc_core::{ProcessHandle, Signal};
use proc_shim::{
    ExitRecord, RecordError, Request, Role, RunRecord, ShimRecord, Snapshot, connect_to,
};

use super::actor::Actor;
use super::command::{Done, Pending};
use super::doubt::{Doubt, Look, look};
use super::link::Link;
use super::takeover::open;
use super::{convert, takeover};
use crate::error::AdoptError;
use crate::status::{Adopted, Started};

type Answer = Done<Option<Adopted>, AdoptError>;

impl Actor {
    /// Looks for what is there. The answer comes at once, or when the shim has answered.
    pub(super) async fn adopt(&mut self, done: Answer) {
        if self.link.is_some() || self.orphan.is_some() {
            let adopted = self.as_adopted(Vec::new());
            let _nobody_waits = done.send(Ok(Some(adopted)));
            return;
        }
        self.doubted = None;
        let dir = self.options.records(&self.instance);
        let mut notes = Vec::new();
        let record = match ShimRecord::read(&dir) {
            Ok(record) => record,
            Err(error) => {
                notes.push(set_aside(&dir, "shim", &error).to_string());
                None
            }
        };
        let usual = self.options.launch(&self.instance).socket;
        let socket = record
            .as_ref()
            .map_or(usual, |record| record.socket.clone());
        match connect_to(&socket).and_then(|socket| Link::new(socket, None)) {
            Ok(mut link) => {
                // Known before it answers: one that was stopped is continued.
                link.shim = record.and_then(|record| open(&record.identity));
                self.link = Some(link);
                let hello = Request::Hello {
                    role: Role::Controller,
                };
                self.ask(&hello, Vec::new(), Pending::Adopt(done, notes));
            }
            Err(error) if !is_absence(&error) => {
                // Somebody may answer there, so the shim may live, and with it the service.
                let doubt = Doubt::from_io("its shim cannot be reached: ", &error);
                let _nobody_waits = done.send(Err(self.cannot_tell(None, doubt)));
            }
            Err(error) => {
                if let Some(shim) = record.and_then(|record| open(&record.identity)) {
                    // It lives, but nobody can talk to it, so nobody could ever stop its service.
                    notes.push(format!(
                        "the shim (pid {}) does not answer ({error}); ended it",
                        shim.pid()
                    ));
                    end_shim(&shim).await;
                }
                self.adopt_without_shim(done, notes).await;
            }
        }
    }

    /// The shim has answered.
    pub(super) fn greeted(&mut self, snapshot: Snapshot, done: Answer, notes: Vec<String>) {
        let followed = snapshot.exited.as_ref().filter(|exited| {
            let next = snapshot.running.as_ref();
            !snapshot.acknowledged && next.is_some_and(|running| running.run > exited.run)
        });
        self.missed = convert::missed(&snapshot.unstored, followed);
        self.learn(snapshot);
        self.ask(&Request::HandFds, Vec::new(), Pending::Fds(done, notes));
    }

    /// Everything is there.
    pub(super) fn adopted(&self, done: Answer, notes: Vec<String>) {
        let adopted = self.as_adopted(notes);
        let _nobody_waits = done.send(Ok(Some(adopted)));
    }

    /// There is no shim: the records and the kernel tell the rest.
    pub(super) async fn adopt_without_shim(&mut self, done: Answer, mut notes: Vec<String>) {
        let answer = self.recall(&mut notes);
        let adopted = answer.map(|found| found.then(|| self.as_adopted(notes)));
        let _nobody_waits = done.send(adopted);
    }

    /// Takes what the records say; returns whether they say anything.
    fn recall(&mut self, notes: &mut Vec<String>) -> Result<bool, AdoptError> {
        let dir = self.options.records(&self.instance);
        let exit = match ExitRecord::read(&dir) {
            Ok(exit) => exit,
            Err(error) => {
                notes.push(set_aside(&dir, "exit", &error).to_string());
                None
            }
        };
        let run = match RunRecord::read(&dir) {
            Ok(run) => run,
            Err(RecordError::Io(error)) => {
                let doubt = Doubt::from_io("its record cannot be read: ", &error);
                return Err(self.cannot_tell(None, doubt));
            }
            Err(error) => return Err(set_aside(&dir, "run", &error)),
        };
        let found = run.is_some() || exit.is_some() || !notes.is_empty();
        if let Some(exit) = &exit {
            let next = run.as_ref().filter(|run| !run.failed);
            let followed = next.is_some_and(|next| next.running.run > exit.exited.run);
            self.missed = convert::missed(&exit.unstored, followed.then_some(&exit.exited));
            self.last_run = self.last_run.max(exit.exited.run);
            self.last_exit = Some(convert::exit(exit.exited.clone()));
        }
        let Some(run) = run else { return Ok(found) };
        self.last_run = self.last_run.max(run.running.run);
        let over = exit.is_some_and(|exit| exit.exited.run >= run.running.run);
        if run.failed || over {
            return Ok(found);
        }
        self.cgroup = run.cgroup;
        let started = convert::started(run.running);
        match look(&started.identity) {
            Look::Alive(leader) => {
                notes.push(format!(
                    "the shim is gone; the service lives on as pid {}",
                    leader.pid()
                ));
                self.orphan = Some(leader);
                self.running = Some(started);
                self.tree_empty = false;
            }
            Look::Doubt(doubt) => {
                let error = self.cannot_tell(Some(&started), doubt);
                self.doubted = Some(started);
                return Err(error);
            }
            Look::Ended => {
                let why = "it ended while neither its shim nor a supervisor was there";
                let liveness = started.identity.liveness();
                let why = format!("{why}: {}", liveness.reason());
                self.last_exit = Some(takeover::unknown_exit(&started, &why));
            }
        }
        Ok(found)
    }

    /// Returns that nobody knows whether there is a run.
    fn cannot_tell(&self, started: Option<&Started>, doubt: Doubt) -> AdoptError {
        let record = self.options.records(&self.instance).join("run");
        AdoptError::Doubt {
            pid: started.map(|started| started.pid),
            run: started.map(|started| started.run),
            obstacle: doubt.obstacle,
            remedy: match started {
                Some(_) => format!(
                    "{}, or, if it has ended, remove `{}`",
                    doubt.remedy,
                    record.display()
                ),
                None => doubt.remedy.to_owned(),
            },
        }
    }

    fn as_adopted(&self, notes: Vec<String>) -> Adopted {
        Adopted {
            status: self.known(),
            last_run: self.last_run,
            notes,
            missed: self.missed.clone(),
        }
    }
}

/// Returns whether nobody listens: anything else says nothing about the shim.
fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

async fn end_shim(shim: &ProcessHandle) {
    let _gone = shim.signal(Signal::KILL);
    let _gone = tokio::time::timeout(std::time::Duration::from_secs(2), shim.exited()).await;
}

/// Keeps an unreadable record under another name, and says so.
fn set_aside(dir: &Path, name: &str, error: &RecordError) -> AdoptError {
    let path = dir.join(name);
    if let RecordError::Io(error) = error {
        let source = std::io::Error::new(error.kind(), error.to_string());
        return AdoptError::Io { path, source };
    }
    let mut kept = PathBuf::new();
    for number in 1_u32.. {
        kept = dir.join(format!("{name}.unreadable-{number}"));
        if !kept.exists() {
            break;
        }
    }
    match std::fs::rename(&path, &kept) {
        Ok(()) => AdoptError::Unreadable {
            path,
            reason: error.to_string(),
            kept,
        },
        Err(source) => AdoptError::Io { path, source },
    }
}
