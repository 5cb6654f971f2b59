//! What `systemctl show` says of a unit, read by key: it prints in an order of its own.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proc_core::{ProcessEnd, Signal};

/// The properties asked for.
pub(crate) const PROPERTIES: &str = "Id,LoadState,LoadError,ActiveState,SubState,Result,Type,\
MainPID,ExecMainPID,ExecMainCode,ExecMainStatus,NRestarts,InvocationID,UnitFileState,FragmentPath,\
Job,KillSignal,KillMode,TimeoutStartUSec,ExecMainStartTimestamp,ExecMainStartTimestampMonotonic,\
ExecMainExitTimestamp,ExecMainExitTimestampMonotonic,CanReload,NeedDaemonReload,StatusText";

/// A unit at one moment. What systemd did not say is empty, zero or `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UnitFacts {
    /// The unit's name.
    pub id: String,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load: String,
    /// Why it could not be loaded.
    pub load_error: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
    pub active: String,
    /// The service's own state: `running`, `exited`, `auto-restart`, …
    pub sub: String,
    /// How the last run ended: `success`, `exit-code`, `signal`, …
    pub result: String,
    /// `simple`, `exec`, `notify`, `oneshot`, `forking`, …
    pub kind: String,
    /// The main process; 0 for none.
    pub main_pid: u32,
    /// The present or last main process; 0 for none.
    pub exec_pid: u32,
    /// How the main process ended; `None` while it runs or when systemd does not remember it.
    pub end: Option<ProcessEnd>,
    /// How often systemd restarted it by itself.
    pub restarts: u32,
    /// Names one run of the unit.
    pub invocation: String,
    /// `enabled`, `disabled`, `masked`, `static`, `transient`, …
    pub file_state: String,
    /// The unit file.
    pub fragment: String,
    /// Whether a job waits or runs: the state is about to change.
    pub job: bool,
    /// The signal that a stop sends first.
    pub kill_signal: Option<Signal>,
    /// `control-group`, `mixed`, `process`, `none`.
    pub kill_mode: String,
    /// How long a start may take; `None` is for ever.
    pub start_timeout: Option<Duration>,
    /// When the main process was started.
    pub started_at: Option<SystemTime>,
    /// When the main process ended.
    pub ended_at: Option<SystemTime>,
    /// How long the last main process ran.
    pub runtime: Option<Duration>,
    /// Whether it has a way to reload.
    pub can_reload: bool,
    /// Whether its file is newer than what the manager knows.
    pub stale: bool,
    /// What the service says of itself.
    pub status_text: String,
}

impl UnitFacts {
    /// Reads the output of `systemctl show`.
    ///
    /// # Errors
    /// What is missing, for output that is none of it.
    pub fn parse(output: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(output);
        let fields: HashMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric()))
            .collect();
        for key in ["LoadState", "ActiveState", "SubState"] {
            if fields.get(key).is_none_or(|value| value.is_empty()) {
                let start: String = text.chars().take(60).collect();
                return Err(format!("no `{key}=` in `{}`", start.escape_debug()));
            }
        }
        let get = |key: &str| match fields.get(key) {
            Some(&"[not set]") | None => "",
            Some(value) => value,
        };
        let number = |key: &str| get(key).parse::<u32>().unwrap_or(0);
        let micros = |key: &str| get(key).parse::<u64>().ok().filter(|us| *us > 0);
        let start = micros("ExecMainStartTimestampMonotonic");
        let exit = micros("ExecMainExitTimestampMonotonic");
        let runtime = start
            .zip(exit)
            .and_then(|(start, exit)| exit.checked_sub(start));
        let status = get("ExecMainStatus").parse().unwrap_or(0);
        Ok(Self {
            id: get("Id").to_owned(),
            load: get("LoadState").to_owned(),
            load_error: load_error(get("LoadError")),
            active: get("ActiveState").to_owned(),
            sub: get("SubState").to_owned(),
            result: get("Result").to_owned(),
            kind: get("Type").to_owned(),
            main_pid: number("MainPID"),
            exec_pid: number("ExecMainPID"),
            end: end(number("ExecMainCode"), status),
            restarts: number("NRestarts"),
            invocation: get("InvocationID").to_owned(),
            file_state: get("UnitFileState").to_owned(),
            fragment: get("FragmentPath").to_owned(),
            job: number("Job") != 0,
            kill_signal: get("KillSignal").parse().ok().and_then(Signal::from_raw),
            kill_mode: get("KillMode").to_owned(),
            start_timeout: timespan(get("TimeoutStartUSec")),
            started_at: timestamp(get("ExecMainStartTimestamp")),
            ended_at: timestamp(get("ExecMainExitTimestamp")),
            runtime: runtime.map(Duration::from_micros),
            can_reload: get("CanReload") == "yes",
            stale: get("NeedDaemonReload") == "yes",
            status_text: get("StatusText").to_owned(),
        })
    }
}

