//! What the backends of other service managers have in common: how those fail, what is remembered of an instance, the task
//! that follows it, and output that somebody else writes.

mod error;
mod follower;
mod output;
mod record;

pub use error::ManagerError;
pub(crate) use follower::Follower;
pub(crate) use output::Output;
pub(crate) use record::{
    ExitRecord, StartedRecord, read_record, recorded, remove_record, write_record,
};
