//! Running a command again when it failed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use proc_policy::{Counters, Decision, ExitFacts, Jitter, Mode, RestartPolicy};
use tokio::time::{Instant, sleep};

use crate::cancel::Fuse;
use crate::run::{Finished, Run, RunError};
use crate::supervise::Cause;

/// How a command that was run again and again went.
#[derive(Debug, Clone)]
pub struct Repeated {
    /// How often it ran.
    pub runs: u32,
    /// How the last run went.
    pub last: Finished,
    /// Why it was not run again.
    pub reason: String,
}

impl Run {
    /// Returns a policy that runs a command again after each failure, always after `interval`, at
    /// most `limit` times; `None` is no limit.
    #[must_use]
    pub fn on_error(limit: Option<u32>, interval: Duration) -> RestartPolicy {
        RestartPolicy {
            mode: Mode::OnFailure,
            max: limit,
            startup_max: None,
            startup_grace: Duration::ZERO,
            initial_delay: interval,
            max_delay: interval,
            factor: 1.0,
            jitter: Jitter::None,
            reset_after: None,
            crash_loop: None,
            ..RestartPolicy::default()
        }
    }

    /// Runs it as often as `policy` says, until `cancelled` is done. `on_end` is shown each run.
    ///
    /// # Errors
    /// See [`Run::run`]: what cannot be run at all is not tried again.
    pub async fn run_repeatedly(
        &self,
        policy: &RestartPolicy,
        cancelled: impl Future<Output = ()>,
        mut on_end: impl FnMut(u32, &Finished),
    ) -> Result<Repeated, RunError> {
        let (begin, mut counters) = (Instant::now(), Counters::default());
        let mut runs = 0;
        let mut cancelled = Fuse::new(cancelled);
        loop {
            let last = self.run_until(&mut cancelled).await?;
            runs += 1;
            on_end(runs, &last);
            if last.cause == Cause::Cancelled {
                return Ok(Repeated {
                    runs,
                    last,
                    reason: "cancelled".to_owned(),
                });
            }
            let facts = facts(&last);
            let now = begin.elapsed();
            match policy.on_exit(&mut counters, &facts, now, random()) {
                Decision::Stay { reason, .. } => return Ok(Repeated { runs, last, reason }),
                Decision::Restart { delay, .. } => tokio::select! {
                    biased;
                    () = &mut cancelled => {
                        return Ok(Repeated { runs, last, reason: "cancelled".to_owned() });
                    }
                    () = sleep(delay) => {}
                },
            }
        }
    }
}

fn facts(finished: &Finished) -> ExitFacts {
    let mut facts = match (finished.end.code(), finished.end.signal()) {
        (Some(code), _) => ExitFacts::exited(code, finished.duration),
        (None, signal) => {
            ExitFacts::signaled(signal.map_or(0, |signal| signal.raw()), finished.duration)
        }
    };
    facts.timed_out = finished.timed_out();
    facts
}

/// A number from 0 to 1 for jitter, which needs to differ between processes and nothing more.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}
