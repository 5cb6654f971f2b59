//! The main process of a run, where it is not the one that was started: a daemon that forks itself
//! away and names the rest in its `pid_file`, or a wrapper that says `MAINPID=`.
//!
//! The exit of a leader that may have left its work to another process is held back until that was
//! looked for; the machine never hears of it if one is found. Whoever is followed is a process of
//! the instance's own tree: its keeper checks that, and learns its exit code like the leader's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proc_backends::{Backend, Exit, Started};
use proc_core::ProcessEnd;
use proc_probe::{Detector, ProbeContext};
use proc_spec::{BackendName, ServiceSpec};
use tokio::task::JoinHandle;

use super::notify::Drain;
use super::{Driver, Msg};
use crate::changes::Changes;

/// How long a daemon may take to write its PID file where its start may take for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one detector may take.
const LOOK: Duration = Duration::from_secs(10);

/// An exit that is not told yet.
pub(crate) struct Held {
    run: u64,
    exit: Exit,
    search: Option<JoinHandle<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(search) = &self.search {
            search.abort();
        }
    }
}

/// A process that goes on for another one.
#[derive(Debug)]
pub(crate) struct Found {
    started: Started,
    /// How it became known, in words.
    how: String,
}

impl Driver {
    /// Holds an exit back if the run may go on in another process; says whether it does.
    pub(super) fn hold_exit(&mut self, key: &str, run: u64, exit: &Exit) -> bool {
        let Some(spec) = self.spec_of(key) else {
            return false;
        };
        let Some(instance) = self.instances.get_mut(key) else {
            return false;
        };
        // The second exit of a run is that of the process that was followed meanwhile.
        if instance.held.take().is_some() || !may_go_on(&spec) || instance.is_ending() {
            return false;
        }
        instance.held = Some(Held {
            run,
            exit: exit.clone(),
            search: None,
        });
        // One that has overtaken the answer to its start waits for that.
        if instance.machine.is_live() {
            self.search(key);
        }
        true
    }

    /// Looks for whoever goes on, if an exit is held back.
    pub(super) fn search(&mut self, key: &str) {
        let (Some(spec), Some(context)) = (self.spec_of(key), self.hook_context(key)) else {
            return;
        };
        let Some(backend) = self.backend_of(&spec.name) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        let drain = instance.notify.drain();
        let first = instance.main.is_none();
        let (inbox, epoch) = (self.inbox.clone(), instance.epoch);
        let Some(held) = instance.held.as_mut().filter(|held| held.search.is_none()) else {
            return;
        };
        let well = held.exit.end == Some(ProcessEnd::Exited(0));
        let search = Search {
            backend,
            key: key.to_owned(),
            run: held.run,
            drain,
            patience: (first && well).then(|| spec.start_timeout.unwrap_or(PATIENCE)),
            context: ProbeContext {
                cwd: context.cwd,
                env: context.env,
            },
            spec,
        };
        let (key, run) = (search.key.clone(), search.run);
        held.search = Some(tokio::spawn(async move {
            let found = search.find().await;
            let message = Msg::Followed {
                key,
                epoch,
                run,
                found,
            };
            // The loop may have ended.
            let _gone = inbox.send(message).await;
        }));
    }

    /// Returns what has to be looked at before an instance is started. While another instance of
    /// the service is there the detectors would see that one.
    pub(super) fn guard(&self, key: &str) -> Guard {
        let mut guard = Guard {
            detectors: Vec::new(),
            context: ProbeContext::default(),
        };
        let (Some(spec), Some(context)) = (self.spec_of(key), self.hook_context(key)) else {
            return guard;
        };
        let alone = self
            .instances
            .iter()
            .all(|(other, i)| other == key || i.service != spec.name || !i.is_up());
        if alone && spec.backend == BackendName::Native {
            guard.detectors = spec.detectors;
            guard.context = ProbeContext {
                cwd: context.cwd,
                env: context.env,
            };
        }
        guard
    }

    /// A process of the tree has been named as the main one while the leader lives.
    pub(super) fn main_named(&mut self, key: &str, pid: u32) {
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        let Some(started) = instance.started.as_ref().filter(|s| s.pid != pid) else {
            return;
        };
        let (run, epoch) = (started.run, instance.epoch);
        let Some(backend) = self.backend_of(&instance.service) else {
            return;
        };
        let key = key.to_owned();
        self.beside(async move {
            let followed = backend.follow(&key, run, Some(pid)).await;
            let found = followed.map(|started| Found {
                started,
                how: "MAINPID=".to_owned(),
            });
            Some(Msg::Followed {
                key,
                epoch,
                run,
                found: found.map_err(|error| format!("MAINPID={pid}: {error}")),
            })
        });
    }

