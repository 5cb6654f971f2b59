//! Ctrl-C, a closed terminal, TERM: once graceful, twice faster, thrice KILL.

use std::io;
use std::time::Duration;

use proc_core::Signal;
use proc_supervisor::{Grace, StopOptions};
use tokio::signal::unix::{self, SignalKind};

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
        (name, escalation(self.count))
    }
}

/// The grace after the second signal.
const FASTER: Duration = Duration::from_secs(1);

fn escalation(count: u32) -> StopOptions {
    let grace = |time: Duration| Some(Grace::from(Some(time)));
    match count {
        0 | 1 => StopOptions::default(),
        2 => StopOptions {
            grace: grace(FASTER),
            ..StopOptions::default()
        },
        _ => StopOptions {
            grace: grace(Duration::ZERO),
            signal: Some(Signal::KILL),
            ..StopOptions::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_harder_than_the_last() {
        assert_eq!(escalation(1), StopOptions::default());
        assert_eq!(escalation(2).grace, Some(Grace::Ms(1000)));
        assert_eq!(escalation(3).signal, Some(Signal::KILL));
        assert_eq!(escalation(4), escalation(3));
    }
}
