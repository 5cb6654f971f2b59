//! launchd's job files: what `proc export launchd`, `proc enable` and the launchctl backend write.

use std::collections::BTreeMap;

use plist::{Dictionary, Value};
use proc_core::{Attributes, Limit, Resource, Signal};

/// A job as launchd reads it. Unset fields are left out of the file, so launchd's own defaults hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaunchdJob {
    /// Its name in its domain.
    pub label: String,
    /// The program's absolute path; `None` is the first of the arguments.
    pub program: Option<String>,
    /// The program's arguments, its own name first.
    pub arguments: Vec<String>,
    /// The working directory.
    pub cwd: Option<String>,
    /// Variables besides those that launchd sets.
    pub env: BTreeMap<String, String>,
    /// Where standard output goes; launchd appends, and never rotates.
    pub stdout: Option<String>,
    /// Where standard error goes.
    pub stderr: Option<String>,
    /// Whether it starts as soon as it is loaded.
    pub run_at_load: bool,
    /// When launchd starts it again by itself.
    pub keep_alive: KeepAlive,
    /// The least time between two starts by launchd itself, in seconds; 10 where unset.
    pub throttle_seconds: Option<u64>,
    /// The time between launchd's own TERM and KILL, in seconds.
    pub exit_seconds: Option<u64>,
    /// Whether children in the background outlive the program.
    pub abandon_group: bool,
    /// User, limits and the like; see [`impossible`] for what launchd cannot do.
    pub attributes: Attributes,
}

/// When launchd starts a job again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepAlive {
    /// Never.
    #[default]
    Never,
    /// After an exit that is not 0, and after a signal.
    OnFailure,
    /// Always.
    Always,
}

/// A text that no job file can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} holds a control character, which no property list can")]
pub struct UnwritableText {
    /// Where it stands: `argv`, `env.A`.
    pub field: String,
}

/// launchd's names of the limits it can set.
const LIMITS: &[(Resource, &str)] = &[
    (Resource::Core, "Core"),
    (Resource::Cpu, "CPU"),
    (Resource::Data, "Data"),
    (Resource::Fsize, "FileSize"),
    (Resource::Memlock, "MemoryLock"),
    (Resource::Nofile, "NumberOfFiles"),
    (Resource::Nproc, "NumberOfProcesses"),
    (Resource::Pids, "NumberOfProcesses"),
    (Resource::Rss, "ResidentSetSize"),
    (Resource::Stack, "Stack"),
];

fn limit_name(resource: Resource) -> Option<&'static str> {
    let found = LIMITS.iter().find(|(known, _)| *known == resource);
    found.map(|(_, name)| *name)
}

/// Names what of some attributes launchd has no setting for.
#[must_use]
pub fn impossible(attributes: &Attributes) -> Vec<String> {
    let plain = Attributes::default();
    let cgroup = attributes.cgroup.as_ref();
    let mut keys: Vec<String> = [
        ("supplementary_groups", !attributes.groups.is_empty()),
        ("io_priority", attributes.io_priority != plain.io_priority),
        ("cpu_affinity", !attributes.cpu_affinity.is_empty()),
        ("oom_score_adj", attributes.oom_score_adj.is_some()),
        ("no_new_privs", attributes.no_new_privs),
        (
            "limits.memory",
            cgroup.is_some_and(|c| c.memory_max.is_some()),
        ),
        ("limits.cpu", cgroup.is_some_and(|c| c.cpu_max_us.is_some())),
    ]
    .iter()
    .filter(|(_, is)| *is)
    .map(|(key, _)| (*key).to_owned())
    .collect();
    let limits = attributes.limits.iter();
    let unknown = limits.filter(|limit| limit_name(limit.resource).is_none());
    keys.extend(unknown.map(|limit| format!("limits.{}", limit.resource.name())));
    keys.dedup();
    keys
}

