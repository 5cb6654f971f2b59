//! How a process ended: an exit code or a signal, never both.

use std::fmt;

use crate::Signal;

/// How a process ended: by itself with a code, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum ProcessEnd {
    /// It called `exit` with this code, 0 to 255.
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// The signal.
        signal: Signal,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
    },
}

impl ProcessEnd {
    /// Reads the status word of `wait(2)`; `None` for a stop or a continuation, which are no end.
    pub fn from_wait_status(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            return Some(Self::Exited(libc::WEXITSTATUS(status)));
        }
        if !libc::WIFSIGNALED(status) {
            return None;
        }
        let signal = Signal::from_raw(libc::WTERMSIG(status))?;
        Some(Self::Signaled {
            signal,
            core_dumped: libc::WCOREDUMP(status),
        })
    }

    /// Returns the exit code, if it exited by itself.
    pub const fn code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled { .. } => None,
        }
    }

    /// Returns the signal, if one ended it.
    pub const fn signal(self) -> Option<Signal> {
        match self {
            Self::Exited(_) => None,
            Self::Signaled { signal, .. } => Some(signal),
        }
    }

    /// Says whether a core dump was written.
    pub const fn core_dumped(self) -> bool {
        matches!(
            self,
            Self::Signaled {
                core_dumped: true,
                ..
            }
        )
    }

    /// Says whether it exited with code 0.
    pub const fn success(self) -> bool {
        matches!(self, Self::Exited(0))
    }

    /// Returns what a shell would report: the code, or 128 + the signal's number.
    pub const fn shell_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled { signal, .. } => 128 + signal.raw(),
        }
    }
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Signaled {
                signal,
                core_dumped: false,
            } => write!(f, "ended by signal {signal}"),
            Self::Signaled {
                signal,
                core_dumped: true,
            } => write!(f, "ended by signal {signal} (core dumped)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_status_words_are_read_as_the_manual_says() {
        let killed = ProcessEnd::Signaled {
            signal: Signal::KILL,
            core_dumped: false,
        };
        let segv = ProcessEnd::Signaled {
            signal: Signal::SEGV,
            core_dumped: true,
        };
        for (status, end, shell) in [
            (0, Some(ProcessEnd::Exited(0)), 0),
            (3 << 8, Some(ProcessEnd::Exited(3)), 3),
            (9, Some(killed), 137),
            (0x8b, Some(segv), 139),
            (0x137f, None, 0),
            (0xffff, None, 0),
        ] {
            assert_eq!(ProcessEnd::from_wait_status(status), end, "{status:#x}");
            assert_eq!(end.map_or(0, ProcessEnd::shell_code), shell);
        }
    }
}