/// `org.freedesktop.systemd1.NoSuchUnit "Unit x.service not found."` → its words.
fn load_error(text: &str) -> String {
    match text.split_once(' ') {
        Some((_, message)) => message.trim_matches('"').to_owned(),
        None => String::new(),
    }
}

/// The codes are those of waitid(2): CLD_EXITED, CLD_KILLED, CLD_DUMPED.
fn end(code: u32, status: i32) -> Option<ProcessEnd> {
    let signaled = |core_dumped| {
        Signal::from_raw(status).map(|signal| ProcessEnd::Signaled {
            signal,
            core_dumped,
        })
    };
    match code {
        1 => Some(ProcessEnd::Exited(status)),
        2 => signaled(false),
        3 => signaled(true),
        _ => None,
    }
}

/// Reads `Sat 2026-11-21 08:26:46.123456 UTC`.
fn timestamp(text: &str) -> Option<SystemTime> {
    let mut words = text.split(' ').skip(1);
    let (date, time) = (words.next()?, words.next()?);
    let numbers: Vec<u64> = date.split('-').filter_map(|n| n.parse().ok()).collect();
    let &[year, month, day] = numbers.as_slice() else {
        return None;
    };
    let (clock, micros) = time.split_once('.').unwrap_or((time, "0"));
    let numbers: Vec<u64> = clock.split(':').filter_map(|n| n.parse().ok()).collect();
    let &[hours, minutes, seconds] = numbers.as_slice() else {
        return None;
    };
    let in_range = (1970..10_000).contains(&year) && (1..=12).contains(&month);
    if !in_range || hours > 24 || minutes > 60 || seconds > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds;
    let micros = micros.parse().ok().filter(|us| *us < 1_000_000)?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros))
}

/// Days since 1970-01-01 of a Gregorian date; the year begins in March so that leap days come last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_year = (153 * month + 2) / 5 + day.saturating_sub(1);
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// Reads `1min 30s`, `500ms`, `infinity`.
fn timespan(text: &str) -> Option<Duration> {
    let mut micros: u64 = 0;
    for word in text.split_whitespace() {
        let digits = word.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = word.split_at(digits);
        let unit: u64 = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            "w" => 604_800_000_000,
            "month" => 2_629_800_000_000,
            "y" => 31_557_600_000_000,
            _ => return None,
        };
        micros = micros.saturating_add(number.parse::<u64>().ok()?.saturating_mul(unit));
    }
    (micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_read_by_key_in_any_order() {
        let facts = UnitFacts::parse(
            b"SubState=failed\nExecMainStatus=9\nMainPID=0\nExecMainCode=2\nLoadState=loaded\n\
              Result=signal\nActiveState=failed\nNRestarts=3\nTimeoutStartUSec=1min 30s\n\
              ExecMainStartTimestamp=Sat 2026-11-21 08:26:46.123456 UTC\nMemoryCurrent=[not set]\n\
              ExecMainStartTimestampMonotonic=1000\nExecMainExitTimestampMonotonic=4000\nJob=0\n\
              StatusText=a=b\nKillSignal=15\n",
        )
        .unwrap();
        let end = ProcessEnd::Signaled {
            signal: Signal::KILL,
            core_dumped: false,
        };
        assert_eq!(facts.end, Some(end));
        assert_eq!(facts.runtime, Some(Duration::from_millis(3)));
        assert_eq!(facts.start_timeout, Some(Duration::from_secs(90)));
        assert_eq!((facts.restarts, facts.job), (3, false));
        assert_eq!(facts.status_text, "a=b");
        let at = facts
            .started_at
            .unwrap()
            .duration_since(UNIX_EPOCH)
            .unwrap();
        assert_eq!(at, Duration::from_micros(1_795_249_606_123_456));
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        for (text, seconds) in [
            ("Thu 1970-01-01 00:00:00 UTC", 0),
            ("Tue 2000-02-29 12:00:00.000000 UTC", 951_825_600),
            ("Fri 2100-01-01 00:00:00 UTC", 4_102_444_800),
        ] {
            let at = timestamp(text).unwrap();
            assert_eq!(at.duration_since(UNIX_EPOCH).unwrap().as_secs(), seconds);
        }
        for text in [
            "",
            "n/a",
            "Thu x y",
            "Thu 2000-13-01 00:00:00 UTC",
            "a 1-1-1 1:1:1",
        ] {
            assert_eq!(timestamp(text), None);
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for output in [
            &b""[..],
            b"hello",
            b"ActiveState=\n",
            b"\xff\xfe=\x00",
            b"LoadState=loaded\n",
        ] {
            assert!(UnitFacts::parse(output).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_output_panics(output: Vec<u8>, state in "[a-zA-Z0-9: .=-]{0,40}") {
            let _any = UnitFacts::parse(&output);
            let _any = timestamp(&state);
            let _any = timespan(&state);
            let text = format!("LoadState={state}x\nActiveState={state}x\nSubState=x\nExecMainStartTimestamp={state}");
            let _any = UnitFacts::parse(text.as_bytes());
        }
    }
}
