//! The command that the shim itself starts again, as for a supervisor's own keeper.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proc_core::ProcessEnd;

use super::Shim;
use super::start::duplicate;
use crate::message::{Failure, Respawn, StartSpec};

/// What is needed to start the command again without being asked.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) spec: StartSpec,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) policy: Respawn,
    /// The delay of the next restart.
    pub(super) delay: Duration,
    pub(super) at: Option<Instant>,
}

impl Shim {
    /// Decides after an end whether the command comes back, and when.
    pub(super) fn plan_respawn(&mut self, end: Option<ProcessEnd>, runtime: Duration) {
        let stop_wanted = self.service.stop_wanted;
        let Some(again) = &mut self.service.again else {
            return;
        };
        let code = end.and_then(ProcessEnd::code);
        if stop_wanted || code.is_some_and(|code| again.policy.is_final(code)) {
            self.service.again = None;
            self.service.ending = true;
            // What it leaves behind are other services, which have shims of their own.
            if let Some(terms) = &mut self.service.terms {
                terms.detached = true;
            }
            return;
        }
        if runtime >= again.policy.reset_after {
            again.delay = again.policy.initial;
        }
        again.at = Some(Instant::now() + again.delay);
        again.delay = (again.delay * 2).min(again.policy.max);
    }

    /// Starts the command again when it is time.
    pub(super) fn respawn(&mut self, now: Instant) {
        let Some(again) = &mut self.service.again else {
            return;
        };
        if again.at.is_none_or(|at| at > now) {
            return;
        }
        again.at = None;
        let mut spec = again.spec.clone();
        // Its directory was removed: better elsewhere than not at all.
        if !spec.cwd.is_dir() {
            spec.cwd = PathBuf::from("/");
        }
        let fds = duplicate(&again.fds);
        self.service.respawns = self.service.respawns.saturating_add(1);
        let started = fds
            .map_err(|error| Failure::os("descriptor", &error))
            .and_then(|fds| self.start(spec, fds, None));
        if started.is_err() {
            self.plan_respawn(None, Duration::ZERO);
        }
    }
}
