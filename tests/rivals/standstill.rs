//! Whether the whole machine stood still for a while, as virtual ones do.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Less than what turns a quick exit into a run for supervisord, with room for its own second.
pub(crate) const TOLERABLE: Duration = Duration::from_millis(300);

const STEP: Duration = Duration::from_millis(20);

/// A thread that wants to run every 20 ms, and notes by how much it was too late.
pub(crate) struct StandstillWatch {
    over: Sender<()>,
    thread: JoinHandle<Duration>,
}

impl StandstillWatch {
    pub(crate) fn begin() -> Self {
        let (over, told) = channel();
        let thread = std::thread::spawn(move || watch(&told));
        Self { over, thread }
    }

    /// Ends the watch and returns the longest time for which it did not run.
    pub(crate) fn longest(self) -> Duration {
        drop(self.over);
        self.thread.join().expect("it does not panic")
    }
}

fn watch(over: &Receiver<()>) -> Duration {
    let mut longest = Duration::ZERO;
    loop {
        let before = Instant::now();
        let told = over.recv_timeout(STEP);
        longest = longest.max(before.elapsed().saturating_sub(STEP));
        if told != Err(RecvTimeoutError::Timeout) {
            return longest;
        }
    }
}
