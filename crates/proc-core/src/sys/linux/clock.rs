//! The clock that start times are counted by.

use rustix::time::{ClockId, clock_gettime};

/// Returns the time since boot in clock ticks, as `/proc/PID/stat` counts start times.
pub(crate) fn ticks_since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let hz = rustix::param::clock_ticks_per_second();
    now.tv_sec.cast_unsigned() * hz + now.tv_nsec.cast_unsigned() * hz / 1_000_000_000
}
