//! The queue of `init`'s signals: blocked, and noted by a kqueue, because there is no sigtimedwait(2).

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::kqueue::EventFlags;
use rustix::process::Signal;

use super::signals::{last_signal, note, signal_queue, take};

/// The signals that were sent to this process and are not taken yet, each once.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Begins to queue them; all are blocked already.
    pub(crate) fn new() -> io::Result<Self> {
        let queue = signal_queue()?;
        let caught = |signal: &i32| *signal != libc::SIGKILL && *signal != libc::SIGSTOP;
        for signal in (1..=last_signal()).filter(caught) {
            if let Some(signal) = Signal::from_named_raw(signal) {
                note(&queue, signal, EventFlags::ADD | EventFlags::CLEAR)?;
            }
        }
        Ok(Self(queue))
    }

    /// Takes the next signal from the queue; `None` when the time is up first. `None` as limit waits for ever.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Option<i32> {
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match take(&self.0, left) {
                // Stopped and continued.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                taken => return taken.ok().flatten(),
            }
        }
    }

    /// Throws away what the release of the terminal has sent.
    pub(crate) fn forget_release(&self) {
        for signal in [Signal::HUP, Signal::CONT] {
            // Neither fails for a signal that exists; if one did, `init` would forward what it was sent.
            let _forgotten = note(&self.0, signal, EventFlags::DELETE);
            let _again = note(&self.0, signal, EventFlags::ADD | EventFlags::CLEAR);
        }
    }
}

/// The kernel tells nobody of the death of its parent by a signal.
pub(crate) fn set_parent_death_signal(_signal: i32) -> io::Result<()> {
    Err(super::not_supported())
}
