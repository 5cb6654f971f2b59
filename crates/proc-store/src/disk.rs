//! The few file operations that everything here is made of, with a seam for faults.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::faults::{Fault, FaultPlan, Op};

/// How state reaches the disk: plainly, or through a [`FaultPlan`] in tests.
///
/// Cheap to clone; clones share the plan. Each operation retries when it is interrupted by a
/// signal (EINTR) and never follows a symbolic link in the last component of its path.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    faults: Option<FaultPlan>,
}

impl Disk {
    /// Returns the real disk.
    pub fn real() -> Self {
        Self::default()
    }

    /// Returns the real disk with the faults of `plan` in front of it.
    pub fn faulty(plan: FaultPlan) -> Self {
        Self { faults: Some(plan) }
    }

    /// Creates `path`, which must not exist, for writing; its mode is exactly `mode`.
    pub(crate) fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
        self.step(Op::Create, || {
            let file = options()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(path)?;
            // The umask may have taken bits away.
            file.set_permissions(Permissions::from_mode(mode))?;
            Ok(file)
        })
    }

    /// Opens `path` for reading and writing, creating it if needed.
    pub(crate) fn open_or_create(&self, path: &Path, mode: u32) -> io::Result<File> {
        self.step(Op::Open, || {
            options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(mode)
                .open(path)
        })
    }

    /// Opens `path` for reading, if it is a regular file.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        self.step(Op::Open, || regular(options().read(true).open(path)?))
    }

    /// Opens `path` for appending, if it is a regular file.
    pub(crate) fn append(&self, path: &Path) -> io::Result<File> {
        self.step(Op::Open, || {
            regular(options().read(true).append(true).open(path)?)
        })
    }

    /// Reads all of `path`, if it is a regular file of at most `limit` bytes.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        self.step(Op::Read, || {
            let mut bytes = Vec::new();
            (&file)
                .take(limit.saturating_add(1))
                .read_to_end(&mut bytes)?;
            match bytes.len() as u64 > limit {
                true => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
                false => Ok(bytes),
            }
        })
    }

    /// Writes all of `bytes` at the file's position. On failure a part may have been written.
    pub(crate) fn write_all(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.fault(Op::Write) {
                Some(Fault::Errno(errno)) if errno == rustix::io::Errno::INTR.raw_os_error() => {}
                Some(fault) => {
                    // The kernel wrote what fitted; a process killed here wrote half a line.
                    file.write_all(&bytes[..bytes.len() / 2])?;
                    return Err(fault.into_error());
                }
                None => return file.write_all(bytes),
            }
        }
    }

    /// Flushes data and metadata of `file` to the medium.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.step(Op::Sync, || file.sync_all())
    }

    /// Flushes the entries of the directory `dir` to the medium.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Op::Sync, || match File::open(dir)?.sync_all() {
            // Some file systems cannot sync a directory and need not.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            done => done,
        })
    }

    /// Renames within a file system, replacing `to`.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Op::Rename, || std::fs::rename(from, to))
    }

    /// Removes a file; a missing one is fine.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(Op::Remove, || match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        })
    }

    /// Cuts `file` to `len` bytes.
    pub(crate) fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        self.step(Op::Truncate, || file.set_len(len))
    }

    /// Runs one operation behind the plan, again when interrupted.
    fn step<T>(&self, op: Op, mut run: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            let result = match self.fault(op) {
                Some(fault) => Err(fault.into_error()),
                None => run(),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn fault(&self, op: Op) -> Option<Fault> {
        self.faults.as_ref()?.next(op)
    }
}

/// Close-on-exec (std's default), no symbolic link, and no waiting for the other end of a FIFO.
fn options() -> OpenOptions {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.custom_flags(i32::try_from(flags.bits()).expect("open flags fit an int"));
    options
}

/// Refuses what is no regular file: a FIFO would hang and a device never ends.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file",
    ))
}
