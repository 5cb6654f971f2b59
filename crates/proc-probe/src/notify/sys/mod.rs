//! Sockets that tell who sent each message, where the system has them.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(super) use linux::{abstract_address, bound, receive_now};

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
pub(super) use macos::{abstract_address, bound, receive_now};
