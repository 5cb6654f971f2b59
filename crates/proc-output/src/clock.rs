//! The wall clock in the unit that sidecars use.

use std::time::SystemTime;

/// Returns the milliseconds since 1970, negative before it.
pub(crate) fn now_ms() -> i64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}
