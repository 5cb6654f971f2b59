//! What happens to managed processes, for whoever subscribes.

use std::sync::Arc;

use crate::managed::info::{Id, Info};
use crate::supervise::Stream;

/// A line of output, or a part of one that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The bytes, without the newline.
    pub bytes: Arc<[u8]>,
    /// Whether a newline came; without one it is a part of a line that was too long, or the last.
    pub complete: bool,
}

/// Something that happened; for one process always in this order.
#[derive(Debug, Clone)]
pub enum Event {
    /// It was started.
    Started(Arc<Info>),
    /// It wrote a line.
    Output {
        /// Which one.
        id: Id,
        /// Where to.
        stream: Stream,
        /// What.
        line: Line,
    },
    /// A signal ended it; [`Event::Exited`] follows.
    Killed {
        /// Which one.
        id: Id,
        /// The signal's number.
        signal: i32,
    },
    /// It has ended, or could not be started.
    Exited(Arc<Info>),
}
