//! Ending processes: which signals when, by which means, and what was left.

mod blocking;
mod driver;
mod report;
mod sequence;
mod target;
mod walk;

pub use blocking::{StopOptions, run as run_stop, stop_tree};
pub use driver::{Next, StopDriver};
pub use report::{Mechanism, StopReport, Survivor};
pub use sequence::{ParseStopError, StopSequence, StopStep};
pub use target::{Scope, StopTarget};
