//! Reading logs back: all of them, the last of them, and those to come.
//!
//! [`LogReader`] names the instances; a [`Query`] says which part. [`LogReader::entries`] ends where
//! the files end, [`LogReader::follow`] goes on:
//!
//! ```no_run
//! use proc_output::read::{LogReader, Query};
//!
//! let dir = std::path::Path::new("/var/lib/proc/shop/log");
//! let mut reader = LogReader::new();
//! for instance in LogReader::instances(dir)? {
//!     reader.add(dir, &instance)?;
//! }
//! let mut follow = reader.follow(&Query { tail: Some(10), ..Query::default() })?;
//! while let Some(entry) = follow.next_within(None)? {
//!     println!("{} | {}", entry.instance, String::from_utf8_lossy(entry.text()));
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod cursor;
mod entry;
mod follow;
mod locate;
mod merge;
mod reader;
mod segment;
mod stream;
mod verify;

pub use entry::{Entry, Mark, Query};
pub use follow::Follow;
#[cfg(feature = "async")]
pub use follow::FollowStream;
pub use reader::{Entries, LogReader};
pub use verify::Verified;
