//! What each backend does with each key of a service: nothing is ignored in silence.

use std::fmt::Write as _;

use proc_core::Resource;
use proc_spec::{BackendName, ConfigError, Project, Scope, ServiceSpec, Stdin};

/// What a backend does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As the documentation of the key says.
    Honoured,
    /// With the same effect by other means: which.
    Translated(&'static str),
    /// In a weaker form: what is lost.
    Downgraded(&'static str),
    /// Not at all: why.
    Refused(&'static str),
}

/// One key of a service and what a backend does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSupport {
    /// The key, as in `proc.toml`.
    pub field: &'static str,
    /// What becomes of it.
    pub support: Support,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It runs, with something less than was asked for.
    Downgrade,
    /// It cannot run like that.
    Refusal,
}

/// A key of one service that its backend cannot honour as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key within the service: `limits.memory`.
    pub key: String,
    /// How much it matters.
    pub level: Level,
    /// What is lost, or why not.
    pub message: String,
}

/// Keys that the supervisor carries out itself, whatever runs the service.
const SUPERVISOR: &[&str] = &[
    "after",
    "alive",
    "autostart",
    "backend",
    "config_files",
    "deploy",
    "description",
    "env_file",
    "exit_project",
    "hooks",
    "instances",
    "max_age",
    "needs",
    "on_restart",
    "oneshot",
    "overlap",
    "priority",
    "restart",
    "schedule",
    "start_retries",
    "start_retry_interval",
    "start_seconds",
    "start_timeout",
    "startup",
    "watch",
];

use Support::{Downgraded, Honoured, Refused, Translated};

const NOT_SYSTEMD: &str = "it belongs to another backend";
const OWN_ONLY: &str = "a setting of the generated unit; refused with `unit`, whose file decides";

/// `(key, native, systemctl)` for every key that the backend has a part in.
const FIELDS: &[(&str, Support, Support)] = &[
    (
        "argv",
        Honoured,
        Translated("ExecStart=, quoted; refused with `unit`"),
    ),
    (
        "clear_env",
        Honoured,
        Downgraded("systemd adds variables of its own, and a user's manager its whole environment"),
    ),
    ("close_fds", Honoured, Honoured),
    (
        "command",
        Honoured,
        Translated("ExecStart=, quoted; refused with `unit`"),
    ),
    ("cpu_affinity", Honoured, Translated(OWN_ONLY)),
    (
        "cwd",
        Honoured,
        Translated("WorkingDirectory=; with `unit` its file decides"),
    ),
    (
        "detached",
        Honoured,
        Downgraded("background children end with a leader that failed"),
    ),
    ("detectors", Honoured, Honoured),
    (
        "die_with_supervisor",
        Honoured,
        Downgraded("the unit lives on should the supervisor be killed"),
    ),
    (
        "env",
        Honoured,
        Translated("EnvironmentFile= (0600); with `unit` its file decides"),
    ),
    (
        "group",
        Honoured,
        Translated(
            "Group= of the machine's manager; refused with scope = \"user\" and with `unit`",
        ),
    ),
    (
        "host",
        Refused("native services run on this machine"),
        Translated("systemctl --host, for a unit that exists"),
    ),
    ("io_priority", Honoured, Translated(OWN_ONLY)),
    ("label", Refused(NOT_SYSTEMD), Refused(NOT_SYSTEMD)),
    (
        "limits",
        Honoured,
        Translated(
            "Limit…=; memory and pids as MemoryMax= and TasksMax=, which a user's manager enforces only with the controllers delegated to it",
        ),
    ),
    (
        "listen",
        Honoured,
        Refused("systemd passes the sockets of its own socket units only"),
    ),
    (
        "log",
        Honoured,
        Downgraded(
            "copied from the journal: standard output and error are one stream, and foreign units of a user can lose the last line of a run that ends at once; `direct` is refused",
        ),
    ),
    ("max_memory", Honoured, Honoured),
    ("nice", Honoured, Translated(OWN_ONLY)),
    ("no_new_privs", Honoured, Translated(OWN_ONLY)),
    ("oom_score_adj", Honoured, Translated(OWN_ONLY)),
    ("pid_file", Honoured, Honoured),
    (
        "ready",
        Honoured,
        Translated(
            "probes as ever; `notify` of a unit is systemd's own Type=notify, `notify_fd` is refused",
        ),
    ),
    (
        "reload_signal",
        Honoured,
        Translated("the unit's own reload where it has one, else the signal"),
    ),
    ("scope", Refused(NOT_SYSTEMD), Honoured),
    (
        "script",
        Honoured,
        Translated("ExecStart=, quoted; refused with `unit`"),
    ),
    (
        "session",
        Honoured,
        Downgraded("always a session of its own"),
    ),
    ("slurm", Refused(NOT_SYSTEMD), Refused(NOT_SYSTEMD)),
    (
        "stdin",
        Honoured,
        Refused("a unit's standard input is /dev/null"),
    ),
    (
        "stop",
        Honoured,
        Translated(
            "KillSignal= and TimeoutStopSec=, further steps by systemctl kill; an existing unit is first stopped its own way",
        ),
    ),
    ("sudo", Refused(NOT_SYSTEMD), Honoured),
    (
        "supplementary_groups",
        Honoured,
        Translated(
            "SupplementaryGroups= of the machine's manager; refused with scope = \"user\" and with `unit`",
        ),
    ),
    ("umask", Honoured, Translated(OWN_ONLY)),
    ("unit", Refused(NOT_SYSTEMD), Honoured),
    (
        "user",
        Honoured,
        Translated("User= of the machine's manager; refused with scope = \"user\" and with `unit`"),
    ),
    (
        "watchdog",
        Honoured,
        Downgraded("a unit's own WatchdogSec= counts"),
    ),
];

