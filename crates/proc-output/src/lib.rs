//! Capture output without losing a byte: rings, lines, rotated log files, tail, follow and truncation.

#![forbid(unsafe_code)]

mod clock;
mod closed;
#[cfg(feature = "compress")]
mod compress;
mod directory;
mod names;
mod options;
pub mod read;
mod split;
mod times;
mod writer;

#[cfg(feature = "compress")]
pub use compress::compress_closed;
pub use options::{LogOptions, OnFull, Stream};
pub use split::{Line, LineSplitter, Lines, OwnedLine};
pub use writer::{LogStats, LogWriter, OpenLogError, Written};
