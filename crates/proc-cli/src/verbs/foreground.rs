//! What `script` and `pipeline` share: signals that end them, and the orphans of what they ran.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use proc_core::{Signal, StopDriver, StopSequence, StopTarget, Survivor, run_stop};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal that asks this program to end, and remembers which one it was.
pub(crate) struct Interrupt {
    got: AtomicI32,
    patient: bool,
    signals: tokio::sync::Mutex<[tokio::signal::unix::Signal; 4]>,
}

const ASKING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

impl Interrupt {
    /// Catches them from now on; must be called within the runtime. A patient one lets the first
    /// `INT` pass: the terminal has sent it to the command too, which may have something to tidy.
    pub(crate) fn new(patient: bool) -> io::Result<Self> {
        let catch = |which: Signal| signal(SignalKind::from_raw(which.raw()));
        let [int, term, hup, quit] = ASKING;
        let signals = [catch(int)?, catch(term)?, catch(hup)?, catch(quit)?];
        Ok(Interrupt {
            got: AtomicI32::new(0),
            patient,
            signals: signals.into(),
        })
    }

    /// Is done when one has come.
    pub(crate) async fn came(&self) {
        let mut signals = self.signals.lock().await;
        let [int, term, hup, quit] = &mut *signals;
        let mut patient = self.patient;
        let which = loop {
            tokio::select! {
                _ = int.recv() => if !std::mem::take(&mut patient) { break Signal::INT },
                _ = term.recv() => break Signal::TERM,
                _ = hup.recv() => break Signal::HUP,
                _ = quit.recv() => break Signal::QUIT,
            }
        };
        self.got.store(which.raw(), Ordering::Relaxed);
    }

    /// Returns the one that came.
    pub(crate) fn signal(&self) -> Option<Signal> {
        Signal::from_raw(self.got.load(Ordering::Relaxed)).filter(|signal| signal.raw() != 0)
    }
}

pub(crate) use crate::sys::adopt_orphans;

/// Ends every process that is left below this one, and returns who survived. To be called when
/// nothing else waits for a child any more.
pub(crate) fn end_orphans(sequence: &StopSequence) -> Vec<Survivor> {
    let target = StopTarget::leaderless().subreaper();
    let driver = StopDriver::new(sequence.clone(), target, Instant::now());
    run_stop(driver, &mut |_, _| {}).survivors
}
