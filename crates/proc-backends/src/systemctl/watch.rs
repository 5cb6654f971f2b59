//! Waits until a unit may have changed.

use std::time::Duration;

use proc_core::ProcessHandle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::bus::{Bus, Poke};
use super::name;

/// How often it is asked while the manager cannot be heard.
const DEAF: Duration = Duration::from_secs(1);
/// How soon it is asked again after the main process ended, should systemd not say so.
const ENDED: Duration = Duration::from_millis(250);

/// One listener to one unit.
#[derive(Debug)]
pub(crate) struct Watch {
    pokes: broadcast::Receiver<Poke>,
    connected: watch::Receiver<bool>,
    path: String,
    /// The main process, where it is one of this machine.
    handle: Option<ProcessHandle>,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(bus: &Bus, unit: &str, handle: Option<ProcessHandle>) -> Self {
        Self {
            pokes: bus.subscribe(),
            connected: bus.connected(),
            path: name::object_path(unit),
            handle,
            ended: false,
        }
    }

    /// Exchanges the main process.
    pub(crate) fn process(&mut self, handle: Option<ProcessHandle>) {
        self.handle = handle;
        self.ended = false;
    }

    /// Waits for a reason to ask again. Normally systemd says so; the end of the main process is
    /// seen in any case. Only while systemd cannot be heard is it asked at intervals.
    pub(crate) async fn changed(&mut self) {
        let deaf = !*self.connected.borrow_and_update();
        let pause = match (self.ended, deaf) {
            (true, _) => Some(ENDED),
            (false, true) => Some(DEAF),
            (false, false) => None,
        };
        let handle = self.handle.as_ref().filter(|_| !self.ended);
        tokio::select! {
            () = poked(&mut self.pokes, &self.path) => {}
            () = ended(handle) => self.ended = true,
            () = later(pause) => {}
            _ = self.connected.changed() => {}
        }
        // One question answers for all that is waiting.
        while let Ok(_) | Err(broadcast::error::TryRecvError::Lagged(_)) = self.pokes.try_recv() {}
    }
}

async fn poked(pokes: &mut broadcast::Receiver<Poke>, path: &str) {
    loop {
        match pokes.recv().await {
            Ok(Some(object)) if *object != *path => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn ended(handle: Option<&ProcessHandle>) {
    match handle {
        Some(handle) if handle.exited().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

async fn later(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
