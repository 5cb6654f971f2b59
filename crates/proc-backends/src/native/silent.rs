//! A shim that was stopped (SIGSTOP) keeps its connection and answers nobody: the next request to it notices.

use std::time::Duration;

use proc_core::Signal;
use proc_core::list::{self, State};
use tokio::time::Instant;

use super::actor::Actor;
use crate::event::BackendEventKind;

/// How long a shim may say nothing while somebody waits for it, before it is looked at.
const SILENCE: Duration = Duration::from_secs(2);

/// Waits until a request has gone unanswered for a while, for ever where none is under way.
pub(super) async fn silent(waiting: Option<Instant>) {
    match waiting {
        Some(since) => tokio::time::sleep_until(since + SILENCE).await,
        None => std::future::pending().await,
    }
}

impl Actor {
    /// Continues a shim that was stopped. Any other that is silent may wait for a disk, and is left to it.
    pub(super) async fn look_at_shim(&mut self) {
        let Some(link) = &mut self.link else { return };
        link.wait_anew();
        let Some(shim) = &link.shim else { return };
        let pid = shim.pid();
        let stopped = list::get(pid).is_ok_and(|shim| shim.state == State::Stopped);
        if !stopped || shim.signal(Signal::CONT).is_err() || self.running.is_none() {
            return;
        }
        self.continued = true;
        let cause = format!("the shim (pid {pid}) was stopped, and was continued");
        self.tell(self.last_run, BackendEventKind::Lost { cause })
            .await;
    }

    /// A shim that was continued has answered.
    pub(super) async fn heard(&mut self) {
        if std::mem::take(&mut self.continued)
            && let Some(started) = self.running.clone()
        {
            self.tell(started.run, BackendEventKind::Recovered { started })
                .await;
        }
    }
}
