//! One stop under way: the driver, and who waits for its report.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use proc_core::{Next, ProcessEnd, Signal, StopDriver, StopReport, StopSequence, StopTarget};

/// Who waits for an answer: peer and request.
pub(crate) type Asker = (u64, u32);

/// A stop under way.
#[derive(Debug)]
pub(crate) struct Stopping {
    driver: StopDriver,
    sequence: StopSequence,
    began: Instant,
    due: Option<Instant>,
    told: Option<Signal>,
    pub(crate) askers: Vec<Asker>,
}

/// What came of driving a stop on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// A signal that was sent now.
    pub(crate) signal: Option<Signal>,
    /// Children that the driver reaped.
    pub(crate) reaped: Vec<(u32, ProcessEnd)>,
    /// The report, once it is over.
    pub(crate) report: Option<StopReport>,
}

impl Stopping {
    pub(crate) fn new(sequence: StopSequence, target: StopTarget, now: Instant) -> Self {
        let driver = StopDriver::new(sequence.clone(), target, now);
        Self {
            driver,
            sequence,
            began: now,
            due: Some(now),
            told: None,
            askers: Vec::new(),
        }
    }

    /// Follows another sequence from its first step on, if that ends sooner than what is left of
    /// this one: a second stop may be faster, never slower.
    pub(crate) fn hurry(&mut self, sequence: StopSequence, target: StopTarget, now: Instant) {
        let passed = now.saturating_duration_since(self.began);
        let left = self
            .sequence
            .longest()
            .map(|longest| longest.saturating_sub(passed));
        let sooner = match (sequence.longest(), left) {
            (Some(new), Some(left)) => new < left,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner && self.driver.current_signal() != Some(Signal::KILL) {
            self.driver = StopDriver::new(sequence.clone(), target, now);
            self.sequence = sequence;
            self.due = Some(now);
        }
    }

    /// Returns when [`advance`](Self::advance) has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns descriptors whose readiness is a reason to [`advance`](Self::advance).
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.driver.fds()
    }

    /// Does what is due.
    pub(crate) fn advance(&mut self, now: Instant) -> Progress {
        let mut progress = Progress::default();
        let next = self
            .driver
            .poll(now, &mut |pid, end| progress.reaped.push((pid, end)));
        match next {
            Next::Wait { deadline } => self.due = deadline,
            Next::Done(report) => progress.report = Some(report),
        }
        let signal = self.driver.current_signal();
        if signal != self.told {
            self.told = signal;
            progress.signal = signal;
        }
        progress
    }

    /// Returns how long the step that was just begun waits; `None` = for ever.
    pub(crate) fn wait_of(&self, signal: Signal) -> Option<std::time::Duration> {
        self.sequence
            .steps
            .iter()
            .find(|step| step.signal == signal)
            .and_then(|step| step.wait)
    }
}
