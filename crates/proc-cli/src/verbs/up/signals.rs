//! Ctrl-C, a closed terminal, TERM: once graceful, twice faster, thrice KILL.

use std::io;

use proc_core::{Disposition, Signal, disposition};
use proc_supervisor::StopOptions;
use tokio::signal::unix::{self, SignalKind};

use crate::verbs::escalation::escalation;

/// The signals that ask for the end.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    /// `None` where it is ignored: nohup(1) asked for that.
    hangup: Option<unix::Signal>,
    count: u32,
}

impl Signals {
    /// Catches them from now on; must be called within the runtime.
    pub(crate) fn catch() -> io::Result<Signals> {
        let ours = std::process::id();
        let ignored = disposition(ours, Signal::HUP).is_ok_and(|now| now == Disposition::Ignored);
        let hangup = || unix::signal(SignalKind::hangup());
        Ok(Signals {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: (!ignored).then(hangup).transpose()?,
            count: 0,
        })
    }

    /// Waits for the next one and returns how to stop because of it.
    pub(crate) async fn next(&mut self) -> (&'static str, StopOptions) {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = hung_up(&mut self.hangup) => "SIGHUP",
        };
        self.count += 1;
        (name, escalation(self.count, None))
    }
}

async fn hung_up(hangup: &mut Option<unix::Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}
