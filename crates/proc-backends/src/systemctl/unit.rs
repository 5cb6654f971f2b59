//! The text of a unit of ours: everything of a spec that systemd can do, quoted so that it arrives as written.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use proc_core::{Attributes, IoClass, Limit, Resource, Signal, StopSequence};

use crate::error::StartError;
use crate::spec::InstanceSpec;

/// The first line of a unit of ours; what follows it says whose.
pub(crate) const MARKER: &str = "# Written by proc for";

/// Returns the name of the unit of an instance.
pub(crate) fn name(spec: &InstanceSpec) -> String {
    format!("{}-{}.service", spec.project, spec.instance)
}

/// Returns the line that says whose a unit is.
pub(crate) fn marker(instance: &str, state_dir: &Path) -> String {
    format!(
        "{MARKER} {instance} of {}",
        escape(state_dir.as_os_str().as_bytes())
    )
}

/// A unit and its environment file.
#[derive(Debug)]
pub(crate) struct UnitText {
    pub(crate) unit: String,
    pub(crate) environment: String,
    /// What could not be passed on.
    pub(crate) downgrades: Vec<String>,
}

/// Writes the unit of an instance; `program` is its program's absolute path.
///
/// # Errors
/// A working directory that no unit file can hold.
pub(crate) fn render(
    spec: &InstanceSpec,
    program: &Path,
    environment: &Path,
    state_dir: &Path,
    user_scope: bool,
) -> Result<UnitText, StartError> {
    let mut downgrades = Vec::new();
    let mut text = marker(&spec.instance, state_dir);
    let unsupported = |field: &str| StartError::Unsupported {
        field: field.to_owned(),
        backend: super::NAME,
    };
    let cwd = path(&spec.cwd).ok_or_else(|| unsupported("cwd"))?;
    let file = path(environment).ok_or_else(|| unsupported("state_dir"))?;
    let mut line = |key: &str, value: &str| {
        let _infallible = writeln!(text, "{key}={value}");
    };
    line(
        "\n[Unit]\nDescription",
        &format!("{} of {}", spec.instance, spec.project),
    );
    // How often it may start is decided by the restart policy alone.
    line("StartLimitIntervalSec", "0");
    line("\n[Service]\nType", "exec");
    line("ExecStart", &exec_start(program, &spec.argv));
    line("WorkingDirectory", &cwd);
    line("EnvironmentFile", &file);
    line("Restart", "no");
    // A clean end would otherwise be forgotten by systemd before it can be asked about it.
    line("RemainAfterExit", "yes");
    line("StandardInput", "null");
    line("StandardOutput", "journal");
    line("StandardError", "journal");
    line("SyslogIdentifier", &name(spec).replace('%', "%%"));
    line("KillMode", "control-group");
    for (key, value) in stop_lines(&spec.stop) {
        line(key, &value);
    }
    for (key, value) in attribute_lines(&spec.attributes, user_scope) {
        line(key, &value);
    }
    let environment = environment_file(&spec.env, &mut downgrades);
    Ok(UnitText {
        unit: text,
        environment,
        downgrades,
    })
}

/// `:` turns variables off, `@` lets `argv[0]` be what the configuration says.
fn exec_start(program: &Path, argv: &[std::ffi::OsString]) -> String {
    let mut words = vec![quote(program.as_os_str())];
    words.extend(argv.iter().map(|word| quote(word)));
    format!("@:{}", words.join(" "))
}

