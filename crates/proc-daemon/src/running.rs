//! A daemon that has started, and its end.

use std::future::Future;
use std::time::Duration;

use proc_probe::Health;
use proc_store::{PidFile, Registration};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::entry::Entry;
use crate::stopped::Stopped;

/// A daemon that has started. Dropping it gives everything back at once, in the same order as
/// [`Running::stop`], without a drain.
#[derive(Debug)]
#[must_use = "dropping it ends the daemon"]
pub struct Running {
    // Dropped in this order.
    pub(crate) entry: Option<Entry>,
    pub(crate) health: Option<Health>,
    pub(crate) pid_file: Option<PidFile>,
    pub(crate) stop_timeout: Duration,
}

impl Running {
    /// Says what `/ready` answers: no, until it is told.
    pub fn set_ready(&self, ready: bool) {
        if let Some(health) = &self.health {
            health.set_ready(ready);
        }
    }

    /// Tells what `/ready` answers; no without a health server.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.health.as_ref().is_some_and(Health::is_ready)
    }

    /// Returns the address of the health server, with the port the system chose.
    #[must_use]
    pub fn health_address(&self) -> Option<&str> {
        self.health.as_ref().map(Health::address)
    }

    /// Returns what the registry says about this daemon.
    #[must_use]
    pub fn registration(&self) -> Option<&Registration> {
        self.entry.as_ref().map(Entry::registration)
    }

    /// Returns the PID file.
    #[must_use]
    pub fn pid_file(&self) -> Option<&PidFile> {
        self.pid_file.as_ref()
    }

    /// Waits for `told_to_end`, such as [`crate::terminated`], and then stops.
    pub async fn run<T>(
        self,
        told_to_end: impl Future<Output = T>,
        drain: impl Future<Output = ()>,
    ) -> Stopped {
        told_to_end.await;
        self.stop(drain).await
    }

    /// Stops in order: not ready, unregistered, drained, health off, and last the lock is released.
    ///
    /// It takes no longer than the timeout of the daemon: a `drain` that is not done by then is
    /// dropped. Everything is given back in any case.
    pub async fn stop(mut self, drain: impl Future<Output = ()>) -> Stopped {
        let begin = Instant::now();
        let until = begin + self.stop_timeout;
        let mut problems = Vec::new();
        self.set_ready(false);
        if let Some(entry) = self.entry.take()
            && let Err(problem) = unregister(entry, until).await
        {
            problems.push(problem);
        }
        let drained = timeout_at(until, drain).await.is_ok();
        if let Some(health) = self.health.take() {
            health
                .stop(until.saturating_duration_since(Instant::now()))
                .await;
        }
        drop(self.pid_file.take());
        Stopped {
            drained,
            problems,
            took: begin.elapsed(),
        }
    }
}

/// Takes the entry out beside the runtime: it waits for the disk, and for others that write.
async fn unregister(entry: Entry, until: Instant) -> Result<(), String> {
    let removed = timeout_at(until, spawn_blocking(move || entry.remove())).await;
    match removed {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(format!("the registry entry stays: {error}")),
        Ok(Err(panic)) => Err(format!("the registry entry stays: {panic}")),
        Err(_elapsed) => Err("the registry did not answer in time".to_owned()),
    }
}
