//! What a process gets before its program is executed: user, limits, session and the rest, as plain data.

use std::fmt;
use std::str::FromStr;

/// What a process is given before it runs its program.
///
/// Plain data; the default changes nothing but the process group. [`resolve`](Self::resolve) looks users, groups and
/// limits up while there is still a place to report to, [`ResolvedAttributes`](crate::ResolvedAttributes) applies
/// them between fork and exec. Either everything is applied or the program does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct Attributes {
    /// Group, session, or neither.
    pub session: SessionMode,
    /// User name or number. Its primary group and its supplementary groups come with it.
    pub user: Option<String>,
    /// Group name or number; default: the user's.
    pub group: Option<String>,
    /// Further supplementary groups, names or numbers; they are added to the user's.
    pub groups: Vec<String>,
    /// Bits that new files do not get, 0 to 0o777.
    pub umask: Option<u32>,
    /// Niceness, -20 (favoured) to 19.
    pub nice: Option<i32>,
    /// I/O priority.
    pub io_priority: Option<IoPriority>,
    /// CPUs it may run on, from 0; empty changes nothing.
    pub cpu_affinity: Vec<u32>,
    /// How readily the kernel ends it for lack of memory, -1000 (never) to 1000.
    pub oom_score_adj: Option<i32>,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// Whether it and its descendants can no longer gain privileges by exec (set-user-id programs).
    pub no_new_privs: bool,
    /// Whether descriptors from 3 up, except those passed on purpose, are closed at exec.
    pub close_fds: bool,
    /// A cgroup of its own, where one can be made.
    pub cgroup: Option<CgroupSpec>,
}

/// Whether a process leads a group, a session, or neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum SessionMode {
    /// It leads a process group of its own in the caller's session.
    #[default]
    Group,
    /// It leads a session (and so a group) of its own, without a controlling terminal.
    Session,
    /// It stays in the caller's group.
    Inherit,
}

/// The kernel's I/O scheduling class and level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// The level within the class, 0 (first) to 7; ignored for [`IoClass::Idle`].
    pub level: u8,
}

/// An I/O scheduling class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum IoClass {
    /// Always first; needs privileges.
    RealTime,
    /// The usual class.
    BestEffort,
    /// Only when nobody else wants the disk.
    Idle,
}

/// A soft and a hard limit of one resource, in the resource's unit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limit {
    /// The resource.
    pub resource: Resource,
    /// What the process runs into.
    pub soft: Option<u64>,
    /// How far the process may raise the soft limit.
    pub hard: Option<u64>,
}

impl Limit {
    /// Returns a limit whose soft and hard value are the same.
    pub const fn both(resource: Resource, value: Option<u64>) -> Self {
        Self {
            resource,
            soft: value,
            hard: value,
        }
    }
}

macro_rules! resources {
    ($($variant:ident $name:literal $alias:literal $doc:literal;)*) => {
        /// A resource that can be limited. Names are those of `ulimit` and of configuration files.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
        pub enum Resource {
            $(#[doc = $doc] $variant,)*
        }

        impl Resource {
            /// Every resource.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name in configuration files.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name { $($name | $alias => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

resources! {
    Memory "memory" "mem" "Memory in bytes: of the whole cgroup where there is one, else address space of each process.";
    Pids "pids" "tasks" "Processes and threads: of the whole cgroup where there is one, else of an unprivileged user.";
    Nofile "nofile" "fds" "Open descriptors.";
    Core "core" "coredump" "Size of a core dump in bytes.";
    As "as" "address-space" "Address space in bytes (`RLIMIT_AS`).";
    Nproc "nproc" "processes" "Processes of the user (`RLIMIT_NPROC`).";
    Cpu "cpu" "cputime" "CPU time in seconds.";
    Data "data" "datasize" "Data segment in bytes.";
    Fsize "fsize" "filesize" "Size of a written file in bytes.";
    Memlock "memlock" "locked" "Locked memory in bytes.";
    Stack "stack" "stacksize" "Stack in bytes.";
    Rss "rss" "resident" "Resident memory in bytes; Linux ignores it.";
    Nice "nice" "niceness" "Ceiling of niceness, 20 - n.";
    Rtprio "rtprio" "realtime" "Ceiling of the real-time priority.";
    Rttime "rttime" "realtime-time" "Real-time CPU time in microseconds.";
    Sigpending "sigpending" "signals" "Queued signals of the user.";
    Msgqueue "msgqueue" "queues" "Bytes in POSIX message queues of the user.";
    Locks "locks" "filelocks" "File locks; Linux ignores it.";
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is no resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown resource `{0}`")]
pub struct ParseResourceError(String);

impl FromStr for Resource {
    type Err = ParseResourceError;

    /// Reads `nofile`, `NOFILE`, `RLIMIT_NOFILE`, …
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_ascii_lowercase();
        let name = lower.strip_prefix("rlimit_").unwrap_or(&lower);
        Self::from_name(name).ok_or_else(|| ParseResourceError(text.to_owned()))
    }
}

/// A cgroup (version 2) for one service, and what its whole tree may use; `None` is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct CgroupSpec {
    /// `memory.max` in bytes.
    pub memory_max: Option<u64>,
    /// `pids.max`: processes and threads.
    pub pids_max: Option<u64>,
    /// `cpu.max`: microseconds of CPU time per `cpu_period_us`.
    pub cpu_max_us: Option<u64>,
    /// The period of `cpu_max_us`; `None` is the kernel's 100,000.
    pub cpu_period_us: Option<u64>,
}

/// Something asked for that this system cannot do, and what is done in its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Downgrade {
    /// What was asked for: `limits.pids`.
    pub attribute: String,
    /// What happens, and why.
    pub reason: String,
}

impl fmt::Display for Downgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.attribute, self.reason)
    }
}

