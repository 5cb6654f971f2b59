//! What the signals that reach `proc run` ask for.

use std::io;

use proc_core::Signal;
use proc_supervisor::StopOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::verbs::escalation::escalation;

/// Those that ask for the end; each further one asks harder.
const ENDS: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// Those that are the command's own business.
const FORWARDED: [Signal; 4] = [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::ALRM];

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// End the command.
    Stop(StopOptions),
    /// Tell the command.
    Forward(Signal),
    /// Stop for a while (Ctrl-Z).
    Suspend,
}

/// The signals, in the order they came.
pub(super) struct Signals {
    arrived: mpsc::Receiver<Signal>,
    ends: u32,
}

impl Signals {
    /// Catches them from now on; must be called within the runtime.
    pub(super) fn catch() -> io::Result<Signals> {
        let (tell, arrived) = mpsc::channel(64);
        for caught in ENDS.into_iter().chain(FORWARDED).chain([Signal::TSTP]) {
            let mut stream = signal(SignalKind::from_raw(caught.raw()))?;
            let tell = tell.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() && tell.send(caught).await.is_ok() {}
            });
        }
        Ok(Signals { arrived, ends: 0 })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Asked {
        match self.arrived.recv().await {
            Some(signal) => self.meaning(signal),
            None => std::future::pending().await,
        }
    }

    fn meaning(&mut self, signal: Signal) -> Asked {
        if signal == Signal::TSTP {
            return Asked::Suspend;
        }
        if FORWARDED.contains(&signal) {
            return Asked::Forward(signal);
        }
        self.ends += 1;
        Asked::Stop(escalation(self.ends, Some(signal)))
    }
}
