//! What the user asked for: sizes, ages, counts and the rule for a writer that cannot keep up.

use std::path::PathBuf;
use std::time::Duration;

/// Which of a process's outputs some bytes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
    /// Both through one pipe, in the order in which they were written.
    Merged,
}

impl Stream {
    /// Returns `stdout`, `stderr` or `merged`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Merged => "merged",
        }
    }

    /// Returns every stream, in the order in which readers break ties.
    #[must_use]
    pub const fn all() -> [Self; 3] {
        [Self::Stdout, Self::Stderr, Self::Merged]
    }
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens to a service that writes faster than its log file takes the bytes.
///
/// A write *error* (a full disk, a failing one) is no question of speed: under both rules the bytes
/// that the file refuses are dropped and counted, so that no service hangs on a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum OnFull {
    /// The pipe fills up and the service waits in its `write`: no byte is lost to a slow disk.
    #[default]
    Block,
    /// The service never waits: what a bounded queue in front of the file cannot take is dropped,
    /// and counted to the byte.
    Drop,
}

/// How the output of one instance is kept. Sizes are bytes; `None` is "no limit".
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct LogOptions {
    /// The directory for the files, where it is not the caller's default.
    pub dir: Option<PathBuf>,
    /// The largest size of one file; a write that would exceed it goes to the next file.
    pub max_size: Option<u64>,
    /// How many closed files stay beside the live one.
    pub keep: Option<u32>,
    /// The largest sum of all log files of the instance; the oldest closed ones go first. Without
    /// `merge`, each stream may have half of it.
    pub total_max: Option<u64>,
    /// The age at which the live file is closed, and at which a closed file is removed.
    pub max_age: Option<Duration>,
    /// Whether closed files are compressed with gzip (where built with the feature `compress`).
    pub compress: bool,
    /// Whether both streams share one pipe and one file, which keeps their order exact.
    pub merge: bool,
    /// What a service meets that writes faster than the disk.
    pub on_full: OnFull,
    /// Whether the service gets the file itself, opened with `O_APPEND`, instead of a pipe.
    ///
    /// Fastest, and independent of anybody's life; but such a file is rotated only between runs.
    pub direct: bool,
    /// Whether the sidecar records when the bytes arrived.
    pub timestamps: bool,
}

impl Default for LogOptions {
    /// 10 MiB a file, 5 closed files, compressed, one file per stream, times recorded.
    fn default() -> Self {
        Self {
            dir: None,
            max_size: Some(10 * 1024 * 1024),
            keep: Some(5),
            total_max: None,
            max_age: None,
            compress: true,
            merge: false,
            on_full: OnFull::Block,
            direct: false,
            timestamps: true,
        }
    }
}

impl LogOptions {
    /// Returns the streams that get a file of their own under these options.
    #[must_use]
    pub const fn streams(&self) -> &'static [Stream] {
        if self.merge {
            &[Stream::Merged]
        } else {
            &[Stream::Stdout, Stream::Stderr]
        }
    }

    /// Returns the part of the cap that is one stream's.
    pub(crate) fn stream_max(&self) -> Option<u64> {
        self.total_max
            .map(|total| if self.merge { total } else { total / 2 })
    }

    /// Returns the limit of one file, so that the live file and one closed one fit under the cap.
    pub(crate) fn file_limit(&self) -> u64 {
        let by_total = self
            .stream_max()
            .map_or(u64::MAX, |total| (total / 2).max(1));
        self.max_size
            .map_or(u64::MAX, |size| size.max(1))
            .min(by_total)
    }
}