/// Returns what a backend does with every key of a service, by key. Empty for a backend that is not built in.
#[must_use]
pub fn field_support(backend: BackendName) -> Vec<FieldSupport> {
    let of = |row: &(&'static str, Support, Support)| {
        let support = match backend {
            BackendName::Native => row.1,
            BackendName::Systemctl => row.2,
            _ => return None,
        };
        Some(FieldSupport {
            field: row.0,
            support,
        })
    };
    let mut all: Vec<FieldSupport> = FIELDS.iter().filter_map(of).collect();
    if !all.is_empty() {
        let support = Honoured;
        all.extend(
            SUPERVISOR
                .iter()
                .map(|field| FieldSupport { field, support }),
        );
    }
    all.sort_by_key(|row| row.field);
    all
}

/// Finds what of a service its backend cannot honour as written.
#[must_use]
pub fn audit(spec: &ServiceSpec) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |level, key: &str, message: &str| {
        found.push(Finding {
            key: key.to_owned(),
            level,
            message: message.to_owned(),
        });
    };
    match spec.backend {
        BackendName::Native => {
            let set = [
                ("unit", spec.unit.is_some()),
                ("scope", spec.scope.is_some()),
                ("sudo", spec.sudo),
                ("label", spec.label.is_some()),
                ("host", spec.host.is_some()),
                ("slurm", !spec.slurm.is_empty()),
            ];
            for (key, _) in set.iter().filter(|(_, set)| *set) {
                add(Level::Refusal, key, "the native backend has no use for it");
            }
        }
        BackendName::Systemctl => systemctl(spec, &mut add),
        other => {
            let name = other.as_str();
            add(
                Level::Refusal,
                "backend",
                &format!("`{name}` is not built in"),
            );
        }
    }
    found
}

/// What of a project its backends cannot honour as written, each with its line.
#[derive(Debug, Default)]
pub struct ProjectAudit {
    /// What cannot run like that.
    pub refusals: Vec<ConfigError>,
    /// What runs with something less than was asked for.
    pub downgrades: Vec<ConfigError>,
}

/// Finds what of a whole project its backends cannot honour as written.
#[must_use]
pub fn audit_project(project: &Project) -> ProjectAudit {
    let mut audited = ProjectAudit::default();
    for service in &project.services {
        let backend = service.backend.as_str();
        for Finding {
            key,
            level,
            message,
        } in audit(service)
        {
            let key = format!("service.{}.{key}", service.name);
            match level {
                Level::Refusal => {
                    let text = format!("not possible with backend `{backend}`: {message}");
                    audited.refusals.push(project.error_at(&key, text));
                }
                Level::Downgrade => {
                    let text = format!("weaker with backend `{backend}`: {message}");
                    audited.downgrades.push(project.error_at(&key, text));
                }
            }
        }
    }
    audited
}

