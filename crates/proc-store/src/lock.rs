//! A lock held for life: whoever holds it is the one, and the kernel lets go when the holder dies.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proc_core::{Identity, Liveness};
use serde::{Deserialize, Serialize};

use crate::Disk;

/// An exclusive lock on a file of its own (`flock(2)`), with the holder written in it.
///
/// The lock ends when this value is dropped or the process dies, however it dies. The file stays,
/// emptied, unless [`LifeLock::remove_on_release`] was asked for: what counts is the lock, not the
/// file. The descriptor is close-on-exec; a child forked without exec shares the lock.
///
/// ```
/// use proc_store::{LifeLock, LockError};
///
/// let dir = tempfile::tempdir()?;
/// let lock = LifeLock::acquire(dir.path().join("lock"))?;
/// let second = LifeLock::acquire(dir.path().join("lock"));
/// assert!(matches!(second, Err(LockError::Held(held)) if held.pid == Some(std::process::id())));
/// drop(lock);
/// LifeLock::acquire(dir.path().join("lock"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LifeLock {
    file: File,
    path: PathBuf,
    pid: u32,
    remove: bool,
}

/// Who holds a lock, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The holder's pid.
    pub pid: Option<u32>,
    /// The holder's identity.
    #[serde(default)]
    pub identity: Option<Identity>,
}

/// A lock that somebody else holds.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{path}` is held by {}", pid_words(*pid))]
pub struct Held {
    /// The lock file.
    pub path: PathBuf,
    /// The holder's pid, where it can be told.
    pub pid: Option<u32>,
    /// The holder's identity, where it is known.
    pub identity: Option<Box<Identity>>,
}

fn pid_words(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}"))
}

/// A lock that was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error(transparent)]
    Held(#[from] Held),
    /// The file cannot be opened, locked or written.
    #[error("cannot lock `{path}`")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LifeLock {
    /// Acquires the lock on `path`, creating the file with mode 0600, or tells at once who has it.
    ///
    /// # Errors
    /// [`LockError::Held`] with the holder's pid; [`LockError::Io`] else. Nothing is held then.
    pub fn acquire(path: impl AsRef<Path>) -> Result<Self, LockError> {
        Self::acquire_on(&Disk::real(), path.as_ref())
    }

    /// Does what [`LifeLock::acquire`] does, on `disk`.
    ///
    /// # Errors
    /// As [`LifeLock::acquire`].
    pub fn acquire_on(disk: &Disk, path: &Path) -> Result<Self, LockError> {
        let io_error = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        loop {
            let file = disk.open_or_create(path, 0o600).map_err(io_error)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(path, &file).into()),
                Err(TryLockError::Error(source)) => return Err(io_error(source)),
            }
            // A releasing holder may have removed the file between open and lock; a lock on a file
            // without a name excludes nobody.
            if !is_current(path, &file).map_err(io_error)? {
                continue;
            }
            let mut lock = Self {
                file,
                path: path.to_owned(),
                pid: std::process::id(),
                remove: false,
            };
            lock.sign(disk).map_err(io_error)?;
            return Ok(lock);
        }
    }

    /// Takes over a lock whose descriptor was inherited, as after an upgrade by exec.
    ///
    /// # Errors
    /// [`LockError::Held`] if `fd` does not hold the lock, and [`LockError::Io`] if `fd` is not
    /// `path`.
    pub fn from_fd(fd: OwnedFd, path: impl AsRef<Path>) -> Result<Self, LockError> {
        let path = path.as_ref();
        let io_error = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::from(fd);
        if !is_current(path, &file).map_err(io_error)? {
            return Err(io_error(io::Error::from(io::ErrorKind::NotFound)));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(path, &file).into()),
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        let mut lock = Self {
            file,
            path: path.to_owned(),
            pid: std::process::id(),
            remove: false,
        };
        lock.sign(&Disk::real()).map_err(io_error)?;
        Ok(lock)
    }

    /// Removes the file when the lock is released.
    pub fn remove_on_release(mut self) -> Self {
        self.remove = true;
        self
    }

    /// Returns the path of the lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the holder into the file. A full disk does not lose the lock: the kernel still knows
    /// the holder's pid.
    fn sign(&mut self, disk: &Disk) -> io::Result<()> {
        let pid = self.pid;
        let holder = Holder {
            pid: Some(pid),
            identity: Identity::of(pid).ok(),
        };
        let text = serde_json::to_vec(&holder)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        match disk.write_all(&mut self.file, &text) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.file.set_len(0),
            done => done,
        }
    }
}

impl AsFd for LifeLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for LifeLock {
    fn drop(&mut self) {
        // A child forked without exec has a copy that is not its own.
        if self.pid != std::process::id() {
            return;
        }
        // Best effort: the lock ends with the descriptor in any case.
        let _ = self.file.set_len(0);
        if self.remove && is_current(&self.path, &self.file).unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Returns who holds the lock on `path`, or `None` if nobody does. Only where the holder on record cannot be looked at (it is of
/// another pid namespace) the lock is taken, shared and for a moment, to see whether it is free.
///
/// # Errors
/// What the system says about opening the file; a missing file means nobody.
pub fn holder(path: impl AsRef<Path>) -> io::Result<Option<Holder>> {
    let path = path.as_ref();
    let file = match Disk::real().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if let Some(holder) = read_holder(&file).filter(is_alive) {
        // Whether it lives may not be visible from here, but the lock says whether it holds it: one that was free for a
        // moment was held by nobody.
        let visible = holder
            .identity
            .as_ref()
            .is_some_and(|identity| identity.liveness().is_alive());
        return Ok((visible || file.try_lock_shared().is_err()).then_some(holder));
    }
    Ok(kernel_holder(&file)?.map(|pid| Holder {
        pid: Some(pid),
        identity: Identity::of(pid).ok(),
    }))
}

/// Describes the refusal.
fn held(path: &Path, file: &File) -> Held {
    // The file may still name the previous holder, dead by now: then the kernel is asked.
    let holder = read_holder(file)
        .filter(is_alive)
        .or_else(|| {
            Some(Holder {
                pid: kernel_holder(file).ok()?,
                identity: None,
            })
        })
        .unwrap_or_default();
    Held {
        path: path.to_owned(),
        pid: holder.pid,
        identity: holder.identity.map(Box::new),
    }
}

/// Reads the holder's signature, if there is a whole one.
fn read_holder(mut file: &File) -> Option<Holder> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.take(64 * 1024).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn is_alive(holder: &Holder) -> bool {
    match &holder.identity {
        Some(identity) => !matches!(identity.liveness(), Liveness::Dead { .. }),
        None => false,
    }
}

/// Asks `/proc/locks` for the pid that locked this file; `None` where the kernel does not tell.
fn kernel_holder(file: &File) -> io::Result<Option<u32>> {
    let inode = format!(":{}", file.metadata()?.ino());
    let table = std::fs::read_to_string("/proc/locks")?;
    Ok(table.lines().find_map(|line| flock_holder(line, &inode)))
}

/// Reads one line such as `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`.
fn flock_holder(line: &str, inode: &str) -> Option<u32> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", pid, place, ..] = fields.as_slice() else {
        return None;
    };
    place.ends_with(inode).then(|| pid.parse().ok()).flatten()
}

/// Returns whether `path` still names the open `file`.
fn is_current(path: &Path, file: &File) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
