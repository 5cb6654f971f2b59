//! What backends tell without being asked.

use std::time::Duration;

use proc_core::Signal;
use tokio::sync::mpsc;

use crate::status::{Exit, Started};

/// How many events wait for a slow reader before the instances' tasks wait too.
const QUEUE: usize = 1024;

/// One thing that happened to one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendEvent {
    /// The instance's name.
    pub instance: String,
    /// The run it happened to.
    pub run: u64,
    /// What happened.
    pub kind: BackendEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendEventKind {
    /// The leader was reaped. Told once per run and connection; count by (instance, run).
    Exited(Exit),
    /// No process of the tree is left. Comes after `Exited`.
    TreeEmpty,
    /// A stop went one step on.
    StopProgress {
        /// The signal that was sent now.
        signal: Signal,
        /// How long until the next step; `None` = for ever.
        wait: Option<Duration>,
    },
    /// The keeper is gone while the service lives on: `unattended`. `Recovered`, `Exited` or a
    /// stop ends that.
    Lost {
        /// Why, as far as it can be told: `the shim (pid 123) was killed by signal 9`.
        cause: String,
    },
    /// A replacement keeper took over service, pipes and log.
    Recovered {
        /// The run it holds; the pid is the same as before.
        started: Started,
    },
    /// Something that belongs into the instance's history and changes nothing: which job it is, and where.
    Note {
        /// In words: `job 12 runs on n1`.
        text: String,
    },
    /// Something does not work; the service itself is untouched. Retried until `Healed`.
    Trouble {
        /// What: `log`, `state`.
        what: String,
        /// Why: `ENOSPC (No space left on device)`.
        error: String,
    },
    /// What did not work works again.
    Healed {
        /// What: `log`, `state`.
        what: String,
    },
}

/// The stream of a backend's events.
#[derive(Debug)]
pub struct BackendEvents(mpsc::Receiver<BackendEvent>);

impl BackendEvents {
    /// Returns the next event, or `None` after the backend was dropped.
    pub async fn next(&mut self) -> Option<BackendEvent> {
        self.0.recv().await
    }

    /// Returns an event if one waits.
    pub fn try_next(&mut self) -> Option<BackendEvent> {
        self.0.try_recv().ok()
    }
}

/// The backend's end of [`BackendEvents`]; public for backends outside this crate and for fakes.
#[derive(Debug, Clone)]
pub struct EventSender(mpsc::Sender<BackendEvent>);

impl EventSender {
    /// Sends one event, waiting while the queue is full; nothing happens when nobody listens.
    pub async fn send(&self, event: BackendEvent) {
        let _nobody_listens = self.0.send(event).await;
    }
}

/// Returns a connected pair of bounded capacity.
#[must_use]
pub fn event_channel() -> (EventSender, BackendEvents) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (EventSender(sender), BackendEvents(receiver))
}
