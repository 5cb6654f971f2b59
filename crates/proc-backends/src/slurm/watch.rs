//! Follows all jobs by one question at a time.
//!
//! Slurm pushes nothing to a client, so it has to be asked. squeue(1) warns against loops because
//! every call costs the controller a lock: so one call asks about all jobs, however many; once a second only for
//! half a minute after an order or a change, and otherwise every five seconds, which is what an exit is told late
//! by at most. Without jobs nobody asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::facts::SlurmFacts;
use super::options::SlurmOptions;
use super::tool::{Jobs, Tool};
use crate::manager::ManagerError;

/// Questions are at least this far apart, whoever is in a hurry.
const APART: Duration = Duration::from_millis(200);

/// Asks for everybody.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) tool: Tool,
    watched: Mutex<BTreeMap<u32, Watched>>,
    wake: Arc<Notify>,
    rounds: watch::Sender<Round>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct Watched {
    holders: usize,
    busy_until: Instant,
}

/// The answers of one question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    jobs: Arc<Jobs>,
    error: Option<String>,
}

/// What a round says of one job.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    /// It was not asked about.
    NotAsked,
    /// Slurm did not answer.
    Silence(String),
    /// Slurm does not know it.
    Nothing,
    /// It stands like this.
    Job(SlurmFacts),
}

impl Round {
    pub(crate) fn of(&self, id: u32) -> Seen {
        if let Some(error) = &self.error {
            return Seen::Silence(error.clone());
        }
        match self.jobs.get(&id) {
            None => Seen::NotAsked,
            Some(Err(error)) => Seen::Silence(error.clone()),
            Some(Ok(None)) => Seen::Nothing,
            Some(Ok(Some(facts))) => Seen::Job(facts.clone()),
        }
    }
}

/// A job that is asked about for as long as this is held.
#[derive(Debug)]
pub(crate) struct Watching {
    watcher: Arc<Watcher>,
    id: u32,
    rounds: watch::Receiver<Round>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = self.watcher.lock();
        if let Some(entry) = watched.get_mut(&self.id) {
            entry.holders -= 1;
            if entry.holders == 0 {
                watched.remove(&self.id);
            }
        }
    }
}

impl Watching {
    /// Waits for the next answer about the job.
    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            if self.rounds.changed().await.is_err() {
                // Its sender is in the watcher, which is held here.
                return Seen::Silence("nobody asks any more".to_owned());
            }
            let seen = self.rounds.borrow_and_update().of(self.id);
            if !matches!(seen, Seen::NotAsked) {
                return seen;
            }
        }
    }

    /// Has Slurm asked soon, and at short intervals for a while.
    pub(crate) fn hurry(&self) {
        if let Some(entry) = self.watcher.lock().get_mut(&self.id) {
            entry.busy_until = Instant::now() + SlurmOptions::BUSY_FOR;
        }
        self.watcher.wake.notify_one();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.iter().for_each(AbortHandle::abort);
    }
}

impl Watcher {
    pub(crate) fn new(tool: Tool) -> Arc<Self> {
        Arc::new(Self {
            tool,
            watched: Mutex::default(),
            wake: Arc::default(),
            rounds: watch::Sender::default(),
            task: Mutex::default(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the answers as they come, of all jobs that are watched.
    pub(crate) fn rounds(&self) -> watch::Receiver<Round> {
        self.rounds.subscribe()
    }

    /// Begins to ask about a job, soon.
    pub(crate) fn watch(self: &Arc<Self>, id: u32) -> Watching {
        let rounds = self.rounds.subscribe();
        self.lock()
            .entry(id)
            .or_insert_with(|| Watched {
                holders: 0,
                busy_until: Instant::now() + SlurmOptions::BUSY_FOR,
            })
            .holders += 1;
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.get_or_insert_with(|| tokio::spawn(ask(Arc::downgrade(self))).abort_handle());
        drop(task);
        self.wake.notify_one();
        Watching {
            watcher: Arc::clone(self),
            id,
            rounds,
        }
    }

    /// Returns how a job stands now; `None` is a job that Slurm does not know.
    ///
    /// # Errors
    /// When Slurm does not answer.
    pub(crate) async fn look(
        self: &Arc<Self>,
        id: u32,
    ) -> Result<Option<SlurmFacts>, ManagerError> {
        match self.watch(id).next().await {
            Seen::Job(facts) => Ok(Some(facts)),
            Seen::Nothing | Seen::NotAsked => Ok(None),
            Seen::Silence(message) => Err(ManagerError::Silent { message }),
        }
    }

    fn pause(&self) -> Duration {
        let now = Instant::now();
        let busy = self.lock().values().any(|entry| entry.busy_until > now);
        let options = self.tool.options();
        if busy { options.busy } else { options.settled }
    }
}

async fn ask(watcher: Weak<Watcher>) {
    loop {
        let Some(here) = watcher.upgrade() else {
            return;
        };
        let ids: Vec<u32> = here.lock().keys().copied().collect();
        let wake = Arc::clone(&here.wake);
        if ids.is_empty() {
            drop(here);
            wake.notified().await;
            continue;
        }
        let round = match here.tool.look(&ids).await {
            Ok(jobs) => Round {
                jobs: Arc::new(jobs),
                error: None,
            },
            Err(error) => Round {
                jobs: Arc::default(),
                error: Some(error.to_string()),
            },
        };
        here.rounds.send_replace(round);
        let pause = here.pause();
        drop(here);
        tokio::time::sleep(APART).await;
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(pause.saturating_sub(APART)) => {}
        }
    }
}
