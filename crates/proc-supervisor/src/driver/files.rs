//! `watch`: a service is restarted when its files change.
//!
//! A task per service waits for the kernel's word, gathers what comes within the debounce time,
//! and tells the loop once. The supervisor's own directories never count, so that a service does
//! not restart itself by what it logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proc_spec::{ServiceSpec, WatchedFiles};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Driver, Msg};
use crate::changes::{Change, Changes};
use crate::machine::{Event, Phase};
use crate::state::Desired;

/// The most directories that are watched for one service.
const MOST: usize = 10_000;

/// A burst of changes is told after this time at the latest.
const LATEST: Duration = Duration::from_secs(10);

/// The task of one service.
#[derive(Debug)]
pub(crate) struct Watcher {
    spec: Arc<ServiceSpec>,
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Driver {
    /// Watches the files of every service that is wanted up, and of no other.
    pub(super) fn tend_watchers(&mut self) {
        let wanted: BTreeMap<&String, &Arc<ServiceSpec>> = self
            .services
            .iter()
            .filter(|(_, service)| service.spec.watch.is_some())
            .filter(|(_, service)| service.wanted == Desired::Up && !service.removed && !self.hold)
            .map(|(name, service)| (name, &service.spec))
            .collect();
        if wanted.is_empty() && self.watchers.is_empty() {
            return;
        }
        let keeps = |name: &String, watcher: &mut Watcher| {
            wanted
                .get(name)
                .is_some_and(|spec| Arc::ptr_eq(spec, &watcher.spec))
        };
        self.watchers.retain(keeps);
        for (name, spec) in wanted {
            if !self.watchers.contains_key(name) {
                let spec = Arc::clone(spec);
                let task = tokio::spawn(self.watcher(name, &spec));
                self.watchers.insert(name.clone(), Watcher { spec, task });
            }
        }
    }

    fn watcher(&self, name: &str, spec: &ServiceSpec) -> impl Future<Output = ()> + use<> {
        let (inbox, service) = (self.inbox.clone(), name.to_owned());
        let watch = spec.watch.clone();
        let own = [
            &self.fixed.state_dir,
            &self.fixed.runtime_dir,
            &self.fixed.log_dir,
        ];
        let mut own: Vec<PathBuf> = own.into_iter().cloned().collect();
        own.extend(spec.log.dir.clone());
        let cwd = spec.cwd.clone();
        async move {
            let Some(watch) = watch else { return };
            let files = watch.files(&cwd);
            let mut trees = match Trees::new(files, own) {
                Ok(trees) => trees,
                Err(error) => {
                    let why = format!("watch: {error}");
                    let _gone = inbox
                        .send(Msg::Watched {
                            service,
                            seen: Err(why),
                        })
                        .await;
                    return;
                }
            };
            loop {
                let seen = trees.next(watch.debounce).await;
                let seen = seen.map_err(|error| format!("watch: {error}"));
                let (message, over) = (
                    Msg::Watched {
                        service: service.clone(),
                        seen: seen.clone(),
                    },
                    seen.is_err(),
                );
                if inbox.send(message).await.is_err() || over {
                    return;
                }
            }
        }
    }

    /// Files of a service have changed, or cannot be watched.
    pub(super) fn watched(&mut self, service: &str, seen: Result<PathBuf, String>) {
        let path = match seen {
            Ok(path) => path,
            Err(why) => {
                self.trouble
                    .insert(format!("watch {service}"), format!("{service}: {why}"));
                return;
            }
        };
        let known = self.services.get(service);
        if self.hold || known.is_none_or(|known| known.wanted != Desired::Up) {
            return;
        }
        for key in self.keys_of(service) {
            self.changed(&key, &path);
        }
    }

    fn changed(&mut self, key: &str, path: &Path) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        if instance.order.is_some() || instance.machine.desired() != Desired::Up {
            return;
        }
        let evidence = format!("`{}` changed", path.display());
        match instance.machine.phase() {
            Phase::Warming | Phase::Up | Phase::Unattended => {
                self.drive(
                    key,
                    Event::Recycle {
                        kind: "watch",
                        evidence,
                    },
                );
            }
            // What is being started may have read the file already.
            Phase::PreStart | Phase::Spawning => instance.stale = Some(path.to_owned()),
            // The change may be what it takes.
            Phase::Backoff | Phase::Failed | Phase::Exited => {
                let note = instance.machine.note("watch", None, evidence);
                self.perform(key, vec![note]);
                self.drive(
                    key,
                    Event::Restart {
                        kind: "watch",
                        by: None,
                    },
                );
            }
            Phase::Pending
            | Phase::PreStop
            | Phase::Ending
            | Phase::Rest
            | Phase::PostStop
            | Phase::Stopped
            | Phase::Scheduled => {}
        }
    }

