//! What a check saw: kept so that "why is it not ready" has an answer.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The most bytes of output or body an [`Evidence`] quotes.
pub const MAX_DETAIL: usize = 512;

/// What one check saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Whether the check passed.
    pub passed: bool,
    /// What was looked at: `http http://127.0.0.1:8080/ready`.
    pub probe: String,
    /// What was seen, as one line: `status 503, expected 200 to 399`.
    pub reason: String,
    /// The start of the body, or the end of the output, at most [`MAX_DETAIL`] bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How long the check took, in milliseconds.
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
}

fn as_millis<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.probe, self.reason)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({})", detail.escape_debug())?;
        }
        Ok(())
    }
}

/// The verdict of one check before it is dressed as [`Evidence`].
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) passed: bool,
    pub(crate) reason: String,
    pub(crate) detail: Option<String>,
}

impl Verdict {
    pub(crate) fn pass(reason: impl Into<String>) -> Self {
        Verdict {
            passed: true,
            reason: reason.into(),
            detail: None,
        }
    }

    pub(crate) fn fail(reason: impl Into<String>) -> Self {
        Verdict {
            passed: false,
            reason: reason.into(),
            detail: None,
        }
    }

    /// Quotes the start of `bytes`.
    pub(crate) fn quoting_start(mut self, bytes: &[u8]) -> Self {
        self.detail = quoted(&bytes[..bytes.len().min(MAX_DETAIL)]);
        self
    }

    /// Quotes the end of `bytes`.
    pub(crate) fn quoting_end(mut self, bytes: &[u8]) -> Self {
        self.detail = quoted(&bytes[bytes.len().saturating_sub(MAX_DETAIL)..]);
        self
    }

    pub(crate) fn into_evidence(self, probe: String, elapsed: Duration) -> Evidence {
        let Verdict {
            passed,
            reason,
            detail,
        } = self;
        Evidence {
            passed,
            probe,
            reason,
            detail,
            elapsed,
        }
    }
}

fn quoted(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