/// Quotes one word so that systemd reads exactly its bytes.
pub(crate) fn quote(word: &OsStr) -> String {
    format!("\"{}\"", escape(word.as_bytes()))
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                '%' => text.push_str("%%"),
                c if c.is_control() => {
                    let mut utf8 = [0; 4];
                    for byte in c.encode_utf8(&mut utf8).bytes() {
                        let _infallible = write!(text, "\\x{byte:02x}");
                    }
                }
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _infallible = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Returns a path as a setting that takes the rest of the line; `None` where that cannot hold it.
pub(crate) fn path(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let trimmed = text.trim();
    let fine = trimmed == text && text.starts_with('/') && !text.chars().any(char::is_control);
    let odd = text.contains('\\') || text.contains('"');
    (fine && !odd).then(|| text.replace('%', "%%"))
}

/// The first step is systemd's own stop; it goes on by itself if nobody is there any more to do so.
fn stop_lines(stop: &StopSequence) -> Vec<(&'static str, String)> {
    let Some(first) = stop.steps.first() else {
        return vec![("TimeoutStopSec", "infinity".to_owned())];
    };
    let total = stop
        .steps
        .iter()
        .try_fold(std::time::Duration::ZERO, |sum, step| {
            match (step.wait, step.signal) {
                (Some(wait), _) => Some(sum.saturating_add(wait)),
                (None, Signal::KILL) => Some(sum),
                (None, _) => None,
            }
        });
    let kills = stop.steps.iter().any(|step| step.signal == Signal::KILL);
    let timeout = match total {
        // 0 would be "for ever" to systemd.
        Some(total) if kills => format!("{}us", total.as_micros().max(1_000)),
        _ => "infinity".to_owned(),
    };
    vec![
        ("KillSignal", first.signal.raw().to_string()),
        ("TimeoutStopSec", timeout),
        ("SendSIGKILL", if kills { "yes" } else { "no" }.to_owned()),
    ]
}

fn attribute_lines(attributes: &Attributes, user_scope: bool) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let mut add = |key, value: Option<String>| lines.extend(value.map(|value| (key, value)));
    // A user's manager runs everything as that user; another one was refused before.
    if !user_scope {
        add("User", attributes.user.clone());
        add("Group", attributes.group.clone());
        let groups = (!attributes.groups.is_empty()).then(|| attributes.groups.join(" "));
        add("SupplementaryGroups", groups);
    }
    add("UMask", attributes.umask.map(|mask| format!("{mask:04o}")));
    add("Nice", attributes.nice.map(|nice| nice.to_string()));
    add(
        "OOMScoreAdjust",
        attributes.oom_score_adj.map(|adj| adj.to_string()),
    );
    if let Some(priority) = attributes.io_priority {
        let class = match priority.class {
            IoClass::RealTime => "realtime",
            IoClass::BestEffort => "best-effort",
            IoClass::Idle => "idle",
        };
        add("IOSchedulingClass", Some(class.to_owned()));
        add("IOSchedulingPriority", Some(priority.level.to_string()));
    }
    let cpus: Vec<String> = attributes.cpu_affinity.iter().map(u32::to_string).collect();
    add("CPUAffinity", (!cpus.is_empty()).then(|| cpus.join(" ")));
    add(
        "NoNewPrivileges",
        attributes.no_new_privs.then(|| "yes".to_owned()),
    );
    for limit in &attributes.limits {
        add(limit_key(limit.resource), Some(limit_value(limit)));
    }
    if let Some(cgroup) = &attributes.cgroup {
        add(
            "MemoryMax",
            cgroup.memory_max.map(|bytes| bytes.to_string()),
        );
        add("TasksMax", cgroup.pids_max.map(|pids| pids.to_string()));
        let quota = cgroup.cpu_max_us.map(|us| {
            let period = cgroup.cpu_period_us.unwrap_or(100_000).max(1);
            format!("{}%", us.saturating_mul(100).div_ceil(period).max(1))
        });
        add("CPUQuota", quota);
    }
    lines
}

fn limit_value(limit: &Limit) -> String {
    // A cgroup's limit has no soft and hard part.
    if matches!(limit.resource, Resource::Memory | Resource::Pids) {
        let value = limit.soft.or(limit.hard);
        return value.map_or_else(|| "infinity".to_owned(), |v| v.to_string());
    }
    let text = |value: Option<u64>| value.map_or_else(|| "infinity".to_owned(), |v| v.to_string());
    format!("{}:{}", text(limit.soft), text(limit.hard))
}

