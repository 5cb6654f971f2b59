//! Who is killed, found by identity, and how long until the next blow.

use std::path::PathBuf;
use std::time::Duration;

use proc_core::{Identity, Signal};
use proc_shim::{Client, Notice, Reply, Request, Role, RunRecord, ShimRecord, Snapshot};
use proc_tests::Project;

/// Far longer than anything takes; a test that needs it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A connection to the shim that keeps the detached supervisor: it knows the present one first.
pub(crate) struct Killer(Client);

impl Killer {
    /// Connects; the supervisor must have been started.
    pub(crate) fn new(project: &Project) -> Self {
        let socket = project.state().join("run/supervisor.sock");
        Self(Client::connect(&socket).expect("the supervisor's shim answers"))
    }

    /// Kills the supervisor of this moment, whatever it is doing, and waits until another was started.
    pub(crate) fn kill_supervisor(&mut self) {
        let hello = Request::Hello {
            role: Role::Controller,
        };
        let running = self.ask(&hello).running;
        let pid = running.expect("a supervisor runs").identity;
        kill(&pid);
        loop {
            match self.0.notice(Some(LONG)).expect("the shim lives on") {
                Notice::Respawned(running) if running.identity.pid != pid.pid => return,
                _ => {}
            }
        }
    }

    /// Returns how often the supervisor was started again.
    pub(crate) fn respawns(&mut self) -> u32 {
        self.ask(&Request::Status).respawns
    }

    fn ask(&mut self, request: &Request) -> Snapshot {
        match self.0.call(request, Vec::new(), Some(LONG)) {
            Ok((Reply::Snapshot(snapshot), _)) => *snapshot,
            other => panic!("no snapshot but {other:?}"),
        }
    }
}

/// Kills a process with -9, verified to be the one that is meant; one that has just ended is let off.
pub(crate) fn kill(identity: &Identity) -> bool {
    let opened = identity.open();
    opened.is_ok_and(|process| process.signal(Signal::KILL).is_ok())
}

/// Returns the shim of an instance, as it wrote itself down; there is none between two of them.
pub(crate) fn shim(project: &Project, instance: &str) -> Option<Identity> {
    let record = ShimRecord::read(&records(project, instance)).expect("its record is readable");
    record.map(|record| record.identity)
}

/// Returns the service process of an instance, as its shim wrote it down.
pub(crate) fn leader(project: &Project, instance: &str) -> Option<Identity> {
    let record = RunRecord::read(&records(project, instance)).expect("its record is readable");
    record.map(|record| record.running.identity)
}

fn records(project: &Project, instance: &str) -> PathBuf {
    project.state().join("instances").join(instance)
}

/// Lets a moment pass: not to wait for anything, but to strike at another instant.
pub(crate) fn pause(millis: u64) {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    _ = never.recv_timeout(Duration::from_millis(millis));
}
