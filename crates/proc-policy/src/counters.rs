//! What one service has used up of its budgets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::REMEMBERED;

/// The history that a decision needs. Plain data: store it, and a new supervisor counts on.
///
/// Times are [`Duration`]s since an epoch of the caller's choice, the same for every call. A time
/// that lies in the future (the epoch moved: another boot, a clock step) is taken as the present.
/// At most as many times are kept as the budgets count, and never more than 10,000.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Restarts in a row: the *k* of the last restart, 0 before the first.
    pub attempt: u32,
    /// Startup failures in a row.
    pub startup_failures: u32,
    /// Restarts that count against `max` since the last reset, where no window is set.
    pub counted: u32,
    /// When those were, where a window is set; oldest first.
    pub restarts: Vec<Duration>,
    /// When the latest crashes were; oldest first.
    pub crashes: Vec<Duration>,
}

impl Counters {
    /// Forgets everything: a start by hand clears every limit.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes times that lie in the future as `now`.
    pub(crate) fn clamp(&mut self, now: Duration) {
        for at in self.restarts.iter_mut().chain(&mut self.crashes) {
            *at = (*at).min(now);
        }
    }

    /// Notes a crash at `now` and returns how many of the last `keep` lie within `within`.
    pub(crate) fn crash(&mut self, now: Duration, within: Duration, keep: u32) -> u32 {
        push_bounded(&mut self.crashes, now, keep);
        self.crashes.retain(|at| now.saturating_sub(*at) <= within);
        u32::try_from(self.crashes.len()).unwrap_or(u32::MAX)
    }

    /// Returns how many counted restarts lie within `window` before `at`; forgets older ones.
    pub(crate) fn restarts_within(&mut self, at: Duration, window: Duration) -> u32 {
        self.restarts
            .retain(|earlier| at.saturating_sub(*earlier) <= window);
        u32::try_from(self.restarts.len()).unwrap_or(u32::MAX)
    }

    /// Notes a counted restart at `at`, keeping the latest `keep` times.
    pub(crate) fn restarted(&mut self, at: Duration, keep: u32) {
        push_bounded(&mut self.restarts, at, keep);
    }
}

/// Appends `at` and drops the oldest beyond `keep` (at least one).
fn push_bounded(times: &mut Vec<Duration>, at: Duration, keep: u32) {
    times.push(at);
    let keep = usize::try_from(keep.clamp(1, REMEMBERED)).unwrap_or(usize::MAX);
    if times.len() > keep {
        times.drain(..times.len() - keep);
    }
}
