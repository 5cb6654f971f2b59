//! What launchctl(1) prints, read without guessing: what is not understood is "cannot tell".

use proc_core::{ProcessEnd, Signal};

/// How the run before the present one ended, as `print` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastEnd {
    /// Nothing is said, or nothing that is understood.
    #[default]
    Unknown,
    /// No run has ended yet.
    Never,
    /// A code or a signal.
    Known(ProcessEnd),
}

/// What `launchctl print` says of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFacts {
    /// `state`, as printed: `running`, `not running`, `SIGTERMed`.
    pub state: String,
    /// `job state`: `spawn failed`, `exited`.
    pub job_state: Option<String>,
    /// The live process.
    pub pid: Option<u32>,
    /// How often it was started since it was loaded.
    pub runs: Option<u64>,
    /// How the last run that is over ended: beside a live process, the run before it.
    pub last: LastEnd,
    /// The job file it was loaded from.
    pub path: Option<String>,
    /// Where its standard output goes.
    pub stdout: Option<String>,
    /// Where its standard error goes.
    pub stderr: Option<String>,
}

/// A job's state in this project's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Its process is about to be made.
    Starting,
    /// Its process lives.
    Running,
    /// launchd is ending it.
    Stopping,
    /// Loaded, without a process, and the last run ended well or there was none.
    Stopped,
    /// Loaded, without a process, and the last run did not end well.
    Failed,
    /// launchd says something that is not understood: nothing may be concluded.
    Unknown,
}

/// One row: the printed `state`, whether a `pid` is printed with it, and what that means.
#[derive(Debug, Clone, Copy)]
pub struct JobStateRow {
    /// `state`, as printed; `*` matches anything.
    pub state: &'static str,
    /// Whether a `pid` stands beside it; `None` is either.
    pub pid: Option<bool>,
    /// What it means; [`JobState::Stopped`] becomes [`JobState::Failed`] by the last end.
    pub means: JobState,
}

const fn row(state: &'static str, pid: Option<bool>, means: JobState) -> JobStateRow {
    JobStateRow { state, pid, means }
}

/// Every state that launchctl(1) is known to print; first match wins.
pub const JOB_STATE_MAP: &[JobStateRow] = {
    use JobState::{Running, Starting, Stopped, Stopping, Unknown};
    &[
        row("running", Some(true), Running),
        row("spawn scheduled", Some(false), Starting),
        row("spawning", None, Starting),
        row("xpcproxy", None, Starting),
        row("SIGTERMed", None, Stopping),
        row("SIGKILLed", None, Stopping),
        row("not running", Some(false), Stopped),
        row("waiting", Some(false), Stopped),
        row("exited", Some(false), Stopped),
        row("*", None, Unknown),
    ]
};

/// Returns what a job's facts mean, and why.
#[must_use]
pub fn job_state(facts: &JobFacts) -> (JobState, String) {
    let fits = |row: &&JobStateRow| {
        (row.state == "*" || row.state == facts.state)
            && row.pid.is_none_or(|with| with == facts.pid.is_some())
    };
    let row = JOB_STATE_MAP.iter().find(fits);
    let means = row.map_or(JobState::Unknown, |row| row.means);
    let spawn_failed = facts.job_state.as_deref() == Some("spawn failed");
    match (means, facts.last) {
        (JobState::Stopped, _) if spawn_failed => {
            (JobState::Failed, "its program could not be run".to_owned())
        }
        (JobState::Stopped, LastEnd::Known(end)) if !end.success() => {
            (JobState::Failed, end.to_string())
        }
        (JobState::Stopped, LastEnd::Known(end)) => (JobState::Stopped, end.to_string()),
        (JobState::Stopped, LastEnd::Never) => (JobState::Stopped, "never ran".to_owned()),
        (JobState::Stopped, LastEnd::Unknown) => (
            JobState::Stopped,
            "cannot tell how its last run ended".to_owned(),
        ),
        (JobState::Unknown, _) => {
            let said = facts.state.escape_debug();
            (
                JobState::Unknown,
                format!("launchd says `{said}`: cannot tell"),
            )
        }
        (JobState::Starting, _) => (means, format!("launchd says `{}`", facts.state)),
        (JobState::Stopping, _) => (means, "launchd is ending it".to_owned()),
        _ => (means, String::new()),
    }
}

impl JobFacts {
    /// Returns the files that it writes to: of standard output and standard error.
    pub(super) fn files(&self) -> [Option<&str>; 2] {
        [self.stdout.as_deref(), self.stderr.as_deref()]
    }

