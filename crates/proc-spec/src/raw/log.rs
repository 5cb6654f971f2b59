//! A service's log files.

use std::path::PathBuf;

use crate::decode::{Bytes, BytesLimit, CountLimit, Limit, choice, table};

table! {
    /// Where output goes.
    pub(crate) struct RawLog {
        /// The directory; the state directory's `log` unless given.
        dir: PathBuf,
        /// Rotate at this size, or "none".
        max_size: BytesLimit,
        /// How many rotated files are kept, or "none" for all.
        keep: CountLimit,
        /// The most all files of an instance may take, or "none".
        total_max: BytesLimit,
        /// Rotate, and drop rotated files, at this age, or "none".
        max_age: Limit,
        /// Compress rotated files.
        compress: bool,
        /// Keep the times of arrival in the sidecar `….times`, for `logs --timestamps` and `--since`;
        /// the lines of the file itself bear none either way.
        timestamps: bool,
        /// One file for stdout and stderr.
        merge: bool,
        /// What happens when the disk or the reader cannot follow.
        on_full: OnFull,
        /// How much recent output is kept in memory.
        ring: Bytes,
        /// Lines that start with a blank belong to the line before.
        multiline: bool,
        /// The service writes the file itself; nothing reads along.
        direct: bool,
    }
}

choice! {
    /// What happens when output cannot be written as fast as it comes.
    pub enum OnFull {
        /// The service waits.
        Block = "block",
        /// Output is dropped, and counted.
        Drop = "drop",
    }
}
