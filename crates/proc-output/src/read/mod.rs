//! Reading logs back: all of them, the last of them, and those to come.

mod cursor;
mod entry;
mod follow;
mod locate;
mod merge;
mod reader;
mod segment;
mod stream;
mod verify;

pub use entry::{Entry, Mark, Query};
pub use follow::Follow;
pub use reader::{Entries, LogReader};
pub use verify::Verified;