    /// Reads the answer of `launchctl print DOMAIN/LABEL`. Only lines with exactly one tab count:
    /// the blocks below repeat the same words for other things.
    ///
    /// # Errors
    /// What is wrong with an answer that is not about this job.
    pub fn parse(text: &[u8], service: &str) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.lines();
        if lines.next().map(str::trim_end) != Some(&format!("{service} = {{")) {
            return Err(format!("it does not begin with `{service} = {{`"));
        }
        let mut facts = Self::default();
        let (mut stated, mut closed) = (false, false);
        for line in lines {
            closed |= line == "}";
            let Some(rest) = line
                .strip_prefix('\t')
                .filter(|rest| !rest.starts_with('\t'))
            else {
                continue;
            };
            let Some((key, value)) = rest.split_once(" = ") else {
                continue;
            };
            let value = value.trim();
            match key {
                "state" => {
                    stated = true;
                    value.clone_into(&mut facts.state);
                }
                "job state" => facts.job_state = Some(value.to_owned()),
                "pid" => facts.pid = Some(value.parse().map_err(|_| "`pid` is no number")?),
                "runs" => facts.runs = value.parse().ok(),
                "path" => facts.path = path(value),
                "stdout path" => facts.stdout = path(value),
                "stderr path" => facts.stderr = path(value),
                "last exit code" => facts.last = last_code(value),
                "last terminating signal" => facts.last = last_signal(value),
                _ => {}
            }
        }
        match (stated, closed) {
            (true, true) => Ok(facts),
            (false, _) => Err("it has no `state`".to_owned()),
            (_, false) => Err("it is cut off".to_owned()),
        }
    }

    /// Reads the answer of `launchctl list LABEL`, whose `LastExitStatus` is a raw wait status.
    /// It says less: neither how often the job ran nor, with 0, whether it ever did.
    ///
    /// # Errors
    /// What is wrong with an answer that is not about this job.
    pub fn parse_list(text: &[u8], label: &str) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text);
        let value = |key: &str| {
            let line = text.lines().find_map(|line| {
                let (name, value) = line.trim().split_once(" = ")?;
                (name == format!("\"{key}\"")).then_some(value)
            });
            line.map(|value| value.trim_end_matches(';').trim_matches('"'))
        };
        if value("Label") != Some(label) {
            return Err(format!("it is not about `{label}`"));
        }
        let pid = match value("PID") {
            Some(pid) => Some(pid.parse().map_err(|_| "`PID` is no number")?),
            None => None,
        };
        let status: i32 = value("LastExitStatus")
            .and_then(|raw| raw.parse().ok())
            .ok_or("`LastExitStatus` is no number")?;
        let end = ProcessEnd::from_wait_status(status).filter(|_| status != 0);
        Ok(Self {
            state: if pid.is_some() {
                "running"
            } else {
                "not running"
            }
            .to_owned(),
            pid,
            last: end.map_or(LastEnd::Unknown, LastEnd::Known),
            ..Self::default()
        })
    }
}

/// Reads `launchctl print-disabled DOMAIN`: whether the label has an override, and which. A label
/// that is not listed is enabled.
///
/// # Errors
/// An answer that is none.
pub(crate) fn is_disabled(text: &[u8], label: &str) -> Result<bool, String> {
    let text = String::from_utf8_lossy(text);
    if !text.contains("disabled services = {") {
        return Err("it does not list disabled services".to_owned());
    }
    let found = text.lines().find_map(|line| {
        let (name, value) = line.trim().split_once(" => ")?;
        (name.trim_matches('"') == label).then_some(value.trim())
    });
    match found {
        None | Some("enabled" | "false") => Ok(false),
        Some("disabled" | "true") => Ok(true),
        Some(other) => Err(format!(
            "`{}` is neither enabled nor disabled",
            other.escape_debug()
        )),
    }
}

fn path(value: &str) -> Option<String> {
    value.starts_with('/').then(|| value.to_owned())
}

/// `0`, `7`, `78: EX_CONFIG`, `(never exited)`.
fn last_code(value: &str) -> LastEnd {
    if value == "(never exited)" {
        return LastEnd::Never;
    }
    let number = value.split(':').next().unwrap_or_default().trim();
    let code = number.parse::<u8>().ok();
    code.map_or(LastEnd::Unknown, |code| {
        LastEnd::Known(ProcessEnd::Exited(i32::from(code)))
    })
}

