//! Records that are written as soon as the disk lets them be.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Disk, Record, WriteError, atomic, record};

/// Writes records and keeps those that could not be written, the latest of each, to try again.
///
/// A program that must not fail because its disk does hands its records here, shows
/// [`Keeper::degraded`] and calls [`Keeper::retry`] now and then. What waits is bounded by the
/// number of paths, since a newer record takes the place of an older one.
///
/// ```
/// use proc_store::{Disk, Fault, FaultPlan, Keeper, Op, Record};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Wanted { up: bool }
/// impl Record for Wanted { const FORMAT: u32 = 1; }
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("web.json");
/// let plan = FaultPlan::every(Some(Op::Write), Fault::Errno(28)); // a full disk
/// let mut keeper = Keeper::new(Disk::faulty(plan.clone()));
/// keeper.write(&path, &Wanted { up: true });
/// assert_eq!(keeper.degraded().as_deref(), Some("ENOSPC"));
/// plan.heal();
/// assert!(keeper.retry() && path.exists() && keeper.degraded().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Keeper {
    disk: Disk,
    waiting: BTreeMap<PathBuf, Change>,
    trouble: Option<io::Error>,
}

#[derive(Debug)]
enum Change {
    Write(Vec<u8>),
    Remove,
}

impl Keeper {
    /// Returns a keeper that writes to `disk`.
    pub fn new(disk: Disk) -> Self {
        Self {
            disk,
            ..Self::default()
        }
    }

    /// Writes `value` to `path`, now or later; returns whether it is written. A value that JSON
    /// cannot express is reported as trouble and given up.
    pub fn write<T: Record>(&mut self, path: &Path, value: &T) -> bool {
        match record::to_bytes(value) {
            Ok(bytes) => {
                self.waiting.insert(path.to_owned(), Change::Write(bytes));
                self.attempt(path)
            }
            Err(error) => {
                self.trouble = Some(error.into());
                false
            }
        }
    }

    /// Removes the record at `path`, now or later; returns whether it is removed.
    pub fn remove(&mut self, path: &Path) -> bool {
        self.waiting.insert(path.to_owned(), Change::Remove);
        self.attempt(path)
    }

    /// Tries what waits again; returns whether nothing waits any more. Stops at the first failure,
    /// so that a dead disk costs one attempt.
    pub fn retry(&mut self) -> bool {
        let paths: Vec<PathBuf> = self.waiting.keys().cloned().collect();
        if paths.is_empty() {
            self.trouble = None;
        }
        paths.iter().all(|path| self.attempt(path))
    }

    /// Returns how many records wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns why records wait.
    pub fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref()
    }

    /// Returns why records wait in a word, such as `ENOSPC`; `None` when all is well.
    pub fn degraded(&self) -> Option<String> {
        self.trouble.as_ref().map(errno_name)
    }

    fn attempt(&mut self, path: &Path) -> bool {
        let done = match self.waiting.get(path) {
            None => Ok(()),
            Some(Change::Remove) => self.disk.remove(path),
            Some(Change::Write(bytes)) => match atomic::write_on(&self.disk, path, bytes, 0o600) {
                Ok(()) => Ok(()),
                Err(
                    WriteError::Create { source, .. }
                    | WriteError::Write { source, .. }
                    | WriteError::NotDurable { source, .. },
                ) => Err(source),
            },
        };
        match done {
            Ok(()) => {
                self.waiting.remove(path);
                if self.waiting.is_empty() {
                    self.trouble = None;
                }
                true
            }
            Err(error) => {
                self.trouble = Some(error);
                false
            }
        }
    }
}

/// Returns the name that people know an error by, such as `ENOSPC`, else what the system says.
pub fn errno_name(error: &io::Error) -> String {
    use rustix::io::Errno;
    let names = [
        (Errno::NOSPC, "ENOSPC"),
        (Errno::DQUOT, "EDQUOT"),
        (Errno::IO, "EIO"),
        (Errno::ROFS, "EROFS"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NFILE, "ENFILE"),
        (Errno::ACCESS, "EACCES"),
        (Errno::PERM, "EPERM"),
        (Errno::NOENT, "ENOENT"),
        (Errno::NOMEM, "ENOMEM"),
    ];
    let known = names
        .iter()
        .find(|(errno, _)| error.raw_os_error() == Some(errno.raw_os_error()));
    known.map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
}
