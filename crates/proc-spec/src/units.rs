//! Durations and sizes as people write them: `500ms`, `1h30m`, `1.5s`, `64KiB`, `10MB`.

use std::time::Duration;

/// The longest duration that is kept: 100 years. Longer ones are cut to this, so that adding
/// one to a clock can never overflow.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

const NANOS: [(&str, u128); 13] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("hr", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("day", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

const BYTES: [(&str, u128); 17] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1_000),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
    ("p", 1 << 50),
    ("pb", 1_000_000_000_000_000),
    ("pib", 1 << 50),
];

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text has no number, a number without its unit, or something that is neither.
    #[error("`{text}` is not a {what}, expected {example}")]
    Malformed {
        /// The text as given.
        text: String,
        /// `duration` or `size`.
        what: &'static str,
        /// Texts that would have been right.
        example: &'static str,
    },
    /// The unit is none that is known.
    #[error("`{text}` has the unknown unit `{unit}`, expected {example}")]
    Unit {
        /// The text as given.
        text: String,
        /// The unit.
        unit: String,
        /// Texts that would have been right.
        example: &'static str,
    },
    /// A duration or a size is never negative.
    #[error("`{text}` is negative")]
    Negative {
        /// The text as given.
        text: String,
    },
    /// `none` was given where a limit is required.
    #[error("`{text}` is not allowed here, expected {example}")]
    Limitless {
        /// The text as given.
        text: String,
        /// Texts that would have been right.
        example: &'static str,
    },
    /// The size needs more than 64 bits.
    #[error("`{text}` is too large")]
    TooLarge {
        /// The text as given.
        text: String,
    },
}

const DURATION_EXAMPLE: &str = "`500ms`, `10s`, `1h30m` or a number of seconds";
const SIZE_EXAMPLE: &str = "`64KiB`, `10MB` or a number of bytes";

/// Parses a duration: components like `1h30m`, decimals (`1.5s`), a bare number of seconds, or
/// `none` (also `infinity`) for no limit, which is `None`.
///
/// A positive duration is never rounded to 0, and one above [`LONGEST`] is cut to it.
///
/// # Errors
/// [`UnitError`] when the text is empty, malformed, negative or not a number.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(proc_spec::parse_duration("1h30m"), Ok(Some(Duration::from_secs(5400))));
/// assert_eq!(proc_spec::parse_duration("0.25"), Ok(Some(Duration::from_millis(250))));
/// assert_eq!(proc_spec::parse_duration("none"), Ok(None));
/// assert!(proc_spec::parse_duration("-1s").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Option<Duration>, UnitError> {
    let trimmed = text.trim();
    if ["none", "inf", "infinity"].contains(&trimmed.to_ascii_lowercase().as_str()) {
        return Ok(None);
    }
    parse_span(text).map(Some)
}

/// Parses a duration like [`parse_duration`], but refuses `none`.
///
/// # Errors
/// [`UnitError`] when the text is empty, malformed, negative, not a number or `none`.
pub fn parse_span(text: &str) -> Result<Duration, UnitError> {
    let malformed = || UnitError::Malformed {
        text: text.to_owned(),
        what: "duration",
        example: DURATION_EXAMPLE,
    };
    let mut rest = text.trim();
    if ["none", "inf", "infinity"].contains(&rest.to_ascii_lowercase().as_str()) {
        return Err(UnitError::Limitless {
            text: text.to_owned(),
            example: DURATION_EXAMPLE,
        });
    }
    if let Some(positive) = rest.strip_prefix('-') {
        let number = positive.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        return Err(if number {
            UnitError::Negative {
                text: text.to_owned(),
            }
        } else {
            malformed()
        });
    }
    rest = rest.strip_prefix('+').unwrap_or(rest);
    if let Some(seconds) = bare_number(rest) {
        return Ok(from_seconds(seconds).unwrap_or(LONGEST));
    }
    if rest.is_empty() {
        return Err(malformed());
    }
    let mut total = 0_u128;
    let mut positive = false;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(malformed)?;
        let after = after.trim_start();
        let end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err(malformed());
        }
        let scale = lookup(&NANOS, unit).ok_or_else(|| UnitError::Unit {
            text: text.to_owned(),
            unit: unit.to_owned(),
            example: DURATION_EXAMPLE,
        })?;
        positive |= number.bytes().any(|b| (b'1'..=b'9').contains(&b));
        total = total.saturating_add(scaled(number, scale));
        rest = after.trim_start();
    }
    if total == 0 && positive {
        total = 1; // A tiny limit is not "no limit".
    }
    Ok(u64::try_from(total)
        .map_or(LONGEST, Duration::from_nanos)
        .min(LONGEST))
}

