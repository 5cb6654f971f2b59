//! The clock that start times are counted by.

use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

use super::stat::read_once;

/// Returns the time since boot in clock ticks, as [`crate::stat::Stat`] counts start times.
pub(crate) fn ticks_since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let hz = rustix::param::clock_ticks_per_second();
    let ticks = now.tv_sec.cast_unsigned() * hz + now.tv_nsec.cast_unsigned() * hz / 1_000_000_000;
    outside(ticks)
}

/// Counts ticks as the initial time namespace does: the same process has the same start time for everybody, however
/// far a namespace of the reader's has moved its clock.
pub(crate) fn outside(ticks: u64) -> u64 {
    static MOVED: OnceLock<i64> = OnceLock::new();
    let moved = *MOVED.get_or_init(|| {
        let mut bytes = [0; 256];
        let read = read_once("/proc/self/timens_offsets", &mut bytes).unwrap_or(0);
        let text = std::str::from_utf8(&bytes[..read]).unwrap_or_default();
        moved_by(text, rustix::param::clock_ticks_per_second())
    });
    ticks.saturating_add_signed(-moved)
}

/// Reads the ticks from `boottime SECONDS NANOSECONDS`; 0 where there are no time namespaces.
fn moved_by(text: &str, hz: u64) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"));
    let mut numbers = line
        .unwrap_or_default()
        .split_whitespace()
        .map(str::parse::<i64>);
    let (Some(Ok(seconds)), Some(Ok(nanoseconds))) = (numbers.next(), numbers.next()) else {
        return 0;
    };
    let hz = hz.cast_signed();
    seconds
        .saturating_mul(hz)
        .saturating_add(nanoseconds * hz / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::moved_by;

    #[test]
    fn offsets_are_read_in_ticks() {
        let text = "monotonic           7         0\nboottime         3600 500000000\n";
        assert_eq!(moved_by(text, 100), 360_050);
        assert_eq!(moved_by("monotonic 0 0\nboottime -60 0\n", 100), -6000);
        assert_eq!(moved_by("", 100), 0);
    }
}
