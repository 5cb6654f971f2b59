//! The life of a run: that it began, how it ended, when its tree was empty, and what follows.

use std::time::{Duration, Instant};

use proc_core::{Mechanism, ProcessEnd, ProcessHandle};
use rustix::process::{WaitOptions, wait};

use super::Shim;
use super::recorder::Record;
use super::service::{Phase, unix_ms};
use crate::message::{Exited, Failure, FailureKind, Notice, Reply};
use crate::records::{ExitRecord, ShimRecord};
use crate::sys;

/// How long a replacement waits for the parent of its service to reap it, which is when the
/// kernel tells the exit code.
const REAP_WAIT: Duration = Duration::from_secs(2);

impl Shim {
    /// Reaps every child that has ended.
    pub(super) fn reap(&mut self) {
        sys::drain_child_events(&self.children);
        let mut reaped = Vec::new();
        let childless = loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or(0);
                    if let Some(end) = ProcessEnd::from_wait_status(status.as_raw()) {
                        reaped.push((pid, end));
                    }
                }
                Ok(None) => break false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break true,
            }
        };
        self.take_note(&reaped, childless);
    }

    /// Acts on the ends of children, and on there being none left.
    pub(super) fn take_note(&mut self, reaped: &[(u32, ProcessEnd)], childless: bool) {
        let childless = childless && (sys::ADOPTS_ORPHANS || self.nobody_is_left_behind());
        let mut ended = None;
        for (pid, end) in reaped {
            if let Some(starting) = self.service.starting.as_mut().filter(|s| s.pid() == *pid) {
                starting.end = Some(*end);
            } else if !self.service.replacement && self.is_leader(*pid) {
                ended = Some(*end);
            }
        }
        if ended.is_some() {
            // One record says both where both are known.
            self.service.tree_empty = childless;
            self.leader_over(ended, None);
        }
        let service = &self.service;
        let left = service.phase == Phase::Idle && !service.replacement;
        if childless && left && (ended.is_some() || !service.tree_empty) {
            self.tree_ended();
        }
    }

    /// Looks for members of the tree that were never our children, and has the shim look again when one of them has ended.
    fn nobody_is_left_behind(&mut self) -> bool {
        let members = self.tree().members(Mechanism::GroupWalk);
        let first = members.into_iter().next();
        self.service.straggler = first.map(|member| Box::new(member.handle));
        self.service.straggler.is_none()
    }

    fn is_leader(&self, pid: u32) -> bool {
        self.service.is_running()
            && self
                .service
                .running
                .as_ref()
                .is_some_and(|running| running.identity.pid == pid)
    }

    /// A leader that is not our child has exited.
    pub(super) fn leader_is_gone(&mut self) {
        let Some(handle) = &self.service.handle else {
            return;
        };
        // One that was named may be our own child, and then its end was just told.
        if !self.service.is_running() {
            return;
        }
        if let Some(end) = handle.exit_info() {
            self.leader_over(Some(end), None);
        } else if sys::TELLS_ENDS && self.service.phase != Phase::Vanished {
            self.service.phase = Phase::Vanished;
            self.service.known_by = Some(Instant::now() + REAP_WAIT);
        } else {
            let reason = "this shim is not its parent, and the kernel does not tell others";
            self.leader_over(None, Some(reason.to_owned()));
        }
        if self.service.named && !self.service.is_running() {
            // Whoever was its parent may have ended before it was known how it ended.
            self.reap();
        }
    }

    /// The leader has ended so, or nobody knows how.
    pub(super) fn leader_over(&mut self, end: Option<ProcessEnd>, unknown: Option<String>) {
        let Some(running) = self.service.running.take() else {
            return;
        };
        self.streams.drain();
        let (stdout_offset, stderr_offset) = self.streams.offsets();
        let runtime = self.service.began.elapsed();
        let exited = Exited {
            run: running.run,
            end,
            unknown,
            at: unix_ms(),
            runtime_ms: u64::try_from(runtime.as_millis()).unwrap_or(u64::MAX),
            oom: self.service.out_of_memory(end),
            stdout_offset,
            stderr_offset,
        };
        self.service.phase = Phase::Idle;
        self.service.known_by = None;
        self.service.ended(exited.clone());
        if let Some(asker) = self.service.input.shut() {
            let reply = Reply::Failed(Failure::new(FailureKind::NoStdin, "stdin"));
            self.peers.reply(asker, &reply, Vec::new());
        }
        self.streams.retire();
        self.service.former = Some(running.clone());
        if self.service.replacement {
            self.service.running = Some(running);
            self.service.tree_empty = self.adopted_tree_is_gone();
            self.watch_adopted_tree();
        }
        self.put_exit();
        self.streams.mark(&match end {
            Some(end) => format!("run {} {end}", exited.run),
            None => format!("run {} ended", exited.run),
        });
        self.peers.notify(&Notice::Exited(exited));
        if self.service.replacement && self.service.tree_empty {
            self.tree_ended();
        }
        self.plan_respawn(end, runtime);
    }

    fn put_exit(&mut self) {
        if let Some(exited) = &self.service.exited {
            let record = ExitRecord {
                exited: exited.clone(),
                tree_empty: self.service.tree_empty,
                unstored: self.service.unstored.clone(),
            };
            self.recorder.put(Record::Exit, record.encode());
        }
    }

    /// Writes who keeps this instance.
    pub(super) fn put_shim(&mut self, replacement: bool) {
        self.introduced = true;
        let Some(identity) = self.identity().cloned() else {
            return;
        };
        let record = ShimRecord {
            identity,
            socket: self.args.socket.clone(),
            replacement,
        };
        self.recorder.put(Record::Shim, record.encode());
    }

    /// Nothing of the tree is left.
    fn tree_ended(&mut self) {
        let known = std::mem::replace(&mut self.service.tree_empty, true);
        self.service.running = None;
        self.service.handle = None;
        self.service.cgroup_events = None;
        self.service.straggler = None;
        let Some(run) = self.service.exited.as_ref().map(|exited| exited.run) else {
            return;
        };
        if !known {
            self.put_exit();
        }
        self.peers.notify(&Notice::TreeEmpty { run });
    }

    /// Returns whether a service that was taken over has left nothing behind, as far as can be seen.
    fn adopted_tree_is_gone(&self) -> bool {
        if let Some(cgroup) = &self.service.cgroup {
            return !cgroup.is_populated().unwrap_or(false);
        }
        self.tree().members(Mechanism::GroupWalk).is_empty()
    }

    fn watch_adopted_tree(&mut self) {
        if !self.service.tree_empty {
            self.service.cgroup_events = self
                .service
                .cgroup
                .as_ref()
                .and_then(|cgroup| cgroup.events_file().ok());
        }
    }

    /// Does what is due.
    pub(super) fn advance_service(&mut self, now: Instant) {
        if self.service.known_by.is_some_and(|at| at <= now) {
            let end = self
                .service
                .handle
                .as_ref()
                .and_then(ProcessHandle::exit_info);
            let unknown = end
                .is_none()
                .then(|| "its parent did not reap it in time".to_owned());
            self.leader_over(end, unknown);
            if self.service.named {
                self.reap();
            }
        }
        let gone = self.service.replacement && self.service.phase == Phase::Idle;
        if gone && !self.service.tree_empty && self.adopted_tree_is_gone() {
            self.tree_ended();
        }
        self.respawn(now);
        if self.service.ending && self.stopping.is_none() && !self.service.is_busy() {
            self.done = true;
        }
    }

    pub(super) fn leader_is_gone_if_so(&mut self) {
        if self
            .service
            .handle
            .as_ref()
            .is_some_and(ProcessHandle::has_exited)
        {
            self.leader_is_gone();
        }
    }

    /// Acts on the loss of the supervisor.
    pub(super) fn lose_supervisor(&mut self) {
        if !self.peers.became_alone() {
            return;
        }
        let service = &mut self.service;
        if self.args.scratch.is_some() {
            // Whoever wanted to know how it ends is gone, and nobody comes in its place.
            self.abandoned = true;
            service.ending = true;
            self.done |= !service.is_busy();
        }
        let never_ran = service.phase == Phase::Idle && service.tree_empty && !service.ran;
        if never_ran && service.again.is_none() {
            self.done = true;
        }
        let Some(terms) = service.terms.clone() else {
            return;
        };
        if terms.die_with_supervisor && service.again.is_none() {
            service.ending = true;
            service.stop_requested();
            if service.is_busy() && self.stopping.is_none() {
                let target = self.service.target(None, false);
                self.begin_stop(terms.stop, target, None);
            }
        }
    }
}
