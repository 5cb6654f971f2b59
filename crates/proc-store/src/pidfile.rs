//! PID files: a guard for one's own, and a reader for everybody's.

use std::io;
use std::path::{Path, PathBuf};

use proc_core::{Identity, IdentityError, Liveness};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lock::{self, LifeLock, LockError};
use crate::record::{SetAside, set_aside};
use crate::{Disk, WriteError, atomic};

/// The PID file of this process, held for life.
///
/// What excludes others is a [`LifeLock`] on `PATH.lock`; the PID file itself is for tools that
/// read such files. Both go when the guard is dropped, if they are still ours.
///
/// ```
/// use proc_store::{PidFile, PidFileError, ReadPid};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("run/demo.pid");
/// let guard = PidFile::acquire(&path)?;
/// assert_eq!(std::fs::read_to_string(&path)?, format!("{}\n", std::process::id()));
/// assert!(matches!(PidFile::acquire(&path), Err(PidFileError::Running { .. })));
/// let ReadPid::Record(record) = PidFile::read(&path)? else { panic!() };
/// assert!(record.liveness().is_alive());
/// drop(guard);
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    pid: u32,
    set_aside: Option<SetAside>,
    // Last, so that it is released after the file is gone.
    _lock: LifeLock,
}

/// What is written into a PID file.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Contents {
    /// The pid and a newline, as everybody understands.
    #[default]
    Plain,
    /// Three lines: the pid, a description as JSON, and `{"start_unix":…,"identity":{…}}`.
    ThreeLines(Value),
}

/// A PID file that was not acquired. Nothing was changed, except that garbage may have been set
/// aside.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// The one that it names, or that holds its lock, runs.
    #[error("another instance is running ({}): {reason}", words(*pid))]
    Running {
        /// Its pid, where it can be told.
        pid: Option<u32>,
        /// How we know.
        reason: String,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// The PID file, or its directory, cannot be read or moved: who runs is unknown.
    #[error("cannot use the PID file `{path}`")]
    Io {
        /// The PID file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The PID file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

fn words(pid: Option<u32>) -> String {
    pid.map_or_else(|| "pid unknown".to_owned(), |pid| format!("pid {pid}"))
}

impl PidFile {
    /// Acquires the PID file at `path` for this process, creating missing parents (0755) and the
    /// file (0644).
    ///
    /// A file that names a process which runs (also another user's) is never taken; one that names
    /// a dead process, or this very one, is replaced; garbage is set aside.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub fn acquire(path: impl Into<PathBuf>) -> Result<Self, PidFileError> {
        Self::acquire_with(path, &Contents::Plain)
    }

    /// Does what [`PidFile::acquire`] does, and writes `contents`.
    ///
    /// # Errors
    /// As [`PidFile::acquire`].
    pub fn acquire_with(
        path: impl Into<PathBuf>,
        contents: &Contents,
    ) -> Result<Self, PidFileError> {
        let path = path.into();
        let io_error = |source| PidFileError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(atomic::parent(&path)).map_err(io_error)?;
        let lock = acquire_lock(&path)?.remove_on_release();
        let set_aside = make_way(&path)?;
        let pid = std::process::id();
        atomic::write(&path, contents.render(pid).as_bytes(), 0o644)?;
        Ok(Self {
            path,
            pid,
            set_aside,
            _lock: lock,
        })
    }

    /// Reads any PID file: plain, or with a description and a start time below the pid.
    ///
    /// # Errors
    /// What the system says; who runs is unknown then. A missing file is [`ReadPid::Absent`].
    pub fn read(path: impl AsRef<Path>) -> io::Result<ReadPid> {
        let path = path.as_ref();
        let bytes = match Disk::real().read(path, 1024 * 1024) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ReadPid::Absent),
            bytes => bytes?,
        };
        let Some(mut record) = PidRecord::parse(&bytes) else {
            return Ok(ReadPid::Garbage);
        };
        if record.identity.is_none() {
            record.identity = holder_identity(path, record.pid);
        }
        Ok(ReadPid::Record(record))
    }

    /// Returns the path of the PID file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what garbage was set aside when it was acquired, if any.
    pub fn set_aside(&self) -> Option<&SetAside> {
        self.set_aside.as_ref()
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A child forked without exec has a copy of the guard that is not its own.
        if self.pid != std::process::id() {
            return;
        }
        if let Ok(ReadPid::Record(record)) = Self::read(&self.path)
            && record.pid == self.pid
        {
            // Best effort: a PID file that stays names a dead process.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What a PID file says.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadPid {
    /// There is none.
    Absent,
    /// A process.
    Record(PidRecord),
    /// Nothing that can be understood, such as an empty file.
    Garbage,
}

/// A process named by a PID file.
#[derive(Clone, Debug, PartialEq)]
pub struct PidRecord {
    /// Its number.
    pub pid: u32,
    /// Its description, if the second line is JSON.
    pub spec: Option<Value>,
    /// When it started, in seconds since 1970, if the third line says so.
    pub start_unix: Option<i64>,
    /// Its identity, from the third line or from the lock file beside it.
    pub identity: Option<Identity>,
}

/// The third line.
#[derive(Default, Serialize, Deserialize)]
struct Meta {
    #[serde(default)]
    start_unix: Option<i64>,
    #[serde(default)]
    identity: Option<Identity>,
}

/// The largest pid that Linux gives out.
const PID_MAX: u32 = 4_194_304;

impl PidRecord {
    /// Understands the bytes of a PID file: a pid on the first line, whatever on the others.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines().map(str::trim);
        let pid = lines
            .next()?
            .parse()
            .ok()
            .filter(|pid| (1..=PID_MAX).contains(pid))?;
        let spec = lines
            .next()
            .and_then(|line| serde_json::from_str(line).ok());
        let meta: Meta = lines
            .next()
            .and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_default();
        Some(Self {
            pid,
            spec,
            start_unix: meta.start_unix.filter(|at| *at > 0),
            identity: meta.identity,
        })
    }

    /// Tells whether the process lives and is the one meant, as far as the file tells it apart from
    /// a later one with the same number.
    pub fn liveness(&self) -> Liveness {
        if let Some(identity) = &self.identity {
            return identity.liveness();
        }
        let identity = match Identity::of(self.pid) {
            Ok(identity) => identity,
            Err(IdentityError::NotFound { .. }) => {
                return Liveness::Dead {
                    reason: format!("no process has pid {}", self.pid),
                };
            }
            Err(error) => {
                return Liveness::Unknown {
                    reason: error.to_string(),
                };
            }
        };
        match (self.start_unix, start_unix(&identity)) {
            (Some(meant), Some(found)) if meant.abs_diff(found) > 2 => Liveness::Dead {
                reason: format!(
                    "pid {} is another process now, started at {found}",
                    self.pid
                ),
            },
            _ => identity.liveness(),
        }
    }
}