fn systemctl(spec: &ServiceSpec, add: &mut impl FnMut(Level, &str, &str)) {
    let bare = ServiceSpec::plain(&spec.name, None, &spec.cwd);
    let (attributes, plain) = (&spec.attributes, &bare.attributes);
    let (exists, user) = (spec.unit.is_some(), spec.scope == Some(Scope::User));
    let probe = spec.ready.as_ref().map(|probe| probe.kind.to_string());
    let notify_fd = probe.is_some_and(|kind| kind.starts_with("notify_fd"));
    let identity = [
        ("user", attributes.user.is_some()),
        ("group", attributes.group.is_some()),
        ("supplementary_groups", !attributes.groups.is_empty()),
    ];
    let shape = [
        ("umask", attributes.umask != plain.umask),
        ("nice", attributes.nice != plain.nice),
        ("io_priority", attributes.io_priority != plain.io_priority),
        (
            "cpu_affinity",
            attributes.cpu_affinity != plain.cpu_affinity,
        ),
        (
            "oom_score_adj",
            attributes.oom_score_adj != plain.oom_score_adj,
        ),
        (
            "no_new_privs",
            attributes.no_new_privs != plain.no_new_privs,
        ),
        (
            "limits",
            attributes.limits != plain.limits || attributes.cgroup != plain.cgroup,
        ),
    ];
    let refusals = [
        ("label", spec.label.is_some(), NOT_SYSTEMD),
        ("slurm", !spec.slurm.is_empty(), NOT_SYSTEMD),
        (
            "stdin",
            spec.stdin != Stdin::Null,
            "a unit's standard input is /dev/null",
        ),
        (
            "listen",
            !spec.listen.is_empty(),
            "systemd passes the sockets of its own socket units only",
        ),
        (
            "log.direct",
            spec.log.direct,
            "the lines come from the journal",
        ),
        (
            "ready.notify_fd",
            notify_fd,
            "a unit gets no further descriptors",
        ),
        (
            "command",
            exists && spec.command.is_some(),
            "the file of an existing unit decides; leave out `command` or `unit`",
        ),
        (
            "unit",
            exists && spec.instances > 1,
            "one existing unit cannot be several instances",
        ),
        (
            "host",
            spec.host.is_some() && !exists,
            "only a unit that exists can be run on another host",
        ),
        (
            "host",
            spec.host.is_some() && user,
            "the manager of a user of another host cannot be reached",
        ),
        (
            "sudo",
            spec.sudo && user,
            "sudo would reach the manager of another user",
        ),
    ];
    for (key, _, why) in refusals.iter().filter(|(_, is, _)| *is) {
        add(Level::Refusal, key, why);
    }
    for (key, _) in identity.iter().filter(|(_, is)| *is && (user || exists)) {
        let why = if exists {
            "the file of an existing unit decides"
        } else {
            "a user's manager runs everything as that user"
        };
        add(Level::Refusal, key, why);
    }
    for (key, _) in shape.iter().filter(|(_, is)| *is && exists) {
        add(Level::Refusal, key, "the file of an existing unit decides");
    }
    let cgroup = attributes.cgroup.as_ref();
    let has = |resource| {
        attributes
            .limits
            .iter()
            .any(|limit| limit.resource == resource)
    };
    let downgrades = [
        (
            "limits.memory",
            !exists
                && user
                && (has(Resource::Memory) || cgroup.is_some_and(|c| c.memory_max.is_some())),
            "a user's manager enforces it only where the memory controller is delegated to it",
        ),
        (
            "limits.pids",
            !exists
                && user
                && (has(Resource::Pids) || cgroup.is_some_and(|c| c.pids_max.is_some())),
            "a user's manager enforces it only where the pids controller is delegated to it",
        ),
        (
            "clear_env",
            spec.clear_env,
            "systemd adds variables of its own",
        ),
        (
            "detached",
            spec.detached,
            "background children end with a leader that failed",
        ),
        (
            "die_with_supervisor",
            spec.die_with_supervisor == Some(true),
            "the unit lives on should the supervisor be killed",
        ),
        (
            "watchdog",
            spec.watchdog.is_some(),
            "a unit's own WatchdogSec= counts",
        ),
        (
            "log",
            exists && user,
            "lines of a user's unit that ends at once can be missing from the journal",
        ),
    ];
    for (key, _, what) in downgrades.iter().filter(|(_, is, _)| *is) {
        add(Level::Downgrade, key, what);
    }
}

