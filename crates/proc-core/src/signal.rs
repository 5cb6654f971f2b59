//! Signals by number and by the names people type.

use std::fmt;
use std::str::FromStr;

/// A signal number that this system knows, or 0, the probe that sends nothing.
///
/// Parses and prints names the way users write them: `TERM`, `SIGTERM`, `term`, `15`, `RTMIN+3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

macro_rules! signals {
    ($($name:ident $raw:ident $doc:literal;)*) => {
        impl Signal {
            $(#[doc = $doc] pub const $name: Self = Self(libc::$raw);)*
        }
        /// Every named signal with its name, in the order of the manual page.
        const NAMED: &[(Signal, &str)] = &[$((Signal::$name, stringify!($name)),)*];
    };
}

signals! {
    HUP SIGHUP "Hangup: by convention \"read your configuration again\".";
    INT SIGINT "Interrupt from the terminal (Ctrl-C).";
    QUIT SIGQUIT "Quit from the terminal, with a core dump.";
    ILL SIGILL "Illegal instruction.";
    TRAP SIGTRAP "Breakpoint.";
    ABRT SIGABRT "Abort.";
    BUS SIGBUS "Bus error.";
    FPE SIGFPE "Arithmetic error.";
    KILL SIGKILL "Ends the process; cannot be caught, blocked or ignored.";
    USR1 SIGUSR1 "User-defined.";
    SEGV SIGSEGV "Invalid memory reference.";
    USR2 SIGUSR2 "User-defined.";
    PIPE SIGPIPE "Write to a pipe that nobody reads.";
    ALRM SIGALRM "Timer.";
    TERM SIGTERM "The polite request to end.";
    CHLD SIGCHLD "A child stopped or ended.";
    CONT SIGCONT "Continue if stopped.";
    STOP SIGSTOP "Stop; cannot be caught, blocked or ignored.";
    TSTP SIGTSTP "Stop from the terminal (Ctrl-Z).";
    TTIN SIGTTIN "A background process read from the terminal.";
    TTOU SIGTTOU "A background process wrote to the terminal.";
    URG SIGURG "Urgent data on a socket.";
    XCPU SIGXCPU "CPU time limit.";
    XFSZ SIGXFSZ "File size limit.";
    VTALRM SIGVTALRM "Virtual timer.";
    PROF SIGPROF "Profiling timer.";
    WINCH SIGWINCH "The terminal changed its size.";
    IO SIGIO "Input or output is possible.";
    SYS SIGSYS "Bad system call.";
}

#[cfg(target_os = "linux")]
impl Signal {
    /// Coprocessor stack fault; unused by the kernel, but a number that exists.
    pub const STKFLT: Self = Self(libc::SIGSTKFLT);
    /// Power failure.
    pub const PWR: Self = Self(libc::SIGPWR);
}

impl Signal {
    /// The probe: checks permission and existence, sends nothing.
    pub const PROBE: Self = Self(0);

    /// Returns the signal with this number, if the system has one; 0 is the probe.
    pub fn from_raw(raw: i32) -> Option<Self> {
        (0..=max()).contains(&raw).then_some(Self(raw))
    }

    /// Returns the number.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Returns the name without `SIG`: `TERM`, `RTMIN+3`; a nameless signal is its number.
    pub fn name(self) -> String {
        if let Some((_, name)) = NAMED.iter().find(|(signal, _)| *signal == self) {
            return (*name).to_owned();
        }
        #[cfg(target_os = "linux")]
        {
            if self == Self::STKFLT {
                return "STKFLT".to_owned();
            }
            if self == Self::PWR {
                return "PWR".to_owned();
            }
            let (low, high) = (libc::SIGRTMIN(), libc::SIGRTMAX());
            if self.0 == low {
                return "RTMIN".to_owned();
            }
            if self.0 > low && self.0 <= high {
                return format!("RTMIN+{}", self.0 - low);
            }
        }
        self.0.to_string()
    }

    /// Says whether a process may handle it: all but the probe, `KILL` and `STOP`.
    pub const fn is_catchable(self) -> bool {
        self.0 != 0 && self.0 != libc::SIGKILL && self.0 != libc::SIGSTOP
    }

    /// Returns every signal a process can be sent, in numeric order, without the probe.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=max()).map(Self)
    }
}

#[cfg(target_os = "linux")]
fn max() -> i32 {
    libc::SIGRTMAX()
}
#[cfg(not(target_os = "linux"))]
fn max() -> i32 {
    31
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({})", self.name())
    }
}

/// The text is no signal of this system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal `{0}`")]
pub struct ParseSignalError(String);

impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseSignalError(text.to_owned());
        let upper = text.trim().to_ascii_uppercase();
        if !upper.is_empty() && upper.bytes().all(|byte| byte.is_ascii_digit()) {
            return upper
                .parse()
                .ok()
                .and_then(Self::from_raw)
                .ok_or_else(unknown);
        }
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((signal, _)) = NAMED.iter().find(|(_, known)| *known == name) {
            return Ok(*signal);
        }
        match name {
            "CLD" => return Ok(Self::CHLD),
            "IOT" => return Ok(Self::ABRT),
            "POLL" => return Ok(Self::IO),
            _ => {}
        }
        #[cfg(target_os = "linux")]
        {
            match name {
                "STKFLT" => return Ok(Self::STKFLT),
                "PWR" => return Ok(Self::PWR),
                _ => {}
            }
            if let Some(raw) = real_time(name) {
                return Ok(Self(raw));
            }
        }
        Err(unknown())
    }
}

/// Reads `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
#[cfg(target_os = "linux")]
fn real_time(name: &str) -> Option<i32> {
    let (low, high) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let offset = |rest: &str, sign: char| -> Option<i32> {
        if rest.is_empty() {
            return Some(0);
        }
        let digits = rest.strip_prefix(sign)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse::<i32>().ok().filter(|value| *value <= 64)
    };
    let raw = if let Some(rest) = name.strip_prefix("RTMIN") {
        low + offset(rest, '+')?
    } else {
        high - offset(name.strip_prefix("RTMAX")?, '-')?
    };
    (low..=high).contains(&raw).then_some(raw)
}

#[cfg(feature = "serde")]
impl serde::Serialize for Signal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Signal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Signal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a signal name or number")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Signal, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, raw: i64) -> Result<Signal, E> {
                i32::try_from(raw)
                    .ok()
                    .and_then(Signal::from_raw)
                    .ok_or_else(|| E::custom(format_args!("unknown signal `{raw}`")))
            }
            fn visit_u64<E: serde::de::Error>(self, raw: u64) -> Result<Signal, E> {
                self.visit_i64(i64::try_from(raw).unwrap_or(i64::MAX))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_signal_is_the_same_signal() {
        for text in ["TERM", "SIGTERM", "term", "sigterm", "15", " TERM "] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        assert_eq!("0".parse(), Ok(Signal::PROBE));
        assert_eq!(
            "RTMIN+3".parse::<Signal>().unwrap().raw(),
            libc::SIGRTMIN() + 3
        );
        assert_eq!(
            "SIGRTMAX-1".parse::<Signal>().unwrap().raw(),
            libc::SIGRTMAX() - 1
        );
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "SIG",
            "TERMINATE",
            "65",
            "-1",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+99",
            "RTMIN+",
            "1.5",
            "TERM/5",
        ] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_name_reads_back() {
        for signal in Signal::all() {
            assert_eq!(signal.name().parse(), Ok(signal));
        }
        assert_eq!(Signal::TERM.to_string(), "TERM");
    }
}
