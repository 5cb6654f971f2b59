//! A run that goes on in another process than the one that was started: a daemon that forked itself
//! away, or a wrapper that named the process it looks after.

use std::os::fd::OwnedFd;

use proc_core::Identity;

use super::Shim;
use super::recorder::Record;
use super::tree::{Tree, pgid_of};
use crate::message::{Failure, FailureKind, Reply, Running};

impl Shim {
    /// Makes a process of the tree the one whose end is the end of the run.
    ///
    /// An orphan of the tree is a child of ours, so its exit code is known like the leader's. The
    /// child of another process of the tree is watched through its pidfd.
    pub(super) fn follow(&mut self, run: u64, pid: u32) -> Result<(Reply, Vec<OwnedFd>), Failure> {
        let before = self.followable(run)?;
        let running = self.named(before, pid)?;
        if running.identity.pid != running_pid(self.service.running.as_ref()) {
            self.service.go_on(running.clone());
            self.streams.mark(&format!(
                "run {run} goes on as pid {pid}",
                pid = running.identity.pid
            ));
            let detached = self.service.terms.as_ref().is_some_and(|t| t.detached);
            self.put_run(&running, detached, false);
            self.recorder.remove(Record::Exit);
        }
        let (fds, handed) = self
            .hand_fds()
            .map_err(|error| Failure::os("descriptor", &error))?;
        Ok((Reply::Started { running, fds }, handed))
    }

    /// Returns the run if it lives, or is the last one and has left somebody behind.
    fn followable(&self, run: u64) -> Result<Running, Failure> {
        let service = &self.service;
        let lives = service.is_running() && !service.replacement;
        let left = !service.is_running() && !service.tree_empty && !service.acknowledged;
        let candidate = match (lives, left) {
            (true, _) => service.running.as_ref(),
            (false, true) if !service.replacement => service.former.as_ref(),
            _ => None,
        };
        candidate
            .filter(|running| running.run == run)
            .cloned()
            .ok_or_else(|| Failure::new(FailureKind::NotRunning, "follow"))
    }

    /// Returns the run as that of another process of its tree, and keeps a handle of it.
    fn named(&mut self, before: Running, pid: u32) -> Result<Running, Failure> {
        let nobody = || Failure {
            value: pid.to_string(),
            ..Failure::new(FailureKind::NotRunning, "follow")
        };
        let member = if pid == 0 {
            Tree::only_orphan()
        } else {
            let members = self.tree().members(self.service.best_mechanism());
            members
                .into_iter()
                .find(|member| member.handle.pid() == pid)
        };
        let handle = member.ok_or_else(nobody)?.handle;
        let pid = handle.pid();
        let running = Running {
            identity: Identity::of(pid).map_err(|_| nobody())?,
            pgid: pgid_of(pid).ok_or_else(nobody)?,
            ..before
        };
        // Its number was only read while it still was that process.
        if handle.has_exited() {
            return Err(nobody());
        }
        self.service.handle = Some(handle);
        Ok(running)
    }
}

/// Returns the pid of a run, 0 for none.
fn running_pid(running: Option<&Running>) -> u32 {
    running.map_or(0, |running| running.identity.pid)
}
