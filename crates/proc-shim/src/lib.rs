//! The small parent of one service: reaps it, keeps its exit code and its log, and outlives the supervisor.
//!
//! For supervisors, and for programs that run one command and must not lose it. [`main`] is the shim itself;
//! [`ShimProcess`] starts one and [`Client`] talks to it, blocking. A runtime drives a [`Channel`] instead.
//! [`ShimRecord`], [`RunRecord`] and [`ExitRecord`] are what a shim leaves on disk.
//!
//! ```
//! use proc_shim::{Framer, Request, decode_request, encode_request};
//!
//! let mut framer = Framer::new();
//! framer.push(&encode_request(1, &Request::Status).encode()?);
//! let frame = framer.take()?.expect("a whole frame was pushed");
//! assert_eq!(decode_request(&frame)?, Request::Status);
//! # Ok::<(), proc_shim::DecodeError>(())
//! ```
//!
//! **Limitations.** Linux, and macOS, where nothing of it has run: orphans go to launchd there, so the tree of a service is found by
//! group, session and parents, a stop of it is best effort and its report says so. A replacement for a lost shim is not the parent of its service: it learns the exit
//! code from the kernel, where that tells others, and without a cgroup it stops by best effort.

#![deny(unsafe_code)]

mod channel;
mod client;
mod codec;
mod frame;
mod init;
mod message;
mod program;
mod records;
mod server;
mod slots;
mod socket;
#[expect(
    unsafe_code,
    reason = "signals, fork and exec have no safe form; each block says why it is sound"
)]
mod sys;
mod unstored;
mod wire;

pub use channel::{Channel, Received};
pub use client::{Client, FIRST_ID, LaunchOptions, ShimProcess, next_incoming};
pub use codec::{decode_incoming, decode_request, encode_notice, encode_reply, encode_request};
pub use frame::{Frame, Framer, VERSION};
pub use init::{InitOptions, UsageError, main as init_main, run as run_init};
pub use message::{
    AdoptSpec, Exited, Failure, FailureKind, FdSet, Incoming, Notice, Output, Reply, Request,
    Respawn, Role, Running, Snapshot, StartSpec, Stdin, Target, Terms,
};
pub use program::{HIDDEN_VERB, ShimProgram};
pub use records::{ExitRecord, RecordError, RunRecord, ShimRecord};
pub use server::main;
pub use socket::connect_to;
pub use unstored::{KEPT_EXITS, Unstored};
pub use wire::{DecodeError, MAX_FRAME};