impl LaunchdJob {
    /// Returns the job file as XML; `marker` becomes a comment at its head.
    ///
    /// # Errors
    /// A text with a control character.
    pub fn to_plist(&self, marker: Option<&str>) -> Result<String, UnwritableText> {
        self.check()?;
        let mut bytes = Vec::new();
        self.value()
            .to_writer_xml(&mut bytes)
            .expect("a dictionary of texts, numbers and flags can be written to memory");
        let mut text = String::from_utf8(bytes).expect("the writer writes UTF-8");
        if let (Some(marker), Some(at)) = (marker, text.find("<plist")) {
            // Two hyphens would end the comment.
            let marker = marker.replace("--", "- -");
            text.insert_str(at, &format!("<!-- {marker} -->\n"));
        }
        text.push('\n');
        Ok(text)
    }

    fn check(&self) -> Result<(), UnwritableText> {
        let named = |field: &str, text: &Option<String>| (field.to_owned(), text.clone());
        let attributes = &self.attributes;
        let mut texts = vec![
            ("label".to_owned(), Some(self.label.clone())),
            named("argv", &self.program),
            named("cwd", &self.cwd),
            named("log", &self.stdout),
            named("log", &self.stderr),
            named("user", &attributes.user),
            named("group", &attributes.group),
        ];
        let argv = |word: &String| ("argv".to_owned(), Some(word.clone()));
        texts.extend(self.arguments.iter().map(argv));
        let env = |(name, value): (&String, &String)| {
            let field = format!("env.{}", name.escape_debug());
            (field, Some(format!("{name}{value}")))
        };
        texts.extend(self.env.iter().map(env));
        let held = |c: char| !c.is_control() || c == '\n' || c == '\t';
        let bad = texts
            .into_iter()
            .find(|(_, text)| text.as_ref().is_some_and(|t| !t.chars().all(held)));
        match bad {
            Some((field, _)) => Err(UnwritableText { field }),
            None => Ok(()),
        }
    }

