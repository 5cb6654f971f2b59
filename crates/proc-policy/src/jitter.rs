//! Randomness added to a delay, so that many services do not come back in step.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::{format_duration, format_number, scale};

/// How a computed delay `d` is varied. Written `none`, `equal`, `full`, `20%` or `+25%`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// `d` itself.
    None,
    /// Half fixed, half random: `d/2` to `d`.
    #[default]
    Equal,
    /// All random: 0 to `d`.
    Full,
    /// So many percent (0 to 100) to either side; the result may exceed `max_delay` by as much.
    Percent(f64),
    /// Up to so many percent (0 to 100) on top, as Nomad and systemd do.
    Above(f64),
}

impl Jitter {
    /// Returns `delay` varied by `random`, a number from 0 to 1 (others are clamped).
    pub fn apply(self, delay: Duration, random: f64) -> Duration {
        let random = unit(random);
        match self {
            Self::None => delay,
            Self::Equal => delay / 2 + scale(delay / 2, random),
            Self::Full => scale(delay, random),
            Self::Percent(percent) => scale(delay, 1.0 + share(percent) * (2.0 * random - 1.0)),
            Self::Above(percent) => scale(delay, 1.0 + share(percent) * random),
        }
    }

    /// Returns the shortest and the longest result for `delay`.
    pub fn bounds(self, delay: Duration) -> (Duration, Duration) {
        (self.apply(delay, 0.0), self.apply(delay, 1.0))
    }

    /// Returns the step from `delay` to its varied form in words, empty where nothing varies.
    pub(crate) fn arithmetic(self, delay: Duration, random: f64) -> String {
        let number = format_number(unit(random));
        let (all, half) = (format_duration(delay), format_duration(delay / 2));
        let step = match self {
            _ if delay.is_zero() => return String::new(),
            Self::None => return String::new(),
            Self::Equal => format!("equal jitter {half} + {number} x {half}"),
            Self::Full => format!("full jitter {number} x {all}"),
            Self::Percent(p) => {
                let p = format_number(p);
                format!("jitter {all} x (1 + {p}% x (2 x {number} - 1))")
            }
            Self::Above(p) => format!("jitter {all} x (1 + {}% x {number})", format_number(p)),
        };
        format!(", {step} = {}", format_duration(self.apply(delay, random)))
    }
}

/// Returns `random` held within 0 to 1; NaN counts as 0.
fn unit(random: f64) -> f64 {
    if random.is_nan() {
        0.0
    } else {
        random.clamp(0.0, 1.0)
    }
}

/// Returns a percentage as a share of one, held within 0 to 1.
fn share(percent: f64) -> f64 {
    unit(percent / 100.0)
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Equal => f.write_str("equal"),
            Self::Full => f.write_str("full"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Above(percent) => write!(f, "+{percent}%"),
        }
    }
}

/// Text that is no [`Jitter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown jitter `{0}`, expected `none`, `equal`, `full`, `20%` or `+25%`")]
pub struct ParseJitterError(String);

impl FromStr for Jitter {
    type Err = ParseJitterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "equal" => Ok(Self::Equal),
            "full" => Ok(Self::Full),
            _ => percent(text).ok_or_else(|| ParseJitterError(text.to_owned())),
        }
    }
}

/// Parses `20%` and `+25%`, digits and one point only, at most 100.
fn percent(text: &str) -> Option<Jitter> {
    let (above, number) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits = number.strip_suffix('%')?.trim_end();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let value: f64 = digits
        .parse()
        .ok()
        .filter(|value| (0.0..=100.0).contains(value))?;
    Some(if above {
        Jitter::Above(value)
    } else {
        Jitter::Percent(value)
    })
}

impl Serialize for Jitter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Jitter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
