//! Capture output without losing a byte: rings, lines, rotated log files, tail, follow and truncation.

#![forbid(unsafe_code)]

mod clock;
mod closed;
#[cfg(feature = "compress")]
mod compress;
mod directory;
mod group;
mod level;
mod line_ring;
mod names;
mod options;
pub mod read;
mod ring;
mod split;
mod streams;
mod tail;
mod times;
mod writer;

#[cfg(feature = "compress")]
pub use compress::compress_closed;
pub use group::{Group, Grouper};
pub use level::{Level, UnknownLevel, detect_level, find_level};
pub use line_ring::{LineRing, Page, RingLine};
pub use options::{LogOptions, OnFull, Stream};
pub use ring::ByteRing;
pub use split::{Line, LineSplitter, Lines, OwnedLine};
pub use streams::{Combined, ReadEnd, Streams, pending};
pub use tail::{tail_bytes, tail_file, tail_lines, truncate_tail_to_rune_budget};
pub use writer::{LogStats, LogWriter, OpenLogError, Written};
