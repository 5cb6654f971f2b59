//! HTTP and JSON over a private Unix socket: the server inside the supervisor and its client.
//!
//! For programs that command a running project: `proc`'s own verbs, dashboards, agents. A
//! supervisor calls [`Server::start`] with its handle; everybody else makes a [`Client`] for the
//! project's runtime directory. The routes are plain HTTP/1.1, so
//! `curl --unix-socket …/control.sock http://proc/v1/status` works as well.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use proc_api::{Client, ClientError};
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let status = runtime.block_on(Client::new("/nonexistent".as_ref()).status());
//! assert!(matches!(status, Err(ClientError::NoSupervisor)));
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//!
//! The socket has mode 0600, and the kernel's word on the peer's user id decides: the supervisor's
//! own or root. A request head holds 16 KiB, a body 1 MiB, either may take 10 s, and 1,024
//! connections may be open; what goes beyond is answered with a 4xx.
//!
//! # Limitations
//!
//! Unix sockets only: there is no TCP listener and no TLS.

#![forbid(unsafe_code)]

mod body;
mod client;
mod comeback;
mod limits;
mod peer;
mod problem;
mod routes;
mod server;
mod socket;
mod sys;
mod wire;

pub use client::{Client, ClientError, Events};
pub use comeback::Starters;
pub use problem::Problem;
pub use server::Server;
pub use wire::{
    Applied, ConfigRequest, Info, Named, NoOptions, ResizeRequest, ScaleRequest, SendRequest,
    SignalRequest, WaitRequest,
};

/// The name of the control socket in a project's runtime directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
