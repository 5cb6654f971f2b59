//! Whole-file replacement: a reader sees the old content or the new, never anything else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Disk;

/// A file that could not be replaced. The old content is still in place, unless only the last step
/// failed ([`WriteError::NotDurable`]).
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No temporary file could be made beside it.
    #[error("cannot create a file beside `{path}`")]
    Create {
        /// The file to be replaced.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The new content could not be written or renamed into place.
    #[error("cannot write `{path}`")]
    Write {
        /// The file to be replaced.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The new content is in place but may not survive a loss of power.
    #[error("wrote `{path}` but could not flush its directory")]
    NotDurable {
        /// The file that was replaced.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl WriteError {
    /// Returns what the system said.
    pub fn io(&self) -> &io::Error {
        match self {
            Self::Create { source, .. }
            | Self::Write { source, .. }
            | Self::NotDurable { source, .. } => source,
        }
    }
}

/// Replaces the content of `path` with `bytes` and its mode with exactly `mode` (such as `0o600`).
///
/// A uniquely named temporary file is created in the same directory (`O_EXCL`), written, flushed,
/// renamed over `path`, and the directory is flushed. A symbolic link at `path` is replaced, not
/// followed. The temporary file is removed if any step fails.
///
/// # Errors
/// See [`WriteError`]. A process killed in between leaves the old or the new content, and perhaps a
/// temporary file that [`sweep`] removes.
pub fn write(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    write_on(&Disk::real(), path.as_ref(), bytes, mode)
}

/// Does what [`write()`] does, on `disk`.
///
/// # Errors
/// As [`write()`].
pub fn write_on(disk: &Disk, path: &Path, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    let temporary = stage(disk, path, bytes, mode)?;
    disk.rename(&temporary, path).map_err(|source| {
        // Best effort: the error that matters is the one above.
        let _ = disk.remove(&temporary);
        WriteError::Write {
            path: path.to_owned(),
            source,
        }
    })?;
    disk.sync_dir(parent(path))
        .map_err(|source| WriteError::NotDurable {
            path: path.to_owned(),
            source,
        })
}

/// Writes and flushes `bytes` to a new temporary file beside `path` and returns its path.
pub(crate) fn stage(
    disk: &Disk,
    path: &Path,
    bytes: &[u8],
    mode: u32,
) -> Result<PathBuf, WriteError> {
    let (temporary, mut file) = loop {
        let temporary = temporary_name(path);
        match disk.create_new(&temporary, mode) {
            Ok(file) => break (temporary, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(WriteError::Create {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    };
    let written = disk
        .write_all(&mut file, bytes)
        .and_then(|()| disk.sync(&file));
    written.map_err(|source| {
        let _ = disk.remove(&temporary);
        WriteError::Write {
            path: path.to_owned(),
            source,
        }
    })?;
    Ok(temporary)
}

/// The ending of our temporary files: `.NAME.PID-COUNT-NANOSECONDS.proc-tmp`.
const SUFFIX: &str = ".proc-tmp";

/// Returns a name beside `path` that no other process or thread uses.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.subsec_nanos());
    let pid = std::process::id();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A long name must leave room within the 255 bytes of a file name.
    let short: String = name.chars().take(40).collect();
    parent(path).join(format!(".{short}.{pid}-{count}-{nanos}{SUFFIX}"))
}

/// Returns the directory that `path` is an entry of.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes temporary files that killed writers left in `dir`, and returns how many.
///
/// Only for the holder of the directory's lock: it would take a live writer's file away.
///
/// # Errors
/// What the system says about reading the directory; a file that cannot be removed is skipped.
pub fn sweep(dir: impl AsRef<Path>) -> io::Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with('.') && name.ends_with(SUFFIX) && entry.file_type()?.is_file();
        if ours && std::fs::remove_file(entry.path()).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}
