//! Readiness, liveness and startup probes, detectors, sd_notify and a health server.

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
