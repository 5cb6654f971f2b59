//! A regular expression that can be compared, printed and stored as its source text.

use std::fmt;
use std::str::FromStr;

use regex::bytes::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A regular expression over bytes: output and bodies need not be UTF-8.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// A regular expression could not be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{pattern}` is not a regular expression: {reason}")]
pub struct PatternError {
    /// The given text.
    pub pattern: String,
    /// What is wrong with it, on one line.
    pub reason: String,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// Returns the last line of the compiler's message, which names the mistake.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        Regex::new(text).map(Pattern).map_err(|error| {
            let message = error.to_string();
            let last = message.lines().next_back().unwrap_or_default();
            let reason = last.trim_start_matches("error: ").to_owned();
            PatternError {
                pattern: text.to_owned(),
                reason,
            }
        })
    }

    /// Returns the source text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Tells whether the expression matches anywhere in `bytes`.
    #[must_use]
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Pattern::new(text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pattern::new(&text).map_err(serde::de::Error::custom)
    }
}
