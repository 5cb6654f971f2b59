//! What the backend asks of an instance's task, and what a task waits for.

use proc_core::{Signal, StopReport, StopSequence};
use tokio::sync::oneshot;

use crate::backend::SignalTarget;
use crate::error::{AdoptError, OperateError, StartError};
use crate::spec::InstanceSpec;
use crate::status::{Adopted, InstanceStatus, Started};

pub(super) type Done<T, E> = oneshot::Sender<Result<T, E>>;

/// One request of a supervisor.
#[derive(Debug)]
pub(super) enum Command {
    Start(Box<InstanceSpec>, Done<Started, StartError>),
    Stop(StopSequence, Done<StopReport, OperateError>),
    Signal(Signal, SignalTarget, Done<(), OperateError>),
    Status(Done<InstanceStatus, OperateError>),
    Adopt(Done<Option<Adopted>, AdoptError>),
    Acknowledge(u64, Done<(), OperateError>),
    StdinWrite(Vec<u8>, Done<(), OperateError>),
    StdinClose(Done<(), OperateError>),
    Resize(u16, u16, Done<(), OperateError>),
    RotateLog(Done<(), OperateError>),
    SetDie(bool, Done<(), OperateError>),
    Forget(Done<(), OperateError>),
    Follow(u64, Option<u32>, Done<Started, OperateError>),
}

/// Who waits for an answer of the shim.
#[derive(Debug)]
pub(super) enum Pending {
    /// The greeting of a shim that we started.
    Hello,
    Start(Box<InstanceSpec>, Done<Started, StartError>),
    /// The sequence is kept: a stop survives the loss of the shim.
    Stop(StopSequence, Done<StopReport, OperateError>),
    Status(Done<InstanceStatus, OperateError>),
    Plain(&'static str, Done<(), OperateError>),
    /// A piece of standard input; the last piece of a write has its asker.
    Input(&'static str, Option<Done<(), OperateError>>),
    /// The greeting of a shim of an earlier supervisor, with what was noticed before.
    Adopt(Done<Option<Adopted>, AdoptError>, Vec<String>),
    Forget(Done<(), OperateError>),
    /// The descriptors of a service that an earlier supervisor started: only with them it is
    /// adopted, because the shim may be lost right after.
    Fds(Done<Option<Adopted>, AdoptError>, Vec<String>),
    Follow(Done<Started, OperateError>),
    /// A replacement takes the service over.
    TakeOver,
    /// Nobody.
    Nobody,
}
