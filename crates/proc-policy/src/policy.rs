//! The numbers of a restart policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Counters, ExitFacts, ExitMatch, Growth, Jitter, Mode, Verdict};

/// When to restart, after how long, and when to give up.
///
/// All fields are public; [`RestartPolicy::validate`] tells which values make no sense. In
/// serialised form durations are serde's own; the readable form of a configuration file belongs to
/// whoever reads that file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartPolicy {
    /// Which exits are followed by a restart. Default: on-failure.
    pub mode: Mode,
    /// Restarts allowed since the last reset, or within `window`; `None` is no limit. Default: 10.
    pub max: Option<u32>,
    /// The sliding window of `max`; `None` counts since the last reset. Default: none.
    pub window: Option<Duration>,
    /// Whether restarts after clean exits count against `max` too. Default: no.
    pub count_clean: bool,
    /// Whether the first start counts against `max` too, as systemd's burst does. Default: no.
    pub count_first: bool,
    /// Startup failures in a row that are retried; `None` is no limit. Default: 3.
    pub startup_max: Option<u32>,
    /// An exit sooner than this is a startup failure, under [`Mode::Always`] whatever its code:
    /// what is to run always has not started when it ends at once. Default: 2 s.
    pub startup_grace: Duration,
    /// Whether an exit within `startup_grace` is a failure whatever its code, to the mode and every
    /// other budget too. Default: no.
    pub early_exit_fails: bool,
    /// The delay of the first restart in a row. Default: 500 ms.
    pub initial_delay: Duration,
    /// The longest delay before jitter; [`Duration::MAX`] is no limit. Default: 30 s.
    pub max_delay: Duration,
    /// What each further delay is multiplied by, at least 1. Default: 2.
    pub factor: f64,
    /// How delays grow. Default: exponentially, by `factor`.
    pub growth: Growth,
    /// How many restarts in a row are immediate before the first delay. Default: 0.
    pub immediate: u32,
    /// A fixed delay, without jitter, after startup failures (`start_retry_interval`).
    /// Default: none, the formula holds for them too.
    pub retry_delay: Option<Duration>,
    /// A fixed delay, without jitter, after runs that outlived `startup_grace`; such a run also
    /// ends the row. Default: none, the formula holds for them too.
    pub runtime_delay: Option<Duration>,
    /// How delays are varied. Default: equal.
    pub jitter: Jitter,
    /// Healthy running after which everything is counted anew; `None` is never. Default: 60 s.
    pub reset_after: Option<Duration>,
    /// The crash-loop guard. Default: 5 in 30 s.
    pub crash_loop: Option<CrashLoop>,
    /// The exit codes that are clean, replacing the default `[0]`.
    pub success_codes: Vec<i32>,
    /// The signals, by number, whose deaths are clean. Default: none.
    pub success_signals: Vec<i32>,
    /// Exits that are never followed by a restart. Default: none.
    pub no_restart_on: Vec<ExitMatch>,
    /// After giving up, try afresh after so long; `None` waits for somebody. Default: none.
    pub cool_down: Option<Duration>,
}

/// The crash-loop guard: so many crashes within so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashLoop {
    /// The crash that trips the guard, at least 1.
    pub count: u32,
    /// How far back crashes are counted.
    pub within: Duration,
}

impl Default for CrashLoop {
    fn default() -> Self {
        Self {
            count: 5,
            within: Duration::from_secs(30),
        }
    }
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            mode: Mode::OnFailure,
            max: Some(10),
            window: None,
            count_clean: false,
            count_first: false,
            startup_max: Some(3),
            startup_grace: Duration::from_secs(2),
            early_exit_fails: false,
            initial_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            factor: 2.0,
            growth: Growth::Exponential,
            immediate: 0,
            retry_delay: None,
            runtime_delay: None,
            jitter: Jitter::Equal,
            reset_after: Some(Duration::from_secs(60)),
            crash_loop: Some(CrashLoop::default()),
            success_codes: vec![0],
            success_signals: Vec::new(),
            no_restart_on: Vec::new(),
            cool_down: None,
        }
    }
}

/// The most times that [`Counters`] keep of one kind.
pub(crate) const REMEMBERED: u32 = 10_000;

