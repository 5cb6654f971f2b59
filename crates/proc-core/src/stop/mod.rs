//! Ending processes: which signals when, by which means, and what was left.

mod report;
mod sequence;

pub use report::{Mechanism, StopReport, Survivor};
pub use sequence::{ParseStopError, StopSequence, StopStep};
