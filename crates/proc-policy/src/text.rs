//! Durations and numbers as people read them.

use std::time::Duration;

/// Returns `duration` in short form: `0s`, `250us`, `655ms`, `1.5s`, `1m30s`, `2h`, `1d4h`.
///
/// Rounded to the microsecond below 1 ms, else to the millisecond. [`Duration::MAX`] is `none`.
pub fn format_duration(duration: Duration) -> String {
    if duration == Duration::MAX {
        return "none".to_owned();
    }
    if duration.is_zero() {
        return "0s".to_owned();
    }
    if duration < Duration::from_millis(1) {
        return format!("{}us", duration.as_micros());
    }
    let millis = (duration.as_nanos() + 500_000) / 1_000_000;
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    format_millis(millis)
}

/// Writes whole and fractional seconds below days, hours and minutes.
fn format_millis(millis: u128) -> String {
    let mut text = String::new();
    let mut rest = millis;
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)] {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if rest > 0 {
        let decimals = format!("{}.{:03}", rest / 1_000, rest % 1_000);
        text.push_str(decimals.trim_end_matches('0').trim_end_matches('.'));
        text.push('s');
    }
    text
}

/// Returns a number with at most three decimals and none that are zero.
pub(crate) fn format_number(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Multiplies without ever panicking: NaN and negative factors give 0, overflow [`Duration::MAX`].
pub(crate) fn scale(duration: Duration, factor: f64) -> Duration {
    if duration.is_zero() || factor.is_nan() || factor <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (micros, text) in [
            (0, "0s"),
            (250, "250us"),
            (655_000, "655ms"),
            (1_000_000, "1s"),
            (1_500_000, "1.5s"),
            (90_000_000, "1m30s"),
            (7_200_000_000, "2h"),
            (100_800_000_000, "1d4h"),
            (999_999, "1s"),
        ] {
            assert_eq!(format_duration(Duration::from_micros(micros)), text);
        }
        assert_eq!(format_duration(Duration::MAX), "none");
    }

    #[test]
    fn scaling_never_panics() {
        assert_eq!(scale(Duration::MAX, 2.0), Duration::MAX);
        assert_eq!(scale(Duration::from_secs(1), f64::INFINITY), Duration::MAX);
        assert_eq!(scale(Duration::ZERO, f64::INFINITY), Duration::ZERO);
        assert_eq!(scale(Duration::from_secs(1), f64::NAN), Duration::ZERO);
        assert_eq!(scale(Duration::from_secs(1), -1.0), Duration::ZERO);
    }
}
