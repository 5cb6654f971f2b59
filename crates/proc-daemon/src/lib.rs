//! What a daemon holds for its life: PID file, health server and registry entry, taken in order and
//! given back in order.
//!
//! For any program that runs for long and of which there shall be one. It does not fork: a daemon
//! is started by something that keeps it, such as `proc up -d` or systemd.
//!
//! A [`Daemon`] says what to hold; [`Daemon::start`] takes all of it or nothing. The [`Running`] is
//! ended by [`Running::stop`] in the one order in which nobody is sent to somebody who is gone, and
//! no second one starts beside the first: not ready, unregistered, drained, health off, lock
//! released. [`terminated`] is the usual moment to begin with that.
//!
//! ```
//! use proc_daemon::{Daemon, HealthServer, StartError};
//!
//! # let dir = tempfile::tempdir()?;
//! let pid_file = dir.path().join("worker.pid");
//! proc_daemon::block_on(async {
//!     let daemon = Daemon::new("worker")
//!         .pid_file(&pid_file)
//!         .health("127.0.0.1:0", HealthServer::new())
//!         .registry(dir.path().join("registry"))
//!         .start()
//!         .await?;
//!     daemon.set_ready(true);
//!
//!     let second = Daemon::new("worker").pid_file(&pid_file).start().await;
//!     assert!(matches!(second, Err(StartError::PidFile(_))));
//!
//!     let stopped = daemon.stop(async { /* finish what is in hand */ }).await;
//!     assert!(stopped.drained && stopped.problems.is_empty());
//!     assert!(!pid_file.exists());
//!     Ok::<(), StartError>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limitations
//! A health server answers with plain HTTP and to whoever reaches its address.

#![forbid(unsafe_code)]

mod daemon;
mod entry;
mod error;
mod running;
mod stopped;
mod terminated;

pub use daemon::{DEFAULT_STOP_TIMEOUT, Daemon};
pub use error::StartError;
pub use running::Running;
pub use stopped::Stopped;
pub use terminated::{Termination, terminated};

pub use proc_core::{Signal, block_on};
pub use proc_probe::{HealthError, HealthServer};
pub use proc_store::{Contents, PidFile, PidFileError, Registration, Registry};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
