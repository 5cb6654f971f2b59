//! What a service has said so far, and when its watchdog expires; knows no clock.

use std::time::{Duration, Instant};

use crate::notify::message::{Message, WatchdogPing};

/// What a message changed, in the order it is to be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyChange {
    /// The service is ready, for the first time or again after a reload.
    Ready,
    /// The service reloads: not ready until it says so again.
    Reloading,
    /// The service stops by its own decision.
    Stopping,
    /// The text of its status is new.
    Status(String),
    /// The service has met this error, by its number in errno(3).
    Errno(i32),
    /// Another process is the main one from here on.
    MainPid(u32),
    /// The current timeout, of a start, reload or stop, is at least this long from now.
    ExtendTimeout(Duration),
    /// The service asks to be treated as if its watchdog had expired.
    WatchdogTrigger,
}

/// What a service has said so far.
#[derive(Debug, Clone, Default)]
pub struct NotifyState {
    ready: bool,
    reloading: bool,
    stopping: bool,
    started: bool,
    status: Option<String>,
    errno: Option<i32>,
    main_pid: Option<u32>,
    watchdog: Option<Duration>,
    last_ping: Option<Instant>,
}

impl NotifyState {
    /// Returns the state of a service that has said nothing; `watchdog` is the interval it was
    /// given as `WATCHDOG_USEC`.
    #[must_use]
    pub fn new(watchdog: Option<Duration>) -> Self {
        NotifyState {
            watchdog: watchdog.filter(|interval| !interval.is_zero()),
            ..Self::default()
        }
    }

    /// Takes a message that arrived at `now` from a process of the tree; `in_tree` says whether a
    /// pid named by `MAINPID=` is one too.
    pub fn apply(
        &mut self,
        message: &Message,
        now: Instant,
        in_tree: impl FnOnce(u32) -> bool,
    ) -> Vec<NotifyChange> {
        let mut changes = Vec::new();
        if let Some(pid) = message.main_pid
            && self.main_pid != Some(pid)
            && in_tree(pid)
        {
            self.main_pid = Some(pid);
            changes.push(NotifyChange::MainPid(pid));
        }
        if let Some(status) = &message.status
            && self.status.as_ref() != Some(status)
        {
            self.status = Some(status.clone());
            changes.push(NotifyChange::Status(status.clone()));
        }
        if let Some(errno) = message.errno
            && self.errno != Some(errno)
        {
            self.errno = Some(errno);
            changes.push(NotifyChange::Errno(errno));
        }
        if let Some(longer) = message.extend_timeout {
            changes.push(NotifyChange::ExtendTimeout(longer));
        }
        self.apply_watchdog(message, now, &mut changes);
        self.apply_phase(message, now, &mut changes);
        changes
    }

    fn apply_watchdog(&mut self, message: &Message, now: Instant, changes: &mut Vec<NotifyChange>) {
        if let Some(interval) = message.watchdog_interval {
            self.watchdog = Some(interval).filter(|interval| !interval.is_zero());
            self.last_ping = Some(now);
        }
        match message.watchdog {
            Some(WatchdogPing::Alive) => self.last_ping = Some(now),
            Some(WatchdogPing::Trigger) => changes.push(NotifyChange::WatchdogTrigger),
            None => {}
        }
    }

    fn apply_phase(&mut self, message: &Message, now: Instant, changes: &mut Vec<NotifyChange>) {
        if message.stopping && !self.stopping {
            self.stopping = true;
            self.ready = false;
            changes.push(NotifyChange::Stopping);
        }
        // A service that says both in one message has reloaded already.
        if message.reloading && !self.stopping {
            self.reloading = true;
            self.ready = false;
            changes.push(NotifyChange::Reloading);
        }
        if message.ready && !self.ready && !self.stopping {
            self.ready = true;
            self.reloading = false;
            if !self.started {
                self.started = true;
                self.last_ping = Some(now);
            }
            changes.push(NotifyChange::Ready);
        }
    }

    /// Returns when the watchdog expires if nothing is heard until then; it runs from the first
    /// readiness to the stop.
    #[must_use]
    pub fn watchdog_deadline(&self) -> Option<Instant> {
        if !self.started || self.stopping {
            return None;
        }
        self.last_ping?.checked_add(self.watchdog?)
    }

    /// Tells whether the service is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Tells whether the service is in the middle of a reload.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.reloading
    }

    /// Tells whether the service said that it stops.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Returns the last status text.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.status.as_deref()
    }

    /// Returns the last error number.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// Returns the pid the service named as its main one.
    #[must_use]
    pub fn main_pid(&self) -> Option<u32> {
        self.main_pid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(state: &mut NotifyState, now: Instant, text: &str) -> Vec<NotifyChange> {
        state.apply(&Message::parse(text.as_bytes()), now, |pid| pid == 7)
    }

    #[test]
    fn a_reload_clears_ready_until_it_is_said_again() {
        let (mut state, now) = (NotifyState::new(None), Instant::now());
        assert_eq!(say(&mut state, now, "READY=1"), [NotifyChange::Ready]);
        assert_eq!(say(&mut state, now, "READY=1"), []);
        assert_eq!(
            say(&mut state, now, "RELOADING=1"),
            [NotifyChange::Reloading]
        );
        assert!(!state.is_ready() && state.is_reloading());
        assert_eq!(say(&mut state, now, "READY=1"), [NotifyChange::Ready]);
        assert_eq!(say(&mut state, now, "STOPPING=1"), [NotifyChange::Stopping]);
        assert_eq!(say(&mut state, now, "READY=1"), []);
    }

    #[test]
    fn only_a_process_of_the_tree_becomes_the_main_one() {
        let (mut state, now) = (NotifyState::new(None), Instant::now());
        assert_eq!(say(&mut state, now, "MAINPID=8"), []);
        assert_eq!(
            say(&mut state, now, "MAINPID=7"),
            [NotifyChange::MainPid(7)]
        );
        assert_eq!(state.main_pid(), Some(7));
    }

    #[test]
    fn the_watchdog_runs_from_ready_to_stopping() {
        let second = Duration::from_secs(1);
        let (mut state, start) = (NotifyState::new(Some(10 * second)), Instant::now());
        say(&mut state, start, "WATCHDOG=1");
        assert_eq!(state.watchdog_deadline(), None, "not before it is ready");
        say(&mut state, start + second, "READY=1");
        assert_eq!(state.watchdog_deadline(), Some(start + 11 * second));
        say(&mut state, start + 5 * second, "WATCHDOG=1");
        assert_eq!(state.watchdog_deadline(), Some(start + 15 * second));
        say(&mut state, start + 6 * second, "WATCHDOG_USEC=2000000");
        assert_eq!(state.watchdog_deadline(), Some(start + 8 * second));
        assert_eq!(
            say(&mut state, start, "WATCHDOG=trigger"),
            [NotifyChange::WatchdogTrigger]
        );
        say(&mut state, start + 7 * second, "WATCHDOG_USEC=0");
        assert_eq!(state.watchdog_deadline(), None, "zero turns it off");
        say(&mut state, start + 7 * second, "WATCHDOG_USEC=1000000");
        say(&mut state, start + 7 * second, "STOPPING=1");
        assert_eq!(state.watchdog_deadline(), None, "not while it stops");
    }
}
