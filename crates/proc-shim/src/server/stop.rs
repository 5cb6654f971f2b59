//! One stop under way: how it begins, the driver, and who waits for its report.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use proc_core::{Next, ProcessEnd, Signal, StopDriver, StopReport, StopSequence, StopTarget};

use super::Shim;
use super::service::Phase;
use crate::message::{Notice, Reply};

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

impl Shim {
    /// Begins a stop, or hurries the one under way.
    pub(super) fn begin_stop(
        &mut self,
        sequence: StopSequence,
        target: StopTarget,
        asker: Option<Asker>,
    ) {
        let now = Instant::now();
        self.service.stop_requested();
        let stopping = match self.stopping.take() {
            Some(mut stopping) => {
                stopping.hurry(sequence, target, now);
                stopping
            }
            None => Box::new(Stopping::new(sequence, target, now)),
        };
        self.stopping.insert(stopping).askers.extend(asker);
    }

    /// Drives a stop on.
    pub(super) fn advance_stop(&mut self, now: Instant) {
        let Some(mut stopping) = self.stopping.take() else {
            return;
        };
        let Progress {
            signal,
            reaped,
            report,
        } = stopping.advance(now);
        if let Some(signal) = signal {
            let wait = stopping.wait_of(signal);
            self.peers.notify(&Notice::StopProgress { signal, wait });
        }
        if !reaped.is_empty() {
            self.take_note(&reaped, false);
        }
        let Some(report) = report else {
            self.stopping = Some(stopping);
            return;
        };
        // The exit is told before the report, and the emptiness too.
        self.reap();
        if self.service.phase == Phase::Running && self.service.replacement {
            self.leader_is_gone_if_so();
        }
        for asker in stopping.askers {
            self.peers
                .reply(asker, &Reply::Stopped(report.clone()), Vec::new());
        }
    }
}
