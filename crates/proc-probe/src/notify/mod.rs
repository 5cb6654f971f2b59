//! Readiness said by the service itself: `sd_notify(3)` messages, and a newline on a descriptor.

mod fd_store;
mod message;
mod newline;
mod socket;
mod state;
mod sys;

pub use fd_store::{FD_STORE_MAX, FdStore};
pub use message::{Message, WatchdogPing};
pub use newline::NotifyFd;
pub use socket::{Notification, NotifyError, NotifySocket};
pub use state::{NotifyChange, NotifyState};