/// Makes a duration of a number of seconds.
///
/// # Errors
/// [`UnitError`] when the number is negative or not a number.
pub fn duration_from_seconds(seconds: f64) -> Result<Duration, UnitError> {
    if seconds.is_nan() {
        return Err(UnitError::Malformed {
            text: "nan".to_owned(),
            what: "duration",
            example: DURATION_EXAMPLE,
        });
    }
    if seconds < 0.0 {
        return Err(UnitError::Negative {
            text: seconds.to_string(),
        });
    }
    Ok(from_seconds(seconds).unwrap_or(LONGEST))
}

/// Parses a size in bytes: `64KiB` (1024), `10MB` (1000), `512M` (1024, as memory limits are
/// usually written), or a bare number of bytes. Case does not matter.
///
/// # Errors
/// [`UnitError`] when the text is empty, malformed, negative or beyond 64 bits.
///
/// ```
/// assert_eq!(proc_spec::parse_size("64KiB"), Ok(65_536));
/// assert_eq!(proc_spec::parse_size("10MB"), Ok(10_000_000));
/// assert_eq!(proc_spec::parse_size("1.5k"), Ok(1_536));
/// ```
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let malformed = || UnitError::Malformed {
        text: text.to_owned(),
        what: "size",
        example: SIZE_EXAMPLE,
    };
    let rest = text.trim();
    if rest
        .strip_prefix('-')
        .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Err(UnitError::Negative {
            text: text.to_owned(),
        });
    }
    let (number, unit) = split_number(rest).ok_or_else(malformed)?;
    let unit = unit.trim();
    if !unit.chars().all(char::is_alphabetic) {
        return Err(malformed());
    }
    let scale = lookup(&BYTES, unit).ok_or_else(|| UnitError::Unit {
        text: text.to_owned(),
        unit: unit.to_owned(),
        example: SIZE_EXAMPLE,
    })?;
    u64::try_from(scaled(number, scale)).map_err(|_| UnitError::TooLarge {
        text: text.to_owned(),
    })
}

/// Writes a duration so that [`parse_duration`] reads the same one: `1h30m`, `500ms`, `0s`.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(proc_spec::format_duration(Duration::from_millis(90_500)), "1m30s500ms");
/// ```
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let units: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for (unit, nanos) in units {
        let count = rest / nanos;
        rest %= nanos;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// Writes an optional limit: the duration, or `none`.
#[must_use]
pub fn format_limit(limit: Option<Duration>) -> String {
    limit.map_or_else(|| "none".to_owned(), format_duration)
}

/// Writes a size so that [`parse_size`] reads the same one, in the largest binary unit that
/// divides it: `64KiB`, `1500B`.
///
/// ```
/// assert_eq!(proc_spec::format_size(10 * 1024 * 1024), "10MiB");
/// assert_eq!(proc_spec::format_size(1500), "1500B");
/// ```
#[must_use]
pub fn format_size(bytes: u64) -> String {
    for (unit, scale) in [
        ("TiB", 1_u64 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1024),
    ] {
        if bytes > 0 && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    format!("{bytes}B")
}

fn lookup(table: &[(&str, u128)], unit: &str) -> Option<u128> {
    let unit = unit.to_lowercase();
    table
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
}

/// A whole text that is one number, an exponent included, as timeout(1) takes it.
fn bare_number(text: &str) -> Option<f64> {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    numeric.then(|| text.parse().ok()).flatten()
}

fn from_seconds(seconds: f64) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    let tiny = seconds > 0.0 && duration.is_zero();
    Some(if tiny {
        Duration::from_nanos(1)
    } else {
        duration.min(LONGEST)
    })
}

/// Splits off a leading decimal number; there is at least one digit.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let mut dots = 0;
    let end = text
        .find(|c: char| {
            dots += usize::from(c == '.');
            !(c.is_ascii_digit() || c == '.' && dots == 1)
        })
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    number
        .bytes()
        .any(|b| b.is_ascii_digit())
        .then_some((number, rest))
}

