//! How long the k-th restart in a row waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::{format_duration, format_number, scale};
use crate::{ExitFacts, RestartPolicy};

/// How delays grow with the number of restarts in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// `initial_delay * factor^(k-1)`.
    #[default]
    Exponential,
    /// `initial_delay * k`, as supervisord.
    Linear,
    /// In so many equal ratios from `initial_delay` to `max_delay`, as systemd's
    /// `RestartSteps`; 0 stays at `initial_delay`.
    Stepped(u32),
    /// Exponential, each delay cut to whole milliseconds before the next is computed, as pm2.
    Floored,
    /// Two starts are at least `initial_delay` apart, however often, as s6.
    Spacing,
}

/// A delay and the words for it.
pub(crate) struct Wait {
    pub(crate) delay: Duration,
    pub(crate) arithmetic: String,
}

impl RestartPolicy {
    /// Returns the delay before jitter of the `k`-th restart in a row (from 1).
    ///
    /// Never decreases with `k`, and never exceeds `max_delay`. For [`Growth::Spacing`] this is the
    /// delay after a run of no length.
    pub fn base_delay(&self, k: u32) -> Duration {
        self.raw_delay(k).min(self.max_delay)
    }

    /// Returns the delay of the `k`-th restart (from 1) with jitter by `random` (0 to 1).
    pub fn delay(&self, k: u32, random: f64) -> Duration {
        self.jitter.apply(self.base_delay(k), random)
    }

    /// Returns the shortest and longest delay that the `k`-th restart (from 1) can have.
    pub fn delay_bounds(&self, k: u32) -> (Duration, Duration) {
        self.jitter.bounds(self.base_delay(k))
    }

    /// Returns the wait after `exit`, which is the `k`-th restart in a row.
    pub(crate) fn wait(&self, exit: &ExitFacts, failed_start: bool, k: u32, random: f64) -> Wait {
        if let Some(delay) = self.retry_delay.filter(|_| failed_start) {
            return fixed(delay, "after a startup failure");
        }
        if let Some(delay) = self.runtime_delay.filter(|_| !self.is_startup(exit)) {
            return fixed(delay, "after a run that came up");
        }
        if k <= self.immediate {
            return fixed(Duration::ZERO, "the first is immediate");
        }
        let base = self.after_run(exit.runtime, k);
        let formula = self.formula(exit.runtime, k);
        Wait {
            delay: self.jitter.apply(base, random),
            arithmetic: format!(
                "{formula} = {}{}",
                format_duration(base),
                self.jitter.arithmetic(base, random)
            ),
        }
    }

    /// Returns the capped delay, less the run itself where starts are merely spaced.
    fn after_run(&self, runtime: Duration, k: u32) -> Duration {
        match self.growth {
            Growth::Spacing => self.base_delay(k).saturating_sub(runtime),
            _ => self.base_delay(k),
        }
    }

    /// Returns the delay before the cap.
    fn raw_delay(&self, k: u32) -> Duration {
        let Some(n) = k.checked_sub(self.immediate.saturating_add(1)) else {
            return Duration::ZERO;
        };
        match self.growth {
            Growth::Exponential => scale(self.initial_delay, self.sane_factor().powf(f64::from(n))),
            Growth::Linear => self.initial_delay.saturating_mul(n.saturating_add(1)),
            Growth::Stepped(steps) => self.stepped(n, steps),
            Growth::Floored => self.floored(n),
            Growth::Spacing => self.initial_delay,
        }
    }

    /// Returns systemd's delay after `n` earlier restarts.
    fn stepped(&self, n: u32, steps: u32) -> Duration {
        if steps == 0 || self.initial_delay.is_zero() || self.max_delay <= self.initial_delay {
            return self.initial_delay;
        }
        if n >= steps {
            return self.max_delay;
        }
        let ratio = self.max_delay.as_secs_f64() / self.initial_delay.as_secs_f64();
        scale(
            self.initial_delay,
            ratio.powf(f64::from(n) / f64::from(steps)),
        )
    }

    /// Returns pm2's delay after `n` earlier restarts, by its own recursion.
    fn floored(&self, n: u32) -> Duration {
        let mut delay = self.initial_delay;
        for _ in 0..n {
            if delay >= self.max_delay {
                return self.max_delay;
            }
            let next = scale(delay, self.sane_factor());
            let whole = u64::try_from(next.as_millis()).map_or(next, Duration::from_millis);
            if whole <= delay {
                return delay;
            }
            delay = whole;
        }
        delay
    }

    /// Returns the factor, held to what [`RestartPolicy::validate`] accepts.
    fn sane_factor(&self) -> f64 {
        if self.factor.is_finite() {
            self.factor.max(1.0)
        } else {
            1.0
        }
    }

    /// Returns the formula with its numbers filled in.
    fn formula(&self, runtime: Duration, k: u32) -> String {
        let initial = format_duration(self.initial_delay);
        let n = k.saturating_sub(self.immediate.saturating_add(1));
        let factor = format_number(self.sane_factor());
        let grown = match self.growth {
            Growth::Exponential => format!("{initial} x {factor}^{n}"),
            Growth::Linear => format!("{initial} x {}", n.saturating_add(1)),
            Growth::Stepped(0) => return format!("delay {initial}"),
            Growth::Stepped(steps) => format!("step {n} of {steps} from {initial}"),
            Growth::Floored => format!("{initial} x {factor}^{n} in whole ms"),
            Growth::Spacing => return format!("max(0s, {initial} - {})", format_duration(runtime)),
        };
        if self.max_delay == Duration::MAX {
            return grown;
        }
        format!("min({}, {grown})", format_duration(self.max_delay))
    }
}

/// Returns a delay that no formula was needed for.
fn fixed(delay: Duration, why: &str) -> Wait {
    Wait {
        delay,
        arithmetic: format!("fixed {} ({why})", format_duration(delay)),
    }
}
