//! systemd's units: what `proc export systemd`, `proc enable` and the systemctl backend write alike.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use proc_core::{Attributes, IoClass, Limit, Resource, Signal, StopSequence};

/// A setting of a unit's `[Service]` section: its key and its value.
pub type Setting = (&'static str, String);

/// Quotes one word so that systemd reads exactly its bytes, but for variables where those are expanded.
#[must_use]
pub fn quote(word: &OsStr) -> String {
    format!("\"{}\"", escape(word.as_bytes()))
}

/// Writes bytes as they stand between double quotes; `%` is doubled, as it would begin a specifier.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
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
#[must_use]
pub fn path(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let trimmed = text.trim();
    let fine = trimmed == text && text.starts_with('/') && !text.chars().any(char::is_control);
    let odd = text.contains('\\') || text.contains('"');
    (fine && !odd).then(|| text.replace('%', "%%"))
}

/// Writes one word of a command line in which systemd expands variables: none is.
#[must_use]
pub fn word(word: &OsStr) -> String {
    quote(word).replace('$', "$$")
}

/// Writes a time: whole seconds, else microseconds.
#[must_use]
pub fn span(time: Duration) -> String {
    if time.subsec_nanos() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}us", time.as_micros())
    }
}

/// Returns the settings of a stop. The first step is systemd's own; it goes on by itself if nobody is there any more to
/// do so.
#[must_use]
pub fn stop(stop: &StopSequence) -> Vec<Setting> {
    let Some(first) = stop.steps.first() else {
        return vec![("TimeoutStopSec", "infinity".to_owned())];
    };
    let total =
        stop.steps
            .iter()
            .try_fold(Duration::ZERO, |sum, step| match (step.wait, step.signal) {
                (Some(wait), _) => Some(sum.saturating_add(wait)),
                (None, Signal::KILL) => Some(sum),
                (None, _) => None,
            });
    let kills = stop.steps.iter().any(|step| step.signal == Signal::KILL);
    let timeout = match total {
        // 0 would be "for ever" to systemd.
        Some(total) if kills => span(total.max(Duration::from_millis(1))),
        _ => "infinity".to_owned(),
    };
    vec![
        ("KillSignal", format!("SIG{}", first.signal)),
        ("TimeoutStopSec", timeout),
        ("SendSIGKILL", if kills { "yes" } else { "no" }.to_owned()),
    ]
}

/// Returns the settings of who a program runs as.
#[must_use]
pub fn account(attributes: &Attributes) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut add = |key, value: Option<String>| settings.extend(value.map(|value| (key, value)));
    add("User", attributes.user.clone());
    add("Group", attributes.group.clone());
    let groups = (!attributes.groups.is_empty()).then(|| attributes.groups.join(" "));
    add("SupplementaryGroups", groups);
    settings
}

/// Returns the settings of what a program runs in: umask, priorities, limits, its cgroup.
#[must_use]
pub fn surroundings(attributes: &Attributes) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut add = |key, value: Option<String>| settings.extend(value.map(|value| (key, value)));
    add("UMask", attributes.umask.map(|mask| format!("{mask:04o}")));
    add("Nice", attributes.nice.map(|nice| nice.to_string()));
    let score = attributes.oom_score_adj;
    add("OOMScoreAdjust", score.map(|score| score.to_string()));
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
    let no_new = attributes.no_new_privs.then(|| "yes".to_owned());
    add("NoNewPrivileges", no_new);
    let cgroup = attributes.cgroup.clone().unwrap_or_default();
    // What the cgroup says is not said twice.
    let once = |limit: &&Limit| match limit.resource {
        Resource::Memory => cgroup.memory_max.is_none(),
        Resource::Pids => cgroup.pids_max.is_none(),
        _ => true,
    };
    for limit in attributes.limits.iter().filter(once) {
        add(limit_key(limit.resource), Some(limit_value(limit)));
    }
    let memory = cgroup.memory_max.map(|bytes| bytes.to_string());
    add("MemoryMax", memory);
    add("TasksMax", cgroup.pids_max.map(|pids| pids.to_string()));
    let quota = cgroup.cpu_max_us.map(|us| {
        let period = cgroup.cpu_period_us.unwrap_or(100_000).max(1);
        format!("{}%", us.saturating_mul(100).div_ceil(period).max(1))
    });
    add("CPUQuota", quota);
    settings
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(word(OsStr::new("$HOME")), r#""$$HOME""#);
    }

    #[test]
    fn stops_become_settings() {
        let settings = |text: &str| stop(&text.parse().unwrap());
        assert_eq!(
            settings("TERM/5s, INT/2s, KILL"),
            [
                ("KillSignal", "SIGTERM".to_owned()),
                ("TimeoutStopSec", "7s".to_owned()),
                ("SendSIGKILL", "yes".to_owned())
            ]
        );
        let [_, timeout, kill] = &settings("QUIT")[..] else {
            panic!()
        };
        assert_eq!((&*timeout.1, &*kill.1), ("infinity", "no"));
        let [_, timeout, _] = &settings("INT/1.5s, KILL")[..] else {
            panic!()
        };
        assert_eq!(timeout.1, "1500000us");
    }

    #[test]
    fn every_limit_has_its_setting() {
        for resource in Resource::ALL {
            let key = limit_key(*resource);
            let own = matches!(resource, Resource::Memory | Resource::Pids);
            let named = format!("Limit{}", resource.name().to_ascii_uppercase());
            assert!(own || key == named, "{resource:?}: {key}");
        }
    }
}