/// `number` (digits with at most one dot) times `scale`, exactly where 12 decimals suffice.
fn scaled(number: &str, scale: u128) -> u128 {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse().unwrap_or(u128::MAX)
    };
    let mut total = whole.saturating_mul(scale);
    let digits: String = fraction.chars().take(12).collect();
    if let Ok(value) = digits.parse::<u128>() {
        total = total.saturating_add(value * scale / 10_u128.pow(digits.len() as u32));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> Option<u128> {
        parse_duration(text).unwrap().map(|d| d.as_millis())
    }

    #[test]
    fn durations_that_are_right() {
        let table: &[(&str, Option<u128>)] = &[
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("2d", Some(172_800_000)),
            ("1w", Some(604_800_000)),
            ("10", Some(10_000)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("1e3", Some(1_000_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            (" 3s ", Some(3_000)),
            ("+3", Some(3_000)),
            ("none", None),
            ("None", None),
            ("infinity", None),
        ];
        for (text, expected) in table {
            assert_eq!(ms(text), *expected, "{text}");
        }
    }

    #[test]
    fn durations_that_are_wrong() {
        for text in [
            "", " ", "s", "ms", "10x", "10s5", "1.2.3s", "-1", "-1s", "-0.5", "nan", "NaN", "-inf",
            "--5", "- 5", "ten", "1h-30m", "5 5", "1e", "0x10", "1_000",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        assert_eq!(
            parse_duration("-5s"),
            Err(UnitError::Negative { text: "-5s".into() })
        );
        assert!(
            parse_duration("10x")
                .unwrap_err()
                .to_string()
                .contains("unknown unit `x`")
        );
    }

    #[test]
    fn huge_durations_are_cut_and_tiny_ones_are_not_zero() {
        assert_eq!(parse_duration("1e300"), Ok(Some(LONGEST)));
        assert_eq!(
            parse_duration("99999999999999999999999999999999999999999d"),
            Ok(Some(LONGEST))
        );
        assert_eq!(
            parse_duration("0.0000000000001"),
            Ok(Some(Duration::from_nanos(1)))
        );
        assert_eq!(parse_duration("0.1ns"), Ok(Some(Duration::from_nanos(1))));
    }

    #[test]
    fn none_is_refused_where_there_must_be_a_limit() {
        assert!(matches!(
            parse_span("none"),
            Err(UnitError::Limitless { .. })
        ));
        assert!(duration_from_seconds(f64::NAN).is_err());
        assert!(duration_from_seconds(-0.1).is_err());
    }

    #[test]
    fn sizes() {
        let table: &[(&str, u64)] = &[
            ("64KiB", 65_536),
            ("10MB", 10_000_000),
            ("10mb", 10_000_000),
            ("512MiB", 536_870_912),
            ("1k", 1_024),
            ("1.5 GiB", 1_610_612_736),
            ("0", 0),
            ("4096", 4_096),
            ("7b", 7),
        ];
        for (text, expected) in table {
            assert_eq!(parse_size(text), Ok(*expected), "{text}");
        }
        for text in [
            "", "KiB", "-1", "-1MB", "10 10", "10xb", "nan", "20000PiB", "1e3",
        ] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back(nanos in 0_u64..3_153_600_000_000_000_000) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(Some(duration)));
        }

        #[test]
        fn a_written_size_reads_back(bytes in any::<u64>()) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