    /// It is known who goes on, or that nobody does.
    pub(super) fn followed(
        &mut self,
        key: &str,
        epoch: u64,
        run: u64,
        found: Result<Found, String>,
    ) {
        let Some(instance) = self.instances.get_mut(key).filter(|i| i.epoch == epoch) else {
            return;
        };
        match found {
            Ok(found) => {
                let held = instance.held.take_if(|held| held.run == run);
                let before = instance.started.replace(found.started.clone());
                instance.main = Some(found.started.clone());
                if before.is_some_and(|before| before.pid == found.started.pid) {
                    return;
                }
                let end = held.as_ref().map_or_else(String::new, |held| {
                    let end = held
                        .exit
                        .end
                        .map_or("unknown".to_owned(), |e| e.to_string());
                    format!(", the one that was started has ended ({end})")
                });
                let pid = found.started.pid;
                let detail = format!("{}: its main process is pid {pid}{end}", found.how);
                let note = instance.machine.note("main", None, detail);
                self.perform(key, vec![note]);
                self.meter(key);
            }
            Err(why) => {
                if instance.held.as_ref().is_some_and(|held| held.run == run) {
                    self.release_exit(key);
                } else {
                    let note = instance.machine.note("main", None, why);
                    self.perform(key, vec![note]);
                }
            }
        }
    }

    /// Tells an exit that was held back: nobody goes on, or nobody needs to know any more.
    pub(super) fn release_exit(&mut self, key: &str) {
        let held = self.instances.get_mut(key).and_then(|i| i.held.take());
        if let Some(held) = held {
            let (run, exit) = (held.run, held.exit.clone());
            drop(held);
            self.exit_counts(key, run, &exit);
        }
    }
}

/// What is looked at before a start, so that nothing runs twice.
pub(super) struct Guard {
    detectors: Vec<Detector>,
    context: ProbeContext,
}

impl Guard {
    /// Returns the word of the detector that sees the service run.
    pub(super) async fn runs_already(&self) -> Option<String> {
        for detector in &self.detectors {
            let seen = detector.detect(&self.context, LOOK).await;
            if seen.alive {
                return Some(format!("{}: {}", seen.detector, seen.reason));
            }
        }
        None
    }
}

/// Returns whether a run can go on in another process than its leader.
pub(super) fn may_go_on(spec: &ServiceSpec) -> bool {
    let named = spec.pid_file.is_some() || !spec.detectors.is_empty();
    spec.backend == BackendName::Native && (named || super::notify::wants_socket(spec))
}

/// The search for whoever goes on.
struct Search {
    backend: Arc<dyn Backend>,
    key: String,
    run: u64,
    drain: Option<Drain>,
    /// How long a PID file may still be written.
    patience: Option<Duration>,
    context: ProbeContext,
    spec: ServiceSpec,
}

impl Search {
    async fn find(mut self) -> Result<Found, String> {
        if let Some(drain) = self.drain.take()
            && let Some(pid) = drain.main_pid().await
            && let Some(found) = self.follow(Some(pid), "MAINPID=").await
        {
            return Ok(found);
        }
        for detector in self.spec.detectors.clone() {
            let seen = detector.detect(&self.context, LOOK).await;
            let which = match (seen.alive, &detector) {
                // It says that the service runs, but not as what: the one process that is left.
                (true, Detector::Command { .. }) => None,
                (true, _) => seen.pid,
                (false, _) => continue,
            };
            if let Some(found) = self.follow(which, &seen.detector).await {
                return Ok(found);
            }
        }
        self.by_pid_file().await
    }

    async fn by_pid_file(&self) -> Result<Found, String> {
        let Some(path) = self.spec.pid_file.clone() else {
            return Err(String::new());
        };
        let mut changes = self.patience.and_then(|_| Changes::new().ok());
        let look = async {
            loop {
                // Watched before it is read: what is written in between is seen.
                let directory = path.parent().unwrap_or(&path);
                let watched = changes
                    .as_mut()
                    .is_some_and(|changes| changes.add_nearest(directory).is_ok());
                if let Some(found) = self.in_pid_file(&path).await {
                    return Some(found);
                }
                let changes = changes.as_mut().filter(|_| watched)?;
                changes.next().await.ok()?;
            }
        };
        let found = tokio::time::timeout(self.patience.unwrap_or(LOOK), look).await;
        found.ok().flatten().ok_or_else(String::new)
    }

    async fn in_pid_file(&self, path: &std::path::Path) -> Option<Found> {
        let detector = Detector::PidFile {
            path: PathBuf::from(path),
        };
        let seen = detector.detect(&self.context, LOOK).await;
        self.follow(Some(seen.pid?), &format!("pid_file `{}`", path.display()))
            .await
    }

    async fn follow(&self, pid: Option<u32>, how: &str) -> Option<Found> {
        let followed = self.backend.follow(&self.key, self.run, pid).await;
        let how = how.to_owned();
        followed.ok().map(|started| Found { started, how })
    }
}
