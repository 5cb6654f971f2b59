//! `--since` and `--until`: a time, or how long ago.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Reads `10m` (ago), `2026-11-21T10:00:00Z`, the same without a zone (here) or without a time
/// (midnight), or `@1795255200`; returns milliseconds since 1970.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    relative_to(text, Timestamp::now().as_millisecond(), TimeZone::system())
}

fn relative_to(text: &str, now_ms: i64, here: TimeZone) -> Result<i64, String> {
    if let Some(seconds) = text.strip_prefix('@') {
        let seconds: i64 = seconds.parse().map_err(|_| expected(text))?;
        return Ok(seconds.saturating_mul(1000));
    }
    if let Ok(Some(ago)) = proc_spec::parse_duration(text) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(now_ms.saturating_sub(ago));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let civil: DateTime = text.parse().map_err(|_| expected(text))?;
    let time = civil.to_zoned(here).map_err(|_| expected(text))?;
    Ok(time.timestamp().as_millisecond())
}

fn expected(text: &str) -> String {
    format!(
        "`{text}` is no time; expected `10m` (ago), `2026-11-21T10:00:00Z`, `2026-11-21` or `@SECONDS`"
    )
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::relative_to;

    #[test]
    fn times_are_absolute_or_ago() {
        let cases = [
            ("10m", Ok(400_000)),
            ("0", Ok(1_000_000)),
            ("1970-01-01T00:00:01.5Z", Ok(1500)),
            ("1970-01-02", Ok(86_400_000 - 3_600_000)),
            ("1970-01-02T00:00", Ok(86_400_000 - 3_600_000)),
            ("1970-01-02 00:00:01", Ok(86_401_000 - 3_600_000)),
            ("1970-01-02T00:00:00+02:00", Ok(86_400_000 - 7_200_000)),
            ("1970-02-30", Err(())),
            ("@7", Ok(7000)),
            ("yesterday", Err(())),
            ("-5s", Err(())),
        ];
        let here = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in cases {
            assert_eq!(
                relative_to(text, 1_000_000, here.clone()).map_err(drop),
                expected,
                "{text}"
            );
        }
    }
}
