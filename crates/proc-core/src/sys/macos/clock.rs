//! The clock that start times are counted by.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns now as [`super::stat::Stat`] counts start times: microseconds of the wall clock, which is what the kernel notes
/// at a fork. A step of that clock does not change what was noted, only how it compares with now.
pub(crate) fn ticks_since_boot() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}
