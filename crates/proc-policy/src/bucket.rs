//! Token buckets against restart storms: 200 services on one dead port come back in a queue.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::scale;

/// How fast a bucket refills and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketRate {
    /// Restarts that may happen at once, at least 1.
    pub burst: u32,
    /// The time in which one more is allowed; zero is no limit.
    pub every: Duration,
}

/// A token bucket. One per service, per group and per project, as wished.
///
/// Tokens may be reserved ahead: each caller is given the moment of its own token, so that waiters
/// queue up in order instead of racing. Plain data, to be stored with the rest.
///
/// ```
/// use proc_policy::{Bucket, BucketRate};
/// use std::time::Duration;
///
/// let rate = BucketRate { burst: 2, every: Duration::from_secs(1) };
/// let mut bucket = Bucket::default();
/// let waits: Vec<u64> =
///     (0..4).map(|_| bucket.reserve(&rate, Duration::ZERO).as_secs()).collect();
/// assert_eq!(waits, [0, 0, 1, 2]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bucket {
    /// When the bucket is full again: each token taken moves it `every` further.
    pub full_at: Duration,
}

impl Bucket {
    /// Returns how long from `now` the next token is away, without taking it.
    pub fn wait(&self, rate: &BucketRate, now: Duration) -> Duration {
        let spare = scale(rate.every, f64::from(rate.burst.max(1) - 1));
        self.owed(now).saturating_sub(now.saturating_add(spare))
    }

    /// Takes the next token and returns how long from `now` to wait for it.
    pub fn reserve(&mut self, rate: &BucketRate, now: Duration) -> Duration {
        let wait = self.wait(rate, now);
        self.full_at = self.owed(now).saturating_add(rate.every);
        wait
    }

    /// Takes a token if there is one now; else takes nothing and returns how long to wait.
    ///
    /// # Errors
    /// The time until the next token.
    pub fn try_take(&mut self, rate: &BucketRate, now: Duration) -> Result<(), Duration> {
        match self.wait(rate, now) {
            Duration::ZERO => {
                self.reserve(rate, now);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Fills the bucket.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns when the bucket is full, no earlier than now.
    fn owed(&self, now: Duration) -> Duration {
        self.full_at.max(now)
    }
}

/// Takes one token from each bucket (service, group, project) and returns how long from `now` to
/// wait until all of them allow it: the longest of the waits, `want` (the policy's own delay) at
/// least.
pub fn reserve_all(
    buckets: &mut [(&mut Bucket, BucketRate)],
    now: Duration,
    want: Duration,
) -> Duration {
    let at = buckets
        .iter()
        .fold(now.saturating_add(want), |at, (bucket, rate)| {
            at.max(now.saturating_add(bucket.wait(rate, now)))
        });
    for (bucket, rate) in buckets {
        bucket.reserve(rate, now);
    }
    at.saturating_sub(now)
}