/// `Killed: 9`.
fn last_signal(value: &str) -> LastEnd {
    let number = value.rsplit(':').next().unwrap_or_default().trim();
    let signal = number
        .parse()
        .ok()
        .filter(|n| *n > 0)
        .and_then(Signal::from_raw);
    signal.map_or(LastEnd::Unknown, |signal| {
        LastEnd::Known(ProcessEnd::Signaled {
            signal,
            core_dumped: false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As captured on macOS, shortened: the nested blocks repeat `state` and `pid`.
    const RUNNING: &str = "gui/501/com.example.web = {\n\tactive count = 1\n\tpath = /tmp/web.plist\n\ttype = LaunchAgent\n\tstate = running\n\n\tprogram = /bin/sleep\n\targuments = {\n\t\t/bin/sleep\n\t\t1000\n\t}\n\n\tstdout path = /tmp/out\n\tdefault environment = {\n\t\tPATH => /usr/bin:/bin\n\t}\n\n\tdomain = gui/501 [100020]\n\tminimum runtime = 10\n\texit timeout = 5\n\truns = 3\n\tpid = 855\n\timmediate reason = inefficient\n\tlast exit code = 7\n\n\tendpoints = {\n\t\t\"x\" = {\n\t\t\tstate = active\n\t\t\tpid = 1\n\t\t}\n\t}\n\tspawn type = daemon (3)\n}\n";

    fn facts(text: &str) -> JobFacts {
        JobFacts::parse(text.as_bytes(), "gui/501/com.example.web").unwrap()
    }

    #[test]
    fn a_live_job_is_not_taken_for_its_last_exit() {
        let facts = facts(RUNNING);
        assert_eq!((facts.pid, facts.runs), (Some(855), Some(3)));
        assert_eq!(job_state(&facts), (JobState::Running, String::new()));
        assert_eq!(facts.path.as_deref(), Some("/tmp/web.plist"));
        assert_eq!(facts.stdout.as_deref(), Some("/tmp/out"));
    }

    #[test]
    fn ends_are_codes_and_signals_and_else_unknown() {
        let down = |last: &str| {
            let text = RUNNING
                .replace("state = running", "state = not running")
                .replace("\tpid = 855\n", "")
                .replace("last exit code = 7", last);
            let facts = facts(&text);
            let (state, reason) = job_state(&facts);
            (state, reason, facts.last)
        };
        let signal = ProcessEnd::Signaled {
            signal: Signal::KILL,
            core_dumped: false,
        };
        for (printed, state, last) in [
            (
                "last exit code = 0",
                JobState::Stopped,
                LastEnd::Known(ProcessEnd::Exited(0)),
            ),
            (
                "last exit code = 7",
                JobState::Failed,
                LastEnd::Known(ProcessEnd::Exited(7)),
            ),
            (
                "last exit code = 78: EX_CONFIG",
                JobState::Failed,
                LastEnd::Known(ProcessEnd::Exited(78)),
            ),
            (
                "last terminating signal = Killed: 9",
                JobState::Failed,
                LastEnd::Known(signal),
            ),
            (
                "last exit code = (never exited)",
                JobState::Stopped,
                LastEnd::Never,
            ),
            (
                "last exit reason = JETSAM_REASON_MEMORY",
                JobState::Stopped,
                LastEnd::Unknown,
            ),
            (
                "last exit code = banana",
                JobState::Stopped,
                LastEnd::Unknown,
            ),
            (
                "last exit code = 19200",
                JobState::Stopped,
                LastEnd::Unknown,
            ),
        ] {
            let (is, reason, end) = down(printed);
            assert_eq!((is, end), (state, last), "{printed}: {reason}");
        }
    }

    #[test]
    fn what_is_not_understood_is_cannot_tell() {
        for (from, to) in [
            ("state = running", "state = levitating"),
            ("state = running", "state = languishing"),
            ("\tpid = 855\n", ""),
            ("state = running", "state = not running"),
        ] {
            let facts = facts(&RUNNING.replacen(from, to, 1));
            let (state, reason) = job_state(&facts);
            assert_eq!(state, JobState::Unknown, "{to}");
            assert!(reason.ends_with("cannot tell"), "{reason}");
        }
        for garbage in [
            "",
            "x",
            "gui/501/com.example.web = {\n",
            "gui/501/other = {\n\tstate = running\n}\n",
            "gui/501/com.example.web = {\n\tstate = running\n",
        ] {
            assert!(
                JobFacts::parse(garbage.as_bytes(), "gui/501/com.example.web").is_err(),
                "{garbage}"
            );
        }
    }

    #[test]
    fn lists_hold_raw_wait_statuses() {
        let list = |pid: &str, raw: i32| {
            let text = format!(
                "{{\n\t\"LimitLoadToSessionType\" = \"Aqua\";\n\t\"Label\" = \"com.example.web\";\n{pid}\t\"LastExitStatus\" = {raw};\n}};\n"
            );
            JobFacts::parse_list(text.as_bytes(), "com.example.web").unwrap()
        };
        let live = list("\t\"PID\" = 855;\n", 15);
        assert_eq!(
            (live.pid, job_state(&live).0),
            (Some(855), JobState::Running)
        );
        assert_eq!(list("", 19200).last, LastEnd::Known(ProcessEnd::Exited(75)));
        let signal = ProcessEnd::Signaled {
            signal: Signal::TERM,
            core_dumped: false,
        };
        assert_eq!(list("", 15).last, LastEnd::Known(signal));
        assert_eq!(
            list("", 0).last,
            LastEnd::Unknown,
            "0 is also what a job says that never ran"
        );
        assert!(JobFacts::parse_list(b"{\n};\n", "x").is_err());
    }

    #[test]
    fn overrides_are_read_by_label() {
        let text = b"\n\tdisabled services = {\n\t\t\"a\" => disabled\n\t\t\"b\" => enabled\n\t\t\"c\" => true\n\t}\n";
        for (label, disabled) in [("a", true), ("b", false), ("c", true), ("d", false)] {
            assert_eq!(is_disabled(text, label), Ok(disabled), "{label}");
        }
        assert!(is_disabled(b"", "a").is_err());
        assert!(is_disabled(b"disabled services = {\n\t\"a\" => perhaps\n}", "a").is_err());
    }
}
