//! One at a time: a name that only one holder has, over threads and processes.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// The longest name, in bytes.
const MAX_NAME: usize = 120;

/// A directory of names of which each can be held once.
///
/// A name is a lock on a file, which the system releases when its holder ends, however it ends:
/// there is nothing to clean up and nothing to check first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusive {
    dir: PathBuf,
}

/// A held name; dropping it gives it back, whoever else has its descriptor.
#[derive(Debug)]
#[must_use = "dropping it gives the name back"]
pub struct Held {
    name: String,
    file: Arc<OwnedFd>,
}

/// A name could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExclusiveError {
    /// Somebody else has it.
    #[error("`{name}` is already running{}", by(.pid))]
    AlreadyRunning {
        /// The name.
        name: String,
        /// Who has it, if it has said so yet.
        pid: Option<u32>,
    },
    /// The name is empty or longer than 120 bytes.
    #[error("`{0}` is not a name to hold: it must have 1 to {MAX_NAME} bytes")]
    Name(String),
    /// The directory belongs to somebody else, so its locks prove nothing.
    #[error("directory `{}` is not ours alone", .0.display())]
    Directory(PathBuf),
    /// The lock could not be made.
    #[error("cannot lock `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn by(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

impl Exclusive {
    /// Uses a directory; it is made, for its owner alone, when the first name is taken.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Exclusive { dir: dir.into() }
    }

    /// Uses a directory of this user's own for temporary things: below `runtime_dir` (what
    /// `XDG_RUNTIME_DIR` names) if there is one, else `/run` for root, else `/tmp`.
    #[must_use]
    pub fn of_user(runtime_dir: Option<&Path>) -> Self {
        let uid = rustix::process::geteuid();
        Exclusive::new(match runtime_dir {
            Some(dir) => dir.join("proc-exclusive"),
            None if uid.is_root() => PathBuf::from("/run/proc-exclusive"),
            None => PathBuf::from(format!("/tmp/proc-exclusive-{}", uid.as_raw())),
        })
    }

    /// Takes a name if nobody has it; never waits.
    ///
    /// # Errors
    /// Says who has it, or why the lock cannot be made.
    pub fn take(&self, name: &str) -> Result<Held, ExclusiveError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(ExclusiveError::Name(name.to_owned()));
        }
        self.own_directory()?;
        let path = self.dir.join(format!("{}.lock", escaped(name)));
        let wrap = |source| ExclusiveError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(wrap)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (name, pid) = (name.to_owned(), holder(&mut file));
                return Err(ExclusiveError::AlreadyRunning { name, pid });
            }
            Err(TryLockError::Error(source)) => return Err(wrap(source)),
        }
        // Only a courtesy to the next one's message: the lock alone decides.
        let _courtesy = file
            .set_len(0)
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Held {
            name: name.to_owned(),
            file: Arc::new(file.into()),
        })
    }

    fn own_directory(&self) -> Result<(), ExclusiveError> {
        let wrap = |source| ExclusiveError::Io {
            path: self.dir.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(wrap)?;
        let meta = std::fs::metadata(&self.dir).map_err(wrap)?;
        let ours = meta.uid() == rustix::process::geteuid().as_raw();
        if !ours || meta.mode() & 0o022 != 0 {
            return Err(ExclusiveError::Directory(self.dir.clone()));
        }
        Ok(())
    }
}

impl Held {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the descriptor that has the lock: a process with a copy of it has the name when this one was killed.
    pub(crate) fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.file)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing is not enough: what was started in the background may have a copy, and outlive us by intention.
        _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes a file name of any name, different ones for different names.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    name.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02x}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let names = Exclusive::new(dir.path().join("locks"));
        let held = names.take("a/b").unwrap();
        let refused = names.take("a/b").unwrap_err();
        let own = std::process::id();
        assert_eq!(
            refused.to_string(),
            format!("`a/b` is already running (pid {own})")
        );
        drop(names.take("a%2fb").expect("another name is another lock"));
        drop(held);
        drop(names.take("a/b").unwrap());
        assert!(matches!(names.take(""), Err(ExclusiveError::Name(_))));
    }

    #[test]
    fn exclusive_run_under_a_thousand_racing_callers() {
        // K20, the half over threads; the half over processes is a test of its own.
        use std::sync::atomic::{AtomicU32, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let names = Exclusive::new(dir.path());
        let (won, lost) = (AtomicU32::new(0), AtomicU32::new(0));
        let done = std::sync::Barrier::new(100);
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    let mut kept = None;
                    for _ in 0..10 {
                        match names.take("one") {
                            Ok(held) => {
                                won.fetch_add(1, Ordering::Relaxed);
                                kept = Some(held);
                            }
                            Err(ExclusiveError::AlreadyRunning { .. }) => {
                                lost.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                    done.wait();
                    drop(kept);
                });
            }
        });
        assert_eq!((won.into_inner(), lost.into_inner()), (1, 999));
    }
}
