//! Ctrl-C, a closed terminal, TERM: once graceful, twice faster, thrice KILL.

use std::io;

use proc_supervisor::StopOptions;
use tokio::signal::unix::{self, SignalKind};

use crate::verbs::escalation::escalation;

/// The signals that ask for the end.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
    count: u32,
}

impl Signals {
    /// Catches them from now on; must be called within the runtime.
    pub(crate) fn catch() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
            count: 0,
        })
    }

    /// Waits for the next one and returns how to stop because of it.
    pub(crate) async fn next(&mut self) -> (&'static str, StopOptions) {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        };
        self.count += 1;
        (name, escalation(self.count, None))
    }
}