/// A pair that [`Attributes::set`] does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid attribute `{key}` with value `{value}`")]
pub struct ParseAttributeError {
    key: String,
    value: String,
}

impl Attributes {
    /// Returns them as pairs of text that [`set`](Self::set) reads back; what changes nothing is left out.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut push = |key: &str, value: String| pairs.push((key.to_owned(), value));
        match self.session {
            SessionMode::Group => {}
            SessionMode::Session => push("session", "session".to_owned()),
            SessionMode::Inherit => push("session", "inherit".to_owned()),
        }
        if let Some(user) = &self.user {
            push("user", user.clone());
        }
        if let Some(group) = &self.group {
            push("group", group.clone());
        }
        self.groups
            .iter()
            .for_each(|group| push("groups", group.clone()));
        if let Some(umask) = self.umask {
            push("umask", format!("{umask:03o}"));
        }
        if let Some(nice) = self.nice {
            push("nice", nice.to_string());
        }
        if let Some(priority) = self.io_priority {
            push("io_priority", priority.to_string());
        }
        self.cpu_affinity
            .iter()
            .for_each(|cpu| push("cpu_affinity", cpu.to_string()));
        if let Some(adjust) = self.oom_score_adj {
            push("oom_score_adj", adjust.to_string());
        }
        for limit in &self.limits {
            push(
                &format!("limits.{}", limit.resource),
                format!("{}:{}", limit_text(limit.soft), limit_text(limit.hard)),
            );
        }
        if self.no_new_privs {
            push("no_new_privs", "true".to_owned());
        }
        if self.close_fds {
            push("close_fds", "true".to_owned());
        }
        if let Some(cgroup) = &self.cgroup {
            push("cgroup", "true".to_owned());
            for (key, value) in [
                ("cgroup.memory_max", cgroup.memory_max),
                ("cgroup.pids_max", cgroup.pids_max),
                ("cgroup.cpu_max_us", cgroup.cpu_max_us),
                ("cgroup.cpu_period_us", cgroup.cpu_period_us),
            ] {
                if let Some(value) = value {
                    push(key, value.to_string());
                }
            }
        }
        pairs
    }

    /// Sets one attribute from text, as [`pairs`](Self::pairs) writes it. Lists (`groups`, `cpu_affinity`, limits)
    /// grow; a limit is `SOFT:HARD` or one number for both, `none` for unlimited.
    ///
    /// # Errors
    /// [`ParseAttributeError`] for an unknown key or a malformed value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ParseAttributeError> {
        self.try_set(key, value).ok_or_else(|| ParseAttributeError {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    fn try_set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "session" => {
                self.session = match value {
                    "group" => SessionMode::Group,
                    "session" => SessionMode::Session,
                    "inherit" => SessionMode::Inherit,
                    _ => return None,
                }
            }
            "user" => self.user = Some(value.to_owned()),
            "group" => self.group = Some(value.to_owned()),
            "groups" => self.groups.push(value.to_owned()),
            "umask" => self.umask = Some(u32::from_str_radix(value, 8).ok()?),
            "nice" => self.nice = Some(value.parse().ok()?),
            "io_priority" => self.io_priority = Some(value.parse().ok()?),
            "cpu_affinity" => self.cpu_affinity.push(value.parse().ok()?),
            "oom_score_adj" => self.oom_score_adj = Some(value.parse().ok()?),
            "no_new_privs" => self.no_new_privs = value.parse().ok()?,
            "close_fds" => self.close_fds = value.parse().ok()?,
            "cgroup" => {
                self.cgroup = value
                    .parse::<bool>()
                    .ok()?
                    .then(|| self.cgroup.take().unwrap_or_default())
            }
            _ => {
                if let Some(resource) = key.strip_prefix("limits.") {
                    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
                    let resource = resource.parse().ok()?;
                    self.limits.push(Limit {
                        resource,
                        soft: limit_value(soft)?,
                        hard: limit_value(hard)?,
                    });
                    return Some(());
                }
                let cgroup = self.cgroup.get_or_insert_default();
                let field = match key.strip_prefix("cgroup.")? {
                    "memory_max" => &mut cgroup.memory_max,
                    "pids_max" => &mut cgroup.pids_max,
                    "cpu_max_us" => &mut cgroup.cpu_max_us,
                    "cpu_period_us" => &mut cgroup.cpu_period_us,
                    _ => return None,
                };
                *field = Some(value.parse().ok()?);
            }
        }
        Some(())
    }
}

