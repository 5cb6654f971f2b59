//! How a daemon ended.

use std::fmt;
use std::time::Duration;

/// How a daemon ended. It holds nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether the drain was done in time.
    pub drained: bool,
    /// What else went wrong, one line each.
    pub problems: Vec<String>,
    /// How long it took in all.
    pub took: Duration,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.drained {
            "drained"
        } else {
            "not drained in time"
        };
        write!(f, "stopped in {:.3}s, {how}", self.took.as_secs_f64())?;
        for problem in &self.problems {
            write!(f, "; {problem}")?;
        }
        Ok(())
    }
}