impl Contents {
    fn render(&self, pid: u32) -> String {
        let Self::ThreeLines(spec) = self else {
            return format!("{pid}\n");
        };
        let identity = Identity::of(pid).ok();
        let start_unix = identity.as_ref().and_then(start_unix);
        let meta = serde_json::to_string(&Meta {
            start_unix,
            identity,
        })
        .expect("an identity is numbers and strings");
        format!("{pid}\n{spec}\n{meta}\n")
    }
}

/// Returns the path of the lock beside a PID file.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn acquire_lock(path: &Path) -> Result<LifeLock, PidFileError> {
    LifeLock::acquire(lock_path(path)).map_err(|error| match error {
        LockError::Held(held) => PidFileError::Running {
            pid: held.pid,
            reason: "it holds the lock".to_owned(),
        },
        error => PidFileError::Lock(error),
    })
}

/// Refuses if the file at `path` names a running process; sets garbage aside.
fn make_way(path: &Path) -> Result<Option<SetAside>, PidFileError> {
    let io_error = |source| PidFileError::Io {
        path: path.to_owned(),
        source,
    };
    match PidFile::read(path).map_err(io_error)? {
        ReadPid::Absent => Ok(None),
        ReadPid::Garbage => {
            let reason = "no pid on its first line".to_owned();
            set_aside(&Disk::real(), path, reason)
                .map(Some)
                .map_err(io_error)
        }
        // In a container the pid of the previous life is often our own.
        ReadPid::Record(record) if record.pid == std::process::id() => Ok(None),
        ReadPid::Record(record) => match record.liveness() {
            Liveness::Dead { .. } => Ok(None),
            Liveness::Alive { reason } | Liveness::Unknown { reason } => {
                Err(PidFileError::Running {
                    pid: Some(record.pid),
                    reason,
                })
            }
        },
    }
}

/// Returns the identity of the guard's holder, if the file names the same process.
fn holder_identity(path: &Path, pid: u32) -> Option<Identity> {
    let holder = lock::holder(lock_path(path)).ok()??;
    holder.identity.filter(|identity| identity.pid == pid)
}

/// Returns when a process started, in seconds since 1970, by the kernel's idea of boot time. Moves
/// when the clock is stepped, so it only serves files that know nothing better.
fn start_unix(identity: &Identity) -> Option<i64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let seconds = identity.start_ticks / rustix::param::clock_ticks_per_second();
    i64::try_from(boot + seconds).ok()
}
