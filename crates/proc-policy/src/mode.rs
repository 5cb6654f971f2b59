//! When an exit asks for a restart at all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Verdict;

/// Which exits are followed by a restart.
///
/// The table is systemd's for `Restart=`; the last four exist for services that come from there.
///
/// | verdict | never | on-failure | always | on-success | on-abnormal | on-abort | on-watchdog |
/// |---|---|---|---|---|---|---|---|
/// | clean | | | x | x | | | |
/// | code | | x | x | | | | |
/// | signal | | x | x | | x | x | |
/// | oom, timeout | | x | x | | x | | |
/// | watchdog | | x | x | | x | | x |
/// | start failed | | x | x | | | | |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// No exit.
    Never,
    /// Every exit that is not clean.
    #[default]
    OnFailure,
    /// Every exit.
    Always,
    /// Clean exits only.
    OnSuccess,
    /// Signals, out-of-memory kills, time-outs and the watchdog; not exit codes.
    OnAbnormal,
    /// Signals only.
    OnAbort,
    /// A missed watchdog only.
    OnWatchdog,
}

impl Mode {
    /// Every mode, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Never,
        Self::OnFailure,
        Self::Always,
        Self::OnSuccess,
        Self::OnAbnormal,
        Self::OnAbort,
        Self::OnWatchdog,
    ];

    /// Returns the word used in configuration, such as `on-failure`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
            Self::OnSuccess => "on-success",
            Self::OnAbnormal => "on-abnormal",
            Self::OnAbort => "on-abort",
            Self::OnWatchdog => "on-watchdog",
        }
    }

    /// Returns whether an exit judged as `verdict` is followed by a restart.
    pub const fn restarts(self, verdict: Verdict) -> bool {
        use Verdict::{Clean, Code, Signal, StartFailed, Watchdog};
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::OnFailure => !matches!(verdict, Clean),
            Self::OnSuccess => matches!(verdict, Clean),
            Self::OnAbnormal => !matches!(verdict, Clean | Code | StartFailed),
            Self::OnAbort => matches!(verdict, Signal),
            Self::OnWatchdog => matches!(verdict, Watchdog),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`Mode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown restart mode `{0}`, expected `never`, `on-failure` or `always`")]
pub struct ParseModeError(String);

impl FromStr for Mode {
    type Err = ParseModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| ParseModeError(text.to_owned()))
    }
}
