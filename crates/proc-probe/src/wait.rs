//! Waiting until something answers, for scripts and daemons that start one another.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::check::ProbeContext;
use crate::evidence::Evidence;
use crate::probe::Probe;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until the probe passes or `limit` is over, and returns what was seen last; it looks at
/// least once, and never longer than `limit` plus nothing: the last look is cut short.
///
/// Only the kind and the timeout of the probe count.
pub async fn wait_for(probe: &Probe, context: &ProbeContext, limit: Duration) -> Evidence {
    let begin = Instant::now();
    let mut last: Option<Evidence> = None;
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        // A look needs some time even when none is allowed, or nothing could ever pass.
        let timeout = probe.timeout.min(left.max(Duration::from_millis(50)));
        let look = Probe {
            timeout,
            ..probe.clone()
        };
        let seen = look.check(context).await;
        let left = limit.saturating_sub(begin.elapsed());
        if seen.passed {
            return seen;
        }
        // A look cut short by the end knows less than the one before it.
        let cut_short = left.is_zero() && timeout < probe.timeout;
        if last.is_none() || !cut_short {
            last = Some(seen);
        }
        if left.is_zero() {
            return last.expect("set above");
        }
        sleep(PAUSE.min(left)).await;
    }
}
