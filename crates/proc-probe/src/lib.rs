//! Asking services how they are, and listening to what they say: probes, detectors, `sd_notify`,
//! and a health server.
//!
//! For supervisors, deploy tools and daemons that must know when something is ready, alive or has
//! started.
//!
//! A [`Probe`] is plain data: what is looked at ([`ProbeKind`]), how often, and how many answers in
//! a row count. [`Probe::check`] looks once and returns [`Evidence`]; [`wait_for`] looks until it
//! passes. A [`ProbeTask`] looks beside a service and reports each [`Change`]; its counting,
//! [`ProbeState`], is pure. [`NotifySocket`] and [`NotifyFd`] receive what services say themselves,
//! [`NotifyState`] folds it. A [`Detector`] finds out whether a service somebody else started
//! lives. [`HealthServer`] is the other side: it answers `/health` and `/ready`.
//!
//! ```
//! use std::time::Duration;
//! use proc_probe::{HealthServer, HttpProbe, Probe, ProbeContext, ProbeKind, Role, wait_for};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let health = HealthServer::new()
//!     .check("disk", Duration::from_secs(1), || async { Ok(()) })
//!     .listen("127.0.0.1:0")
//!     .await?;
//! health.set_ready(true);
//!
//! let url = format!("http://{}/ready", health.address()).parse()?;
//! let probe = Probe::new(Role::Ready, ProbeKind::Http(HttpProbe::new(url)));
//! let seen = wait_for(&probe, &ProbeContext::default(), Duration::from_secs(10)).await;
//! assert!(seen.passed, "{seen}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limitations
//!
//! * HTTP is HTTP/1.1 in the clear, one GET a connection, redirects not followed; `https` is
//!   refused with the hint to use an `exec` probe.
//! * Bodies are matched in their first 1 MiB.
//! * A notification whose sender has ended before it is received may be refused: its pid names
//!   nobody. `systemd-notify` waits for a barrier for that reason.

#![forbid(unsafe_code)]

mod address;
mod check;
mod command;
mod connect;
mod detector;
mod evidence;
mod health;
mod http;
mod notify;
mod pattern;
mod probe;
mod state;
mod task;
mod wait;

pub use address::{Address, AddressError, HttpUrl};
pub use check::ProbeContext;
pub use detector::{Detection, Detector};
pub use evidence::{Evidence, MAX_DETAIL};
pub use health::{Health, HealthError, HealthServer};
pub use notify::{
    FD_STORE_MAX, FdStore, Message, Notification, NotifyChange, NotifyError, NotifyFd,
    NotifySocket, NotifyState, WatchdogPing,
};
pub use pattern::{Pattern, PatternError};
pub use probe::{HttpProbe, Probe, ProbeKind, Role};
pub use state::{Change, ProbeState};
pub use task::{ProbeEvent, ProbeTask};
pub use wait::wait_for;

pub use proc_core::block_on;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
