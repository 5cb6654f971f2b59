//! The steps of a stop: signals and the time after each.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Signal;

/// One step of a stop: a signal, and how long to wait for its effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StopStep {
    /// The signal.
    pub signal: Signal,
    /// How long to wait before the next step; `None` is for ever.
    pub wait: Option<Duration>,
}

/// The signals of a stop, in order.
///
/// Reads and prints as users write it: `TERM/5s, INT/5s, KILL`. The last step needs no time; after `KILL` a stop
/// waits at most [`StopSequence::AFTER_KILL`] and then reports who survived. Nothing escalates that the sequence does
/// not say: `HUP` alone sends `HUP` and waits for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StopSequence {
    /// The steps; empty stops nothing and only waits for ever.
    pub steps: Vec<StopStep>,
}

impl StopSequence {
    /// How long a stop waits after `KILL` before it reports survivors: 10 s.
    pub const AFTER_KILL: Duration = Duration::from_secs(10);

    /// Returns the usual stop: the signal, then `KILL` after the grace. With `None` it never kills, with zero it
    /// kills at once.
    pub fn graceful(signal: Signal, grace: Option<Duration>) -> Self {
        let kill = StopStep {
            signal: Signal::KILL,
            wait: None,
        };
        match grace {
            Some(grace) if grace.is_zero() || signal == Signal::KILL => Self { steps: vec![kill] },
            Some(grace) => Self {
                steps: vec![
                    StopStep {
                        signal,
                        wait: Some(grace),
                    },
                    kill,
                ],
            },
            None => Self {
                steps: vec![StopStep { signal, wait: None }],
            },
        }
    }

    /// Returns the stop that is `KILL` and nothing else.
    pub fn kill() -> Self {
        Self {
            steps: vec![StopStep {
                signal: Signal::KILL,
                wait: None,
            }],
        }
    }

    /// Returns how long it may take at most; `None` is for ever.
    pub fn longest(&self) -> Option<Duration> {
        let mut total = Duration::ZERO;
        for step in &self.steps {
            total = total.saturating_add(match step.wait {
                Some(wait) => wait,
                None if step.signal == Signal::KILL => {
                    return Some(total.saturating_add(Self::AFTER_KILL));
                }
                None => return None,
            });
        }
        Some(total)
    }
}

impl Default for StopSequence {
    /// `TERM/10s, KILL`.
    fn default() -> Self {
        Self::graceful(Signal::TERM, Some(Duration::from_secs(10)))
    }
}

/// The text is no stop sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid stop step `{step}`: {reason}")]
pub struct ParseStopError {
    step: String,
    reason: &'static str,
}

impl FromStr for StopStep {
    type Err = ParseStopError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| ParseStopError {
            step: text.to_owned(),
            reason,
        };
        let (signal, wait) = match text.split_once('/') {
            Some((signal, wait)) => (signal, Some(wait.trim())),
            None => (text, None),
        };
        let signal = signal.trim().parse().map_err(|_| error("unknown signal"))?;
        let wait = match wait {
            None | Some("none") => None,
            Some(wait) => {
                Some(duration(wait).ok_or_else(|| error("the time is not like `5s` or `500ms`"))?)
            }
        };
        Ok(Self { signal, wait })
    }
}

impl FromStr for StopSequence {
    type Err = ParseStopError;

    /// Reads steps separated by commas. A step without a time that is not the last waits for ever, so it is refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let steps = text
            .split(',')
            .map(str::parse)
            .collect::<Result<Vec<StopStep>, _>>()?;
        let unreachable = steps
            .iter()
            .take(steps.len().saturating_sub(1))
            .find(|step| step.wait.is_none());
        if let Some(step) = unreachable {
            return Err(ParseStopError {
                step: step.to_string(),
                reason: "the steps after it would never be reached",
            });
        }
        Ok(Self { steps })
    }
}

impl fmt::Display for StopStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wait {
            None => write!(f, "{}", self.signal),
            Some(wait) if wait.subsec_nanos() == 0 => {
                write!(f, "{}/{}s", self.signal, wait.as_secs())
            }
            Some(wait) => write!(f, "{}/{}ms", self.signal, wait.as_millis()),
        }
    }
}

impl fmt::Display for StopSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{step}")?;
        }
        Ok(())
    }
}

/// Reads `5s`, `1.5s`, `500ms`, `1h30m`, `2d`, a bare number of seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Some(seconds) = number(text) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value = number(&rest[..digits])?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(Duration::try_from_secs_f64(value * unit).ok()?)?;
    }
    (!text.is_empty()).then_some(total)
}

fn number(text: &str) -> Option<f64> {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_reads_as_users_write_it() {
        let sequence: StopSequence = "TERM/5s, sigint/500ms,KILL".parse().unwrap();
        assert_eq!(sequence.to_string(), "TERM/5s, INT/500ms, KILL");
        assert_eq!(sequence.longest(), Some(Duration::from_millis(15_500)));
        assert_eq!("HUP".parse::<StopSequence>().unwrap().longest(), None);
        for (text, wait) in [
            ("TERM/1m30s", 90_000),
            ("TERM/1.5s", 1_500),
            ("TERM/2", 2_000),
            ("TERM/0", 0),
        ] {
            assert_eq!(
                text.parse::<StopStep>().unwrap().wait,
                Some(Duration::from_millis(wait)),
                "{text}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        for text in [
            "",
            "TERM,KILL",
            "TERM/",
            "TERM/5x",
            "TERM/-5s",
            "TERM/NaN",
            "TERM/inf",
            "NOPE/5s",
            "TERM/5s,",
            "TERM/5s/6s",
        ] {
            assert!(text.parse::<StopSequence>().is_err(), "{text}");
        }
    }

    #[test]
    fn graceful_has_its_two_special_cases() {
        let text = |grace| StopSequence::graceful(Signal::INT, grace).to_string();
        assert_eq!(text(Some(Duration::from_secs(3))), "INT/3s, KILL");
        assert_eq!(text(Some(Duration::ZERO)), "KILL");
        assert_eq!(text(None), "INT");
    }
}
