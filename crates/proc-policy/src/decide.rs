//! The decision itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::format_duration;
use crate::{Counters, ExitFacts, RestartPolicy, Verdict};

/// What follows an exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Start it again.
    Restart {
        /// How long to wait first.
        delay: Duration,
        /// Which restart in a row this is, from 1.
        attempt: u32,
        /// How the delay came about, for people.
        arithmetic: String,
    },
    /// Leave it down.
    Stay {
        /// Whether it ended by itself or was given up.
        state: StayState,
        /// Why, for people.
        reason: String,
        /// Where given up and a cool-down is set: clear the counters and start it after so long.
        retry_in: Option<Duration>,
    },
}

/// How a service stays down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StayState {
    /// Ended, and the policy asks for no restart.
    Exited,
    /// Given up: a budget is used up.
    Failed,
}

impl RestartPolicy {
    /// Decides what follows `exit` and counts it.
    ///
    /// `now` is the time since the epoch that `counters` keeps to; `random` is a number from 0 to
    /// 1. Exits that are not restarted by mode, filter or request change no budget.
    pub fn on_exit(
        &self,
        counters: &mut Counters,
        exit: &ExitFacts,
        now: Duration,
        random: f64,
    ) -> Decision {
        counters.clamp(now);
        if let Some(reason) = self.stays_down(exit) {
            return Decision::Stay {
                state: StayState::Exited,
                reason,
                retry_in: None,
            };
        }
        if self
            .reset_after
            .is_some_and(|after| exit.healthy() >= after)
        {
            counters.clear();
        }
        let verdict = self.judge(exit);
        if let Some(reason) = self.failures_exhausted(counters, exit, verdict, now) {
            return self.give_up(reason);
        }
        self.restart(counters, exit, verdict, now, random)
    }

    /// Returns why `exit` is not followed by a restart whatever the budgets, if so.
    fn stays_down(&self, exit: &ExitFacts) -> Option<String> {
        let how = exit.describe();
        if exit.stop_requested {
            return Some(format!("{how}, stopped on request"));
        }
        if let Some(entry) = self.no_restart_on.iter().find(|entry| entry.matches(exit)) {
            return Some(format!("{how}, `no_restart_on` names {entry}"));
        }
        if self.mode.restarts(self.judge(exit)) {
            return None;
        }
        Some(format!("{how}, restart mode is `{}`", self.mode))
    }

    /// Counts a failure and returns which failure budget it used up, if any.
    fn failures_exhausted(
        &self,
        counters: &mut Counters,
        exit: &ExitFacts,
        verdict: Verdict,
        now: Duration,
    ) -> Option<String> {
        if !self.is_startup(exit) {
            counters.startup_failures = 0;
        }
        let failed_start = self.fails_start(exit, verdict);
        if failed_start {
            counters.startup_failures = counters.startup_failures.saturating_add(1);
        }
        let crash_loop = match verdict {
            Verdict::Clean => None,
            _ => self.crash_looped(counters, now),
        };
        crash_loop.or_else(|| self.startup_exhausted(counters, failed_start))
    }

    /// Notes a crash and returns the reason when the guard trips.
    fn crash_looped(&self, counters: &mut Counters, now: Duration) -> Option<String> {
        let guard = self.crash_loop?;
        let crashes = counters.crash(now, guard.within, guard.count);
        (crashes >= guard.count.max(1)).then(|| {
            format!(
                "crash loop: {crashes} crashes in {}",
                format_duration(guard.within)
            )
        })
    }

    /// Returns the reason when the startup budget is used up.
    fn startup_exhausted(&self, counters: &Counters, failed_start: bool) -> Option<String> {
        let max = self.startup_max.filter(|_| failed_start)?;
        let failures = counters.startup_failures;
        (failures > max).then(|| {
            let grace = format_duration(self.startup_grace);
            format!(
                "failed to start {failures} times in a row (`startup_max` {max}, ended within {grace})"
            )
        })
    }

    /// Restarts, unless `max` is used up.
    fn restart(
        &self,
        counters: &mut Counters,
        exit: &ExitFacts,
        verdict: Verdict,
        now: Duration,
        random: f64,
    ) -> Decision {
        let attempt = counters.attempt.saturating_add(1);
        let failed_start = self.fails_start(exit, verdict);
        let wait = self.wait(exit, failed_start, attempt, random);
        let at = now.saturating_add(wait.delay);
        let counts = verdict != Verdict::Clean || self.count_clean;
        if let Some(reason) = self
            .max_exhausted(counters, exit, now, at)
            .filter(|_| counts)
        {
            return self.give_up(reason);
        }
        if counts {
            self.count_restart(counters, at);
        }
        let ends_row = self.runtime_delay.is_some() && !self.is_startup(exit);
        counters.attempt = if ends_row { 0 } else { attempt };
        Decision::Restart {
            delay: wait.delay,
            attempt,
            arithmetic: wait.arithmetic,
        }
    }

    /// Returns the reason when one more restart at `at` would exceed `max`.
    fn max_exhausted(
        &self,
        counters: &mut Counters,
        exit: &ExitFacts,
        now: Duration,
        at: Duration,
    ) -> Option<String> {
        let max = self.max?;
        let Some(window) = self.window else {
            let used = counters.counted.saturating_add(u32::from(self.count_first));
            return (used >= max)
                .then(|| format!("restarted {} times (`max` {max})", counters.counted));
        };
        if self.count_first && counters.restarts.is_empty() {
            counters.restarted(now.saturating_sub(exit.runtime), max);
        }
        let used = counters.restarts_within(at, window);
        let what = if self.count_first {
            "started"
        } else {
            "restarted"
        };
        (used >= max).then(|| {
            format!(
                "{what} {used} times in {} (`max` {max})",
                format_duration(window)
            )
        })
    }

    /// Counts a restart at `at` against `max`.
    fn count_restart(&self, counters: &mut Counters, at: Duration) {
        counters.counted = counters.counted.saturating_add(1);
        if let (Some(max), Some(_)) = (self.max, self.window) {
            counters.restarted(at, max);
        }
    }

    /// Gives up for `reason`.
    fn give_up(&self, reason: String) -> Decision {
        Decision::Stay {
            state: StayState::Failed,
            reason,
            retry_in: self.cool_down,
        }
    }
}
