//! Captures the output of processes without losing a byte, and reads it back.
//!
//! For any program that runs others and keeps what they print: supervisors, build tools, test runners.
//! It knows nothing of processes themselves, has no runtime (`async` twins are a feature), and treats
//! output as bytes throughout: invalid UTF-8, NUL and lines of 10 MB pass unchanged.
//!
//! * [`LogWriter`] moves a pipe into files that rotate by size and age, with a sidecar that knows when
//!   each byte came; what a full disk refuses is counted. Small enough for the inside of a shim.
//!   [`QueuedWriter`] does the same behind a queue, for services that must never wait for a disk.
//! * [`read::LogReader`] reads those files back, compressed ones included: merged by time, the last
//!   lines, a stretch of time, followed as they grow, or verified to be complete.
//! * [`Streams`] reads both pipes of a command together, by callback or as an iterator; [`LineSplitter`]
//!   and [`Lines`] make lines; with the feature `async`, `Lines` and `BothLines` are `Stream`s;
//!   [`Grouper`] joins stack traces; [`detect_level`] finds how serious a line is.
//! * [`ByteRing`] and [`LineRing`] keep the last of it in memory; [`truncate_tail_to_rune_budget`]
//!   cuts it to what a message may hold.
//!
//! ```
//! use proc_output::read::{LogReader, Query};
//! use proc_output::{LogOptions, LogWriter, Stream};
//!
//! let dir = tempfile::tempdir()?;
//! let options = LogOptions { max_size: Some(64), ..LogOptions::default() };
//! let mut log = LogWriter::new(dir.path(), "web-1", Stream::Stdout, &options)?;
//! for n in 0..100 {
//!     log.write(format!("request {n}\n").as_bytes());
//! }
//!
//! let mut reader = LogReader::new();
//! reader.add(dir.path(), "web-1")?;
//! let query = Query { tail: Some(2), ..Query::default() };
//! let last: Result<Vec<_>, _> = reader.entries(&query)?.collect();
//! let last = last?;
//! assert_eq!(last[1].text(), b"request 99");
//! assert!(reader.verify()?[0].complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limitations
//!
//! * Linux and macOS, where nothing of it has run: there bytes are read and written instead of spliced, a queue holds what any
//!   pipe does, and a followed file costs a descriptor (`kqueue`).
//! * Two streams in two pipes have no common order closer than the 10 ms of the sidecar; where it
//!   matters, let both share one pipe ([`LogOptions::merge`]).
//! * Files are handed to the kernel, not synced: they survive the end of every process, but a power
//!   failure may take the last seconds.
//! * A file that the service itself writes ([`LogOptions::direct`]) is rotated between runs only.
//! * [`LogWriter`] itself waits for the disk, and drops only what the disk refuses: whoever drives
//!   the pipe takes a [`QueuedWriter`] for [`OnFull::Drop`].

#![forbid(unsafe_code)]

#[cfg(feature = "async")]
mod both;
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
mod queued;
pub mod read;
mod ring;
mod split;
mod streams;
mod sys;
mod tail;
mod times;
mod writer;

#[cfg(feature = "async")]
pub use both::BothLines;
#[cfg(feature = "compress")]
pub use compress::compress_closed;
pub use group::{Group, Grouper};
pub use level::{Level, UnknownLevel, detect_level, find_level};
pub use line_ring::{LineRing, Page, RingLine};
pub use options::{LogOptions, OnFull, Stream};
pub use queued::QueuedWriter;
pub use ring::ByteRing;
pub use split::{Line, LineSplitter, Lines, OwnedLine};
pub use streams::{Combined, ReadEnd, StreamLines, Streams, pending};
pub use tail::{tail_bytes, tail_file, tail_lines, truncate_tail_to_rune_budget};
pub use writer::{LogStats, LogWriter, OpenLogError, Written};
