//! Times, durations and sizes as people read them.

use jiff::Timestamp;

/// Returns a length of time in at most two units: `41ms`, `5.1s`, `3m 2s`, `2h 5m`, `4d 1h`.
pub(crate) fn duration_ms(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms}ms"),
        1..=9 => format!("{}.{}s", seconds, ms % 1000 / 100),
        10..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Returns a number of bytes with a binary unit: `512B`, `1.5KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Returns an RFC 3339 time in UTC with milliseconds, from milliseconds since 1970.
pub(crate) fn timestamp(unix_ms: i64) -> String {
    // Beyond year 9999 the clock is broken; the number is the best that can be said.
    let time = Timestamp::from_millisecond(unix_ms);
    time.map_or_else(|_| unix_ms.to_string(), |time| format!("{time:.3}"))
}

/// Returns how long ago an RFC 3339 time was.
pub(crate) fn age(rfc3339: &str) -> Option<String> {
    let then: Timestamp = rfc3339.parse().ok()?;
    let ms = Timestamp::now()
        .as_millisecond()
        .saturating_sub(then.as_millisecond());
    Some(duration_ms(u64::try_from(ms).unwrap_or(0)))
}

/// Returns how long it is until an RFC 3339 time; a past one is `0ms`.
pub(crate) fn until(rfc3339: &str) -> String {
    let then = rfc3339.parse().unwrap_or_else(|_| Timestamp::now());
    let ms = then
        .as_millisecond()
        .saturating_sub(Timestamp::now().as_millisecond());
    duration_ms(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_use_two_units_at_most() {
        let cases = [
            (41, "41ms"),
            (5120, "5.1s"),
            (59_999, "59s"),
            (182_000, "3m 2s"),
            (7_500_000, "2h 5m"),
            (349_200_000, "4d 1h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(duration_ms(ms), expected);
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        for (bytes, expected) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5KiB"),
            (10 << 20, "10.0MiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
    }
}
