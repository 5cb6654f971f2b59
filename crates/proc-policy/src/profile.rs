//! The policies of other supervisors, by name.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{CrashLoop, Growth, Jitter, Mode, RestartPolicy};

/// A supervisor whose documented defaults [`Profile::policy`] reproduces.
///
/// | profile | restarts | delays | gives up |
/// |---|---|---|---|
/// | `supervisord` | exit codes other than 0 | start failures 1, 2, 3 s; after running at once | 4th start failure in a row |
/// | `systemd` | on-failure (`Restart=` is off by default) | 100 ms | 6th start in 10 s, the first counts |
/// | `s6` | always | starts at least 1 s apart | never |
/// | `runit` | always | 1 s if it ran less than 1 s, else at once | never |
/// | `pm2` | always | at once | 16th exit within 1 s of its start |
/// | `dinit` | always | 200 ms | 4th restart in 10 s |
/// | `otp` | always (`permanent`) | at once | 2nd restart in 5 s |
/// | `kubernetes` | always | 0, 10, 20, 40, 80, 160, 300 s; anew after 10 min | never |
/// | `nomad` | always (`service`) | 15 s and up to 25 % more | 3rd restart in 30 min |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Supervisor 4: `startsecs=1`, `startretries=3`, `exitcodes=0`, `autorestart=unexpected`.
    Supervisord,
    /// systemd: `RestartSec=100ms`, `StartLimitBurst=5`, `StartLimitIntervalSec=10s`, and
    /// `Restart=on-failure`.
    Systemd,
    /// `s6-supervise`, without a finish script.
    S6,
    /// `runsv`.
    Runit,
    /// pm2: `min_uptime=1s`, `max_restarts=16`. Unlike pm2, a run past 1 s ends the row.
    Pm2,
    /// dinit: `restart-delay=0.2`, `restart-limit-count=3`, `restart-limit-interval=10`.
    Dinit,
    /// An OTP supervisor with intensity 1, period 5 s and a permanent child.
    Otp,
    /// A Kubernetes container with `restartPolicy: Always`.
    Kubernetes,
    /// A Nomad service task: 2 attempts in 30 min, mode `fail`.
    Nomad,
}

impl Profile {
    /// Every profile, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Supervisord,
        Self::Systemd,
        Self::S6,
        Self::Runit,
        Self::Pm2,
        Self::Dinit,
        Self::Otp,
        Self::Kubernetes,
        Self::Nomad,
    ];

    /// Returns the name used in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Supervisord => "supervisord",
            Self::Systemd => "systemd",
            Self::S6 => "s6",
            Self::Runit => "runit",
            Self::Pm2 => "pm2",
            Self::Dinit => "dinit",
            Self::Otp => "otp",
            Self::Kubernetes => "kubernetes",
            Self::Nomad => "nomad",
        }
    }

    /// Returns the policy.
    pub fn policy(self) -> RestartPolicy {
        match self {
            Self::Supervisord => supervisord(),
            Self::Systemd => systemd(),
            Self::S6 => s6(),
            Self::Runit => runit(),
            Self::Pm2 => pm2(),
            Self::Dinit => dinit(),
            Self::Otp => otp(),
            Self::Kubernetes => kubernetes(),
            Self::Nomad => nomad(),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Always restarts, at once, without any budget: what the profiles start from.
fn endless() -> RestartPolicy {
    RestartPolicy {
        mode: Mode::Always,
        max: None,
        startup_max: None,
        startup_grace: Duration::ZERO,
        initial_delay: Duration::ZERO,
        max_delay: Duration::MAX,
        factor: 1.0,
        jitter: Jitter::None,
        reset_after: None,
        crash_loop: None::<CrashLoop>,
        ..RestartPolicy::default()
    }
}

fn supervisord() -> RestartPolicy {
    RestartPolicy {
        mode: Mode::OnFailure,
        startup_max: Some(3),
        startup_grace: SECOND,
        early_exit_fails: true,
        initial_delay: SECOND,
        growth: Growth::Linear,
        runtime_delay: Some(Duration::ZERO),
        ..endless()
    }
}

fn systemd() -> RestartPolicy {
    RestartPolicy {
        mode: Mode::OnFailure,
        max: Some(5),
        window: Some(10 * SECOND),
        count_clean: true,
        count_first: true,
        initial_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(100),
        growth: Growth::Stepped(0),
        // HUP, INT, PIPE and TERM are clean deaths to systemd.
        success_signals: vec![1, 2, 13, 15],
        ..endless()
    }
}

fn s6() -> RestartPolicy {
    RestartPolicy {
        initial_delay: SECOND,
        growth: Growth::Spacing,
        ..endless()
    }
}

fn runit() -> RestartPolicy {
    RestartPolicy {
        startup_grace: SECOND,
        early_exit_fails: true,
        retry_delay: Some(SECOND),
        runtime_delay: Some(Duration::ZERO),
        ..endless()
    }
}

fn pm2() -> RestartPolicy {
    RestartPolicy {
        startup_max: Some(15),
        startup_grace: SECOND,
        early_exit_fails: true,
        max_delay: 15 * SECOND,
        factor: 1.5,
        growth: Growth::Floored,
        reset_after: Some(30 * SECOND),
        ..endless()
    }
}

fn dinit() -> RestartPolicy {
    RestartPolicy {
        max: Some(3),
        window: Some(10 * SECOND),
        count_clean: true,
        initial_delay: Duration::from_millis(200),
        ..endless()
    }
}

fn otp() -> RestartPolicy {
    RestartPolicy {
        max: Some(1),
        window: Some(5 * SECOND),
        count_clean: true,
        ..endless()
    }
}

fn kubernetes() -> RestartPolicy {
    RestartPolicy {
        initial_delay: 10 * SECOND,
        max_delay: 300 * SECOND,
        factor: 2.0,
        immediate: 1,
        reset_after: Some(600 * SECOND),
        ..endless()
    }
}

fn nomad() -> RestartPolicy {
    RestartPolicy {
        max: Some(2),
        window: Some(1_800 * SECOND),
        count_clean: true,
        initial_delay: 15 * SECOND,
        jitter: Jitter::Above(25.0),
        ..endless()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`Profile`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown restart profile `{0}`, expected one of `supervisord`, `systemd`, `s6`, `runit`, `pm2`, \
     `dinit`, `otp`, `kubernetes`, `nomad`"
)]
pub struct ParseProfileError(String);

impl FromStr for Profile {
    type Err = ParseProfileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| ParseProfileError(text.to_owned()))
    }
}
