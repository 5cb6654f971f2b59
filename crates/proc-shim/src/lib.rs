//! The small parent of one service: reaps it, keeps its exit code and its log, and outlives the supervisor.

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
mod socket;
#[expect(
    unsafe_code,
    reason = "signals, fork and exec have no safe form; each block says why it is sound"
)]
mod sys;
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
pub use wire::{DecodeError, MAX_FRAME};
