//! Stops that meet: the second one hastens the first, and both get the one report.

use std::sync::{Mutex, PoisonError};

use proc_core::{StopReport, StopSequence};
use tokio::sync::watch;

/// A stop that is under way.
#[derive(Debug)]
struct Stopping {
    replace: watch::Sender<Option<StopSequence>>,
    report: watch::Receiver<Option<StopReport>>,
}

/// Where the stops of one instance meet.
#[derive(Debug, Default)]
pub(crate) struct Stops(Mutex<Option<Stopping>>);

/// What became of a stop's turn.
pub(crate) enum Turn<'a> {
    /// Another one did it, hastened by this one.
    Joined(StopReport),
    /// This one does it.
    First(First<'a>),
}

/// The right to stop; dropped, the next one has it.
pub(crate) struct First<'a> {
    stops: &'a Stops,
    told: watch::Sender<Option<StopReport>>,
    /// Says when a later stop wants to go on faster, and by which steps.
    pub(crate) replaced: watch::Receiver<Option<StopSequence>>,
}

impl First<'_> {
    /// Tells the report to those who joined.
    pub(crate) fn done(&self, report: &StopReport) {
        self.told.send_replace(Some(report.clone()));
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        *self.stops.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Stops {
    /// Waits for this stop's turn, or joins the one that is under way.
    pub(crate) async fn turn(&self, sequence: &StopSequence) -> Turn<'_> {
        loop {
            let joined = {
                let mut stopping = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(first) = &*stopping else {
                    let (told, report) = watch::channel(None);
                    let (replace, replaced) = watch::channel(None);
                    *stopping = Some(Stopping { replace, report });
                    return Turn::First(First {
                        stops: self,
                        told,
                        replaced,
                    });
                };
                first.replace.send_replace(Some(sequence.clone()));
                first.report.clone()
            };
            let mut joined = joined;
            let told = joined.wait_for(Option::is_some).await.map(|r| r.clone());
            // Otherwise the first one failed or was dropped: this one may be the first now.
            if let Ok(Some(report)) = told {
                return Turn::Joined(report);
            }
        }
    }
}