fn limit_key(resource: Resource) -> &'static str {
    match resource {
        Resource::Memory => "MemoryMax",
        Resource::Pids => "TasksMax",
        Resource::As => "LimitAS",
        Resource::Core => "LimitCORE",
        Resource::Cpu => "LimitCPU",
        Resource::Data => "LimitDATA",
        Resource::Fsize => "LimitFSIZE",
        Resource::Locks => "LimitLOCKS",
        Resource::Memlock => "LimitMEMLOCK",
        Resource::Msgqueue => "LimitMSGQUEUE",
        Resource::Nice => "LimitNICE",
        Resource::Nofile => "LimitNOFILE",
        Resource::Nproc => "LimitNPROC",
        Resource::Rss => "LimitRSS",
        Resource::Rtprio => "LimitRTPRIO",
        Resource::Rttime => "LimitRTTIME",
        Resource::Sigpending => "LimitSIGPENDING",
        Resource::Stack => "LimitSTACK",
    }
}

/// Writes the environment file. systemd passes on only names and values that it finds in order;
/// the others are listed.
fn environment_file(
    env: &[(std::ffi::OsString, std::ffi::OsString)],
    downgrades: &mut Vec<String>,
) -> String {
    let mut text = String::new();
    for (name, value) in env {
        let shown = name.to_string_lossy();
        let valid_name = name.to_str().is_some_and(|name| {
            let mut chars = name.chars();
            chars
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
        match value.to_str().filter(|value| value.chars().all(plain)) {
            Some(value) if valid_name => {
                let _infallible = write!(text, "{shown}=\"");
                for c in value.chars() {
                    if matches!(c, '"' | '\\' | '`' | '$') {
                        text.push('\\');
                    }
                    text.push(c);
                }
                text.push_str("\"\n");
            }
            _ => downgrades.push(format!(
                "env.{}: systemd does not pass on such a variable",
                shown.escape_debug()
            )),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn words_are_quoted_for_systemd() {
        for (word, quoted) in [
            ("plain", r#""plain""#),
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("50% of \"$HOME\" \\", r#""50%% of \"$HOME\" \\""#),
            ("a\nb\tc\u{1b}[0m", r#""a\nb\tc\x1b[0m""#),
            ("grün", r#""grün""#),
        ] {
            assert_eq!(quote(OsStr::new(word)), quoted);
        }
        assert_eq!(quote(OsStr::from_bytes(b"\xff")), r#""\xff""#);
    }

    #[test]
    fn the_environment_keeps_what_systemd_takes_and_lists_the_rest() {
        let env: Vec<(OsString, OsString)> = [
            ("A", "1"),
            ("QUOTED", "say \"hi\" $HOME `x` \\ end"),
            ("LINES", "a\nb"),
            ("BASH_FUNC_x%%", "() { :; }"),
            ("ESC", "\u{1b}"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let mut downgrades = Vec::new();
        let text = environment_file(&env, &mut downgrades);
        assert_eq!(
            text,
            "A=\"1\"\nQUOTED=\"say \\\"hi\\\" \\$HOME \\`x\\` \\\\ end\"\nLINES=\"a\nb\"\n"
        );
        assert_eq!(downgrades.len(), 2, "{downgrades:?}");
    }

    #[test]
    fn stops_become_settings() {
        let lines = |text: &str| stop_lines(&text.parse().unwrap());
        assert_eq!(
            lines("TERM/5s, INT/2s, KILL"),
            [
                ("KillSignal", "15".to_owned()),
                ("TimeoutStopSec", "7000000us".to_owned()),
                ("SendSIGKILL", "yes".to_owned())
            ]
        );
        let [_, timeout, kill] = &lines("QUIT")[..] else {
            panic!()
        };
        assert_eq!((&*timeout.1, &*kill.1), ("infinity", "no"));
    }
}
