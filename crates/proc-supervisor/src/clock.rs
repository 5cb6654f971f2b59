//! The one clock of a supervisor.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::stamp::Stamp;

/// Time since the Unix epoch as it was when the supervisor started, advanced by a monotonic clock:
/// deadlines do not move when somebody sets the wall clock, and counters that are kept on disk
/// still mean something to the next supervisor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: Duration,
    begin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            epoch,
            begin: Instant::now(),
        }
    }

    /// Returns the time since the epoch.
    pub(crate) fn now(&self) -> Duration {
        self.epoch + self.begin.elapsed()
    }

    /// Returns the moment at which [`now`](Self::now) will be `due`.
    pub(crate) fn instant(&self, due: Duration) -> Instant {
        self.begin + due.saturating_sub(self.epoch)
    }

    /// Returns the wall-clock time of `due`.
    pub(crate) fn stamp(due: Duration) -> Stamp {
        Stamp::from_unix_ms(i64::try_from(due.as_millis()).unwrap_or(i64::MAX))
    }
}
