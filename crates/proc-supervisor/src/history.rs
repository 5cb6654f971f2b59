//! The last transitions, in memory, numbered, and told to whoever follows them.

use std::collections::VecDeque;

use tokio::sync::broadcast;

use crate::offline::is_of;
use crate::view::Event;

/// How many transitions are kept in memory; older ones are in the journal.
const KEPT: usize = 4096;
/// How far a follower may fall behind before it has to look things up.
const LIVE: usize = 1024;

#[derive(Debug)]
pub(crate) struct History {
    next: u64,
    /// The last number that followers may see.
    written: u64,
    kept: VecDeque<Event>,
    live: broadcast::Sender<Event>,
}

impl History {
    /// Starts after the journal's last number, with its last events.
    pub(crate) fn new(next: u64, events: impl IntoIterator<Item = Event>) -> Self {
        let mut kept: VecDeque<Event> = events.into_iter().collect();
        kept.drain(..kept.len().saturating_sub(KEPT));
        Self {
            next,
            written: next.saturating_sub(1),
            kept,
            live: broadcast::Sender::new(LIVE),
        }
    }

    /// Numbers an event. Followers hear of it when it is written.
    pub(crate) fn push(&mut self, mut event: Event) -> Event {
        event.seq = self.next;
        self.next += 1;
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(event.clone());
        event
    }

    /// Tells the event that is in the journal now: a number that anybody has seen is never given
    /// to another event, not even after a crash.
    pub(crate) fn written(&mut self, seq: u64) {
        self.written = seq;
        let at = self.kept.binary_search_by_key(&seq, |event| event.seq);
        if let Some(event) = at.ok().and_then(|at| self.kept.get(at)) {
            // Nobody may be following.
            let _nobody = self.live.send(event.clone());
        }
    }

    /// Returns the number of the last event; 0 is none.
    pub(crate) const fn last(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.live.subscribe()
    }

    /// Returns what came after number `since`, or `None` when that is not all in memory.
    pub(crate) fn since(&self, since: u64) -> Option<Vec<Event>> {
        let first = self.kept.front().map_or(self.next, |event| event.seq);
        (since + 1 >= first).then(|| {
            self.visible()
                .filter(|event| event.seq > since)
                .cloned()
                .collect()
        })
    }

    fn visible(&self) -> impl Iterator<Item = &Event> {
        self.kept.iter().filter(|event| event.seq <= self.written)
    }

    /// Returns what is in memory and in the journal.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.visible().cloned().collect()
    }

    /// Returns the last events of a service, oldest first.
    pub(crate) fn of_service(
        &self,
        service: &str,
        instance: Option<&str>,
        last: usize,
    ) -> Vec<Event> {
        let mut events: Vec<Event> = self
            .kept
            .iter()
            .rev()
            .filter(|event| event.service.as_deref() == Some(service))
            .filter(|event| instance.is_none_or(|name| is_of(event, name)))
            .take(last)
            .cloned()
            .collect();
        events.reverse();
        events
    }
}