/// A value that makes no sense in a [`RestartPolicy`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// `factor` is below 1 or not a number.
    #[error("`factor` is {0}, expected a number of at least 1")]
    Factor(f64),
    /// A jitter percentage is outside 0 to 100.
    #[error("`jitter` is {0}%, expected 0% to 100%")]
    Jitter(f64),
    /// The guard trips at its zeroth crash, or would have to remember too many.
    #[error("`crash_loop.count` is {0}, expected 1 to {REMEMBERED}")]
    CrashLoop(u32),
    /// A window would have to remember too many restarts.
    #[error("`max` is {0}, expected at most {REMEMBERED} with a `window`")]
    Max(u32),
    /// `max_delay` is shorter than `initial_delay`.
    #[error("`max_delay` is shorter than `initial_delay`")]
    MaxDelay,
}

impl RestartPolicy {
    /// Sets a limit that somebody asked for by name: it counts every restart, also after clean
    /// exits. (The default limit counts failures only, so that a service under `always` that ends
    /// well may do so for ever.)
    pub fn limit_restarts(&mut self, max: Option<u32>) {
        self.max = max;
        self.count_clean = true;
    }

    /// Sets the startup budget that somebody asked for by name (`start_retries`) and its fixed
    /// delay (`start_retry_interval`). A guard that still has its default count is raised so that
    /// it does not cut the budget short; without a limit it goes.
    pub fn retry_starts(&mut self, retries: Option<u32>, interval: Option<Duration>) {
        self.startup_max = retries;
        self.retry_delay = interval.or(self.retry_delay);
        let default = CrashLoop::default().count;
        if let Some(guard) = self.crash_loop.filter(|guard| guard.count == default) {
            // Without a limit on retries no count is high enough.
            self.crash_loop = retries.map(|retries| CrashLoop {
                count: default.max(retries.saturating_add(2)),
                ..guard
            });
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first value that makes no sense. A policy that fails here still decides, with the
    /// nearest value that does.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if !self.factor.is_finite() || self.factor < 1.0 {
            return Err(PolicyError::Factor(self.factor));
        }
        if let Jitter::Percent(percent) | Jitter::Above(percent) = self.jitter
            && !(0.0..=100.0).contains(&percent)
        {
            return Err(PolicyError::Jitter(percent));
        }
        if let Some(CrashLoop { count, .. }) = self.crash_loop
            && !(1..=REMEMBERED).contains(&count)
        {
            return Err(PolicyError::CrashLoop(count));
        }
        if let (Some(max), Some(_)) = (self.max, self.window)
            && max > REMEMBERED
        {
            return Err(PolicyError::Max(max));
        }
        if self.max_delay < self.initial_delay {
            return Err(PolicyError::MaxDelay);
        }
        Ok(())
    }

    /// Returns what kind of exit `exit` is under this policy.
    pub fn judge(&self, exit: &ExitFacts) -> Verdict {
        match (exit.signal, exit.code) {
            _ if exit.oom => Verdict::Oom,
            _ if exit.watchdog => Verdict::Watchdog,
            _ if exit.timed_out => Verdict::Timeout,
            _ if exit.start_failed => Verdict::StartFailed,
            (Some(signal), _) if !self.success_signals.contains(&signal) => Verdict::Signal,
            (None, Some(code)) if !self.success_codes.contains(&code) => Verdict::Code,
            (None, None) => Verdict::Code,
            _ if self.early_exit_fails && self.is_startup(exit) => Verdict::StartFailed,
            _ => Verdict::Clean,
        }
    }

    /// Returns whether `exit` came before the service counts as started.
    pub fn is_startup(&self, exit: &ExitFacts) -> bool {
        exit.start_failed || exit.runtime < self.startup_grace
    }

    /// Returns whether `exit`, judged as `verdict`, is a start that failed.
    pub(crate) fn fails_start(&self, exit: &ExitFacts, verdict: Verdict) -> bool {
        let counts = match verdict {
            Verdict::Clean => self.mode == Mode::Always && !exit.completes,
            _ => true,
        };
        counts && self.is_startup(exit)
    }

    /// Tells that the service has been healthy for `running_for` by now; resets what that resets.
    ///
    /// Calling it is optional for the decisions ([`RestartPolicy::on_exit`] does the same with the
    /// facts of the exit) but keeps what is shown meanwhile true.
    pub fn on_healthy(&self, counters: &mut Counters, running_for: Duration) {
        if self.reset_after.is_some_and(|after| running_for >= after) {
            counters.clear();
        } else if running_for >= self.startup_grace {
            counters.startup_failures = 0;
        }
    }
}
