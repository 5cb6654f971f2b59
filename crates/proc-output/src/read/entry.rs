//! What a reader yields.

use std::sync::Arc;

use crate::options::Stream;
use crate::split::trim_terminator;

/// One line of a log, or a piece of a very long one; or a [gap](Self::is_gap) where bytes were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The instance that wrote it.
    pub instance: Arc<str>,
    /// Where it wrote it.
    pub stream: Stream,
    /// The offset of the first byte in the stream, over all files and runs.
    pub offset: u64,
    /// When the first byte arrived, in milliseconds since 1970; `None` if that was not recorded.
    pub at: Option<i64>,
    /// The bytes as they came, the terminator included.
    pub bytes: Vec<u8>,
    /// Whether an earlier entry holds the beginning of the line.
    pub continued: bool,
    /// Whether a later entry holds, or may hold, more of the line.
    pub cut: bool,
    /// Bytes that were dropped at this offset: 0 but for an entry that stands for just that, and has
    /// no bytes of its own.
    pub dropped_bytes: u64,
}

impl Entry {
    /// Says whether this is no line, but the place at which bytes were dropped.
    #[must_use]
    pub const fn is_gap(&self) -> bool {
        self.dropped_bytes > 0
    }

    /// Returns the bytes without `\n` or `\r\n`.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        trim_terminator(&self.bytes)
    }
}

/// A marker that a writer left beside the bytes, such as the start of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The stream beside which it stands.
    pub stream: Stream,
    /// The offset of the first byte after it.
    pub offset: u64,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
    /// What it says.
    pub text: String,
}

/// Which part of the logs to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Only this stream; `None` for all.
    pub stream: Option<Stream>,
    /// Only what arrived at or after this time, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Only what arrived at or before this time, in milliseconds since 1970.
    pub until: Option<i64>,
    /// Only the last so many lines of each instance.
    pub tail: Option<usize>,
    /// The bytes after which a line is cut into pieces.
    pub max_line: usize,
}

impl Default for Query {
    /// Everything, lines up to 1 MiB.
    fn default() -> Self {
        Self {
            stream: None,
            since: None,
            until: None,
            tail: None,
            max_line: 1024 * 1024,
        }
    }
}