/// What was asked for, as [`Attributes::set`] reads it.
pub(crate) fn both_text(limit: &Limit) -> String {
    if limit.soft == limit.hard {
        limit_text(limit.soft)
    } else {
        format!("{}:{}", limit_text(limit.soft), limit_text(limit.hard))
    }
}

fn limit_text(value: Option<u64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn limit_value(text: &str) -> Option<Option<u64>> {
    match text {
        "none" | "unlimited" | "infinity" => Some(None),
        text => text.parse().ok().map(Some),
    }
}

impl fmt::Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            IoClass::RealTime => write!(f, "real-time:{}", self.level),
            IoClass::BestEffort => write!(f, "best-effort:{}", self.level),
            IoClass::Idle => f.write_str("idle"),
        }
    }
}

impl FromStr for IoPriority {
    type Err = ParseAttributeError;

    /// Reads `best-effort:4`, `real-time:0`, `idle`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseAttributeError {
            key: "io_priority".to_owned(),
            value: text.to_owned(),
        };
        let (class, level) = text.split_once(':').unwrap_or((text, "4"));
        let class = match class {
            "real-time" | "realtime" | "rt" => IoClass::RealTime,
            "best-effort" | "be" => IoClass::BestEffort,
            "idle" => {
                return Ok(Self {
                    class: IoClass::Idle,
                    level: 0,
                });
            }
            _ => return Err(error()),
        };
        let level = level
            .parse()
            .ok()
            .filter(|level| *level <= 7)
            .ok_or_else(error)?;
        Ok(Self { class, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_read_back() {
        let attributes = Attributes {
            session: SessionMode::Session,
            user: Some("www".into()),
            group: Some("100".into()),
            groups: vec!["a".into(), "b".into()],
            umask: Some(0o27),
            nice: Some(-5),
            io_priority: Some(IoPriority {
                class: IoClass::BestEffort,
                level: 3,
            }),
            cpu_affinity: vec![0, 3],
            oom_score_adj: Some(-100),
            limits: vec![
                Limit {
                    resource: Resource::Nofile,
                    soft: Some(10),
                    hard: None,
                },
                Limit::both(Resource::Core, Some(0)),
            ],
            no_new_privs: true,
            close_fds: true,
            cgroup: Some(CgroupSpec {
                memory_max: Some(1),
                ..CgroupSpec::default()
            }),
        };
        let mut back = Attributes::default();
        for (key, value) in attributes.pairs() {
            back.set(&key, &value).unwrap();
        }
        assert_eq!(back, attributes);
        assert!(Attributes::default().pairs().is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for (key, value) in [
            ("umask", "9"),
            ("nice", "x"),
            ("limits.x", "1"),
            ("limits.core", "1:"),
            ("x", "1"),
            ("cgroup.x", "1"),
        ] {
            assert!(
                Attributes::default().set(key, value).is_err(),
                "{key}={value}"
            );
        }
    }

    #[test]
    fn resources_read_by_every_name() {
        for resource in Resource::ALL {
            assert_eq!(resource.name().parse(), Ok(*resource));
        }
        assert_eq!("RLIMIT_NOFILE".parse(), Ok(Resource::Nofile));
        assert!("rlimit".parse::<Resource>().is_err());
    }
}