    /// Restarts what was started while its files changed.
    pub(super) fn catch_up_with_files(&mut self, key: &str) {
        let stale = self.instances.get_mut(key).and_then(|i| i.stale.take());
        if let Some(path) = stale {
            self.changed(key, &path);
        }
    }
}

/// The directories of a service's files.
struct Trees {
    files: WatchedFiles,
    own: Vec<PathBuf>,
    changes: Changes,
}

impl Trees {
    fn new(files: WatchedFiles, own: Vec<PathBuf>) -> std::io::Result<Self> {
        let changes = Changes::new()?;
        let mut trees = Self {
            files,
            own,
            changes,
        };
        trees.begin()?;
        Ok(trees)
    }

    /// Watches everything that is there now.
    fn begin(&mut self) -> std::io::Result<()> {
        for root in self.files.roots().to_vec() {
            // A file is seen from its directory, which also tells when it is replaced.
            if let Some(parent) = root.path.parent() {
                self.changes.add_nearest(parent)?;
            }
            self.descend(&root.path, root.depth)?;
        }
        Ok(())
    }

    fn descend(&mut self, top: &Path, depth: Option<usize>) -> std::io::Result<()> {
        let mut open = vec![(top.to_owned(), depth)];
        while let Some((directory, depth)) = open.pop() {
            if self.is_left_out(&directory) {
                continue;
            }
            match self.changes.add(&directory) {
                Ok(()) => {}
                // Not a directory, not there, or gone again.
                Err(error) if is_nothing(&error) => continue,
                Err(error) => return Err(error),
            }
            if self.changes.len() > MOST {
                let many = format!("more than {MOST} directories; leave some out with `ignore`");
                return Err(std::io::Error::other(many));
            }
            let below = match depth {
                Some(0) => continue,
                Some(depth) => Some(depth - 1),
                None => None,
            };
            for entry in std::fs::read_dir(&directory)
                .into_iter()
                .flatten()
                .flatten()
            {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push((entry.path(), below));
                }
            }
        }
        Ok(())
    }

    fn is_left_out(&self, path: &Path) -> bool {
        self.own.iter().any(|own| path.starts_with(own)) || self.files.ignores(path)
    }

    /// Waits for a change that counts, and until no further one follows.
    async fn next(&mut self, debounce: Duration) -> std::io::Result<PathBuf> {
        let first = loop {
            let changes = self.changes.next().await?;
            if let Some(path) = self.take(changes)? {
                break path;
            }
        };
        let latest = Instant::now() + LATEST.max(debounce);
        let mut quiet = Instant::now() + debounce;
        while let Ok(changes) =
            tokio::time::timeout_at(quiet.min(latest), self.changes.next()).await
        {
            if self.take(changes?)?.is_some() {
                quiet = Instant::now() + debounce;
            }
        }
        Ok(first)
    }

    /// Returns the first change that counts, and watches directories that are new.
    fn take(&mut self, changes: Vec<Change>) -> std::io::Result<Option<PathBuf>> {
        let mut counts = None;
        for change in changes {
            match change {
                Change::Everything => {
                    self.begin()?;
                    counts = counts.or(Some(PathBuf::from("something")));
                }
                Change::Entry {
                    path,
                    new_directory,
                } if !self.is_left_out(&path) => {
                    if new_directory {
                        // What was put into it before it was watched is a change too.
                        self.begin()?;
                        counts = counts.or_else(|| self.first_in(&path));
                    }
                    if self.files.matches(&path) {
                        counts = counts.or(Some(path));
                    }
                }
                Change::Entry { .. } => {}
            }
        }
        Ok(counts)
    }

    /// Returns a file that counts within a directory.
    fn first_in(&self, directory: &Path) -> Option<PathBuf> {
        let mut open = vec![directory.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if self.is_left_out(&path) {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                } else if self.files.matches(&path) {
                    return Some(path);
                }
            }
        }
        None
    }
}

fn is_nothing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}