    fn value(&self) -> Value {
        let mut dict = Dictionary::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                dict.insert(key.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let flag = |is: bool| is.then_some(Value::Boolean(true));
        let number = |n: Option<u64>| n.map(|n| Value::Integer(n.into()));
        put("Label", Some(Value::String(self.label.clone())));
        put("Program", text(&self.program));
        let arguments = self.arguments.iter().cloned().map(Value::String).collect();
        put("ProgramArguments", Some(Value::Array(arguments)));
        put("WorkingDirectory", text(&self.cwd));
        let env: Dictionary = self
            .env
            .iter()
            .map(|(name, value)| (name.clone(), Value::String(value.clone())))
            .collect();
        put(
            "EnvironmentVariables",
            (!env.is_empty()).then_some(Value::Dictionary(env)),
        );
        put("StandardOutPath", text(&self.stdout));
        put("StandardErrorPath", text(&self.stderr));
        put("RunAtLoad", flag(self.run_at_load));
        put("KeepAlive", self.keep_alive.value());
        put("ThrottleInterval", number(self.throttle_seconds));
        put("ExitTimeOut", number(self.exit_seconds));
        put("AbandonProcessGroup", flag(self.abandon_group));
        let attributes = &self.attributes;
        put("UserName", text(&attributes.user));
        put("GroupName", text(&attributes.group));
        put("Umask", number(attributes.umask.map(u64::from)));
        put(
            "Nice",
            attributes
                .nice
                .map(|nice| Value::Integer(i64::from(nice).into())),
        );
        put("SoftResourceLimits", limits(attributes, |limit| limit.soft));
        put("HardResourceLimits", limits(attributes, |limit| limit.hard));
        Value::Dictionary(dict)
    }
}

impl KeepAlive {
    fn value(self) -> Option<Value> {
        match self {
            Self::Never => None,
            Self::Always => Some(Value::Boolean(true)),
            Self::OnFailure => {
                let mut dict = Dictionary::new();
                dict.insert("SuccessfulExit".to_owned(), Value::Boolean(false));
                Some(Value::Dictionary(dict))
            }
        }
    }
}

fn limits(attributes: &Attributes, part: impl Fn(&Limit) -> Option<u64>) -> Option<Value> {
    let mut dict = Dictionary::new();
    for limit in &attributes.limits {
        if let (Some(name), Some(value)) = (limit_name(limit.resource), part(limit)) {
            dict.insert(name.to_owned(), Value::Integer(value.into()));
        }
    }
    let pids = attributes
        .cgroup
        .as_ref()
        .and_then(|cgroup| cgroup.pids_max);
    if let Some(pids) = pids {
        dict.insert("NumberOfProcesses".to_owned(), Value::Integer(pids.into()));
    }
    (!dict.is_empty()).then_some(Value::Dictionary(dict))
}

/// Returns what launchd's `ExitTimeOut` is for a stop sequence: the time until its KILL, in whole
/// seconds and at least one; `None` where it never comes to a KILL.
#[must_use]
pub fn exit_seconds(stop: &proc_core::StopSequence) -> Option<u64> {
    let mut total = std::time::Duration::ZERO;
    for step in &stop.steps {
        if step.signal == Signal::KILL {
            return Some(total.as_secs_f64().ceil().clamp(1.0, 1e9) as u64);
        }
        total = total.saturating_add(step.wait?);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_reads_back_as_it_was_written() {
        let job = LaunchdJob {
            label: "com.example.web".to_owned(),
            program: Some("/bin/sh".to_owned()),
            arguments: ["sh", "-c", "echo \"<&>\" 'a\tb' ä\nc"]
                .map(str::to_owned)
                .to_vec(),
            env: [("A".to_owned(), "x & y".to_owned())].into(),
            keep_alive: KeepAlive::OnFailure,
            exit_seconds: Some(7),
            attributes: Attributes {
                umask: Some(0o27),
                nice: Some(-5),
                limits: vec![Limit {
                    resource: Resource::Nofile,
                    soft: Some(10),
                    hard: None,
                }],
                ..Attributes::default()
            },
            ..LaunchdJob::default()
        };
        let text = job.to_plist(Some("Written by proc -- for web")).unwrap();
        assert!(
            text.contains("<!-- Written by proc - - for web -->"),
            "{text}"
        );
        let value = Value::from_reader_xml(text.as_bytes()).unwrap();
        let dict = value.as_dictionary().unwrap();
        assert_eq!(
            *dict.get("Label").unwrap(),
            Value::String(job.label.clone())
        );
        let words: Vec<_> = dict["ProgramArguments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_string().unwrap())
            .collect();
        assert_eq!(words, job.arguments);
        assert_eq!(
            dict["EnvironmentVariables"].as_dictionary().unwrap()["A"].as_string(),
            Some("x & y")
        );
        assert_eq!(dict["Nice"].as_signed_integer(), Some(-5));
        assert_eq!(dict["Umask"].as_unsigned_integer(), Some(0o27));
        assert_eq!(
            dict["SoftResourceLimits"].as_dictionary().unwrap()["NumberOfFiles"]
                .as_unsigned_integer(),
            Some(10)
        );
        assert!(!dict.contains_key("HardResourceLimits") && !dict.contains_key("RunAtLoad"));
        assert_eq!(
            dict["KeepAlive"].as_dictionary().unwrap()["SuccessfulExit"].as_boolean(),
            Some(false)
        );
    }

    #[test]
    fn what_no_property_list_can_hold_is_refused_by_name() {
        let env = [("ESC".to_owned(), "\u{1b}[0m".to_owned())].into();
        let job = LaunchdJob {
            env,
            ..LaunchdJob::default()
        };
        assert_eq!(job.to_plist(None).unwrap_err().field, "env.ESC");
    }

    #[test]
    fn stops_become_whole_seconds() {
        let seconds = |text: &str| exit_seconds(&text.parse().unwrap());
        assert_eq!(seconds("TERM/1500ms, KILL"), Some(2));
        assert_eq!(seconds("TERM/5s, INT/2s, KILL"), Some(7));
        assert_eq!(seconds("KILL"), Some(1));
        assert_eq!(seconds("TERM/5s"), None);
    }
}