/// Writes the table of keys and backends, as `docs/backends.md` has it.
#[must_use]
pub fn support_table() -> String {
    let mut text = String::from(
        "# What each backend does with each key\n\n\
         Generated from the code (`proc_backends::support_table`); a test keeps it true. `proc check` tells \
         downgrades, and refuses what is refused, before anything starts.\n\n\
         | key | native | systemctl |\n|---|---|---|\n",
    );
    let words = |support| match support {
        Honoured => "honoured".to_owned(),
        Translated(how) => format!("translated: {how}"),
        Downgraded(lost) => format!("downgraded: {lost}"),
        Refused(why) => format!("refused: {why}"),
    };
    let systemctl = field_support(BackendName::Systemctl);
    for (native, systemctl) in field_support(BackendName::Native).iter().zip(&systemctl) {
        let row = (
            native.field,
            words(native.support),
            words(systemctl.support),
        );
        let _infallible = writeln!(text, "| `{}` | {} | {} |", row.0, row.1, row.2);
    }
    text.push_str("\n`launchctl` and `slurm` are known names that this version has no backend for: `proc check` refuses them.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_spec::Command;
    use std::path::Path;

    #[test]
    fn every_key_of_a_service_has_its_row() {
        let schema = proc_spec::schema();
        let keys = schema["$defs"]["RawService"]["properties"]
            .as_object()
            .unwrap();
        let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
        for backend in [BackendName::Native, BackendName::Systemctl] {
            let rows: Vec<&str> = field_support(backend).iter().map(|row| row.field).collect();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            assert_eq!(rows, sorted);
        }
    }

    #[test]
    fn the_documentation_is_what_the_code_does() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/backends.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, support_table()).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text == support_table(),
            "run with UPDATE_DOCS=1 to write it anew"
        );
    }

    fn service() -> ServiceSpec {
        let mut spec = ServiceSpec::plain(
            "web",
            Some(Command::Argv(vec!["true".into()])),
            Path::new("/"),
        );
        spec.backend = BackendName::Systemctl;
        spec
    }

    fn keys(spec: &ServiceSpec, level: Level) -> Vec<String> {
        let found = audit(spec)
            .into_iter()
            .filter(|finding| finding.level == level);
        found.map(|finding| finding.key).collect()
    }

    #[test]
    fn an_unenforceable_limit_is_told_before_anything_starts() {
        let mut spec = service();
        spec.scope = Some(Scope::User);
        spec.attributes.limits = vec![proc_core::Limit::both(Resource::Memory, Some(1 << 30))];
        assert_eq!(keys(&spec, Level::Downgrade), ["limits.memory"]);
        assert!(keys(&spec, Level::Refusal).is_empty());
        spec.scope = Some(Scope::System);
        assert!(audit(&spec).is_empty());
        spec.unit = Some("web.service".into());
        assert_eq!(keys(&spec, Level::Refusal), ["command", "limits"]);
    }

    #[test]
    fn what_a_backend_has_no_use_for_is_refused() {
        let mut spec = service();
        assert!(audit(&spec).is_empty(), "{:?}", audit(&spec));
        spec.stdin = Stdin::Pipe;
        spec.attributes.user = Some("www".into());
        spec.scope = Some(Scope::User);
        spec.sudo = true;
        assert_eq!(keys(&spec, Level::Refusal), ["stdin", "sudo", "user"]);
        spec.backend = BackendName::Native;
        assert_eq!(keys(&spec, Level::Refusal), ["scope", "sudo"]);
        spec.backend = BackendName::Slurm;
        assert_eq!(keys(&spec, Level::Refusal), ["backend"]);
    }
}
