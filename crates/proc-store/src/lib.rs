//! State that survives anything: atomic files, life-long locks, PID files, a daemon registry and an
//! event journal.
//!
//! For any daemon that keeps small state and must find it whole after a crash, a full disk or an
//! upgrade. Not for much data or many writers: a record is one small file, a journal has one writer.
//!
//! * [`atomic::write()`] replaces a file; a reader sees the old content or the new.
//! * [`LifeLock`] says who is the one; [`PidFile`] does so for tools that read PID files.
//! * [`Record`]s are versioned JSON files; what cannot be read is set aside, never deleted.
//! * [`Keeper`] writes them as soon as a failing disk lets it.
//! * [`Journal`] numbers events without gap or repetition, over restarts and full disks.
//! * [`StateDir`] and [`dirs`] say where it all lives, [`Registry`] which daemons run.
//!
//! ```
//! use proc_store::{LockError, StateDir};
//!
//! let dir = tempfile::tempdir()?;
//! let state = StateDir::open(dir.path().join("shop"))?;
//! let lock = state.lock()?;
//! match state.lock() {
//!     Err(LockError::Held(held)) => assert_eq!(held.pid, Some(std::process::id())),
//!     _ => panic!("one holder at a time"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limitations
//! Locks are `flock(2)`: between machines that share a file system they are as good as that file
//! system's. Journal lines reach the kernel before they are reported, but the medium only when
//! [`Journal::sync`] is called: a killed process loses nothing, a loss of power may lose the end.

#![forbid(unsafe_code)]

pub mod atomic;
pub mod dirs;
mod disk;
mod faults;
pub mod journal;
mod keeper;
pub mod lock;
pub mod pidfile;
pub mod record;
mod registry;
mod statedir;
mod sys;

pub use atomic::WriteError;
pub use disk::Disk;
pub use faults::{Fault, FaultPlan, Op};
pub use journal::{
    AppendError, Entry, Follower, Journal, JournalOptions, Repairs, Since, read_since,
};
pub use keeper::{Keeper, errno_name};
pub use lock::{Held, Holder, LifeLock, LockError};
pub use pidfile::{Contents, PidFile, PidFileError, PidRecord, ReadPid};
pub use record::{Found, Read, Record, SetAside};
pub use registry::{Daemon, Listing, RegisterError, Registration, Registry};
pub use statedir::StateDir;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
