//! What each backend does with each key of a service: nothing is ignored in silence.

mod fields;
mod host;
mod slurm;

use std::fmt::Write as _;

use proc_core::Resource;
use proc_spec::{BackendName, ConfigError, Project, Scope, ServiceSpec, Stdin};

use self::fields::{ELSEWHERE, FIELDS, MAIN_PROCESS, NO_SETTING, SUPERVISOR};
pub use self::host::audit_host;

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

/// The backends that there are.
const BUILT_IN: [BackendName; 4] = [
    BackendName::Native,
    BackendName::Systemctl,
    BackendName::Launchctl,
    BackendName::Slurm,
];

use Support::{Downgraded, Honoured, Refused, Translated};

/// Returns what a backend does with every key of a service, by key.
#[must_use]
pub fn field_support(backend: BackendName) -> Vec<FieldSupport> {
    let of = |row: &(&'static str, Support, Support, Support)| {
        let support = match backend {
            BackendName::Native => row.1,
            BackendName::Systemctl => row.2,
            BackendName::Launchctl => row.3,
            BackendName::Slurm => slurm::column(row.0)?,
        };
        Some(FieldSupport {
            field: row.0,
            support,
        })
    };
    let mut all: Vec<FieldSupport> = FIELDS.iter().filter_map(of).collect();
    all.extend(SUPERVISOR.iter().map(|field| FieldSupport {
        field,
        support: match backend {
            BackendName::Slurm => slurm::column(field).unwrap_or(Honoured),
            _ => Honoured,
        },
    }));
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
        BackendName::Launchctl => launchctl(spec, &mut add),
        BackendName::Slurm => slurm::audit(spec, &mut add),
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

/// The keys that only whoever starts the process can honour, of those that are set.
fn shaping(spec: &ServiceSpec) -> Vec<&'static str> {
    let bare = ServiceSpec::plain(&spec.name, None, &spec.cwd);
    let (is, plain) = (&spec.attributes, &bare.attributes);
    let limits = is.limits != plain.limits || is.cgroup != plain.cgroup;
    let keys = [
        ("umask", is.umask != plain.umask),
        ("nice", is.nice != plain.nice),
        ("io_priority", is.io_priority != plain.io_priority),
        ("cpu_affinity", is.cpu_affinity != plain.cpu_affinity),
        ("oom_score_adj", is.oom_score_adj != plain.oom_score_adj),
        ("no_new_privs", is.no_new_privs != plain.no_new_privs),
        ("limits", limits),
    ];
    only_set(&keys)
}

/// The keys that change who runs it, of those that are set.
fn identity(spec: &ServiceSpec) -> Vec<&'static str> {
    let attributes = &spec.attributes;
    only_set(&[
        ("user", attributes.user.is_some()),
        ("group", attributes.group.is_some()),
        ("supplementary_groups", !attributes.groups.is_empty()),
    ])
}

fn only_set(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    keys.iter()
        .filter(|(_, is)| *is)
        .map(|(key, _)| *key)
        .collect()
}

/// Whether memory and the number of processes are bounded.
fn bounds(spec: &ServiceSpec) -> (bool, bool) {
    let attributes = &spec.attributes;
    let cgroup = attributes.cgroup.as_ref();
    let has = |resource| {
        attributes
            .limits
            .iter()
            .any(|limit| limit.resource == resource)
    };
    (
        has(Resource::Memory) || cgroup.is_some_and(|c| c.memory_max.is_some()),
        has(Resource::Pids) || cgroup.is_some_and(|c| c.pids_max.is_some()),
    )
}

type Row = (&'static str, bool, &'static str);

fn report(level: Level, rows: &[Row], add: &mut impl FnMut(Level, &str, &str)) {
    for (key, _, why) in rows.iter().filter(|(_, is, _)| *is) {
        add(level, key, why);
    }
}

/// What says which process is the service: for those that start it themselves.
fn main_process(spec: &ServiceSpec) -> [Row; 2] {
    [
        ("detectors", !spec.detectors.is_empty(), MAIN_PROCESS),
        ("pid_file", spec.pid_file.is_some(), MAIN_PROCESS),
    ]
}

fn ready_is(spec: &ServiceSpec, kind: &str) -> bool {
    let probe = spec.ready.as_ref().map(|probe| probe.kind.to_string());
    probe.is_some_and(|is| is == kind || is.starts_with(&format!("{kind} ")))
}

fn systemctl(spec: &ServiceSpec, add: &mut impl FnMut(Level, &str, &str)) {
    let (exists, user) = (spec.unit.is_some(), spec.scope == Some(Scope::User));
    report(Level::Refusal, &systemctl_refusals(spec, exists, user), add);
    for key in identity(spec).iter().filter(|_| user || exists) {
        let why = if exists {
            "the file of an existing unit decides"
        } else {
            "a user's manager runs everything as that user"
        };
        add(Level::Refusal, key, why);
    }
    for key in shaping(spec).iter().filter(|_| exists) {
        add(Level::Refusal, key, "the file of an existing unit decides");
    }
    let (memory, pids) = bounds(spec);
    let weaker = [
        (
            "limits.memory",
            !exists && user && memory,
            "a user's manager enforces it only where the memory controller is delegated to it",
        ),
        (
            "limits.pids",
            !exists && user && pids,
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
            "host",
            spec.host.is_some(),
            "how a run that ended well ended is not known where systemd forgets it",
        ),
        (
            "log",
            exists && user,
            "lines of a user's unit that ends at once can be missing from the journal",
        ),
    ];
    report(Level::Downgrade, &weaker, add);
    report(Level::Downgrade, &main_process(spec), add);
}

fn systemctl_refusals(spec: &ServiceSpec, exists: bool, user: bool) -> Vec<Row> {
    vec![
        ("label", spec.label.is_some(), ELSEWHERE),
        ("slurm", !spec.slurm.is_empty(), ELSEWHERE),
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
            ready_is(spec, "notify_fd"),
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
    ]
}

fn launchctl(spec: &ServiceSpec, add: &mut impl FnMut(Level, &str, &str)) {
    let (exists, user) = (spec.command.is_none(), spec.scope == Some(Scope::User));
    let label = exists && spec.instances > 1;
    let refusals = [
        ("unit", spec.unit.is_some(), ELSEWHERE),
        ("slurm", !spec.slurm.is_empty(), ELSEWHERE),
        (
            "host",
            spec.host.is_some(),
            "launchctl reaches this machine only",
        ),
        (
            "stdin",
            spec.stdin != Stdin::Null,
            "a job's standard input is /dev/null",
        ),
        (
            "listen",
            !spec.listen.is_empty(),
            "launchd passes sockets by a call of its own",
        ),
        (
            "ready.notify",
            ready_is(spec, "notify"),
            "launchd has no such socket",
        ),
        (
            "ready.notify_fd",
            ready_is(spec, "notify_fd"),
            "a job gets no further descriptors",
        ),
        ("watchdog", spec.watchdog.is_some(), NO_SETTING),
        (
            "label",
            label,
            "one existing job cannot be several instances",
        ),
        (
            "sudo",
            spec.sudo && user,
            "sudo would reach the domain of another user",
        ),
    ];
    report(Level::Refusal, &refusals, add);
    for key in identity(spec)
        .iter()
        .chain(&shaping(spec))
        .filter(|_| exists)
    {
        add(Level::Refusal, key, "the file of an existing job decides");
    }
    for key in identity(spec).iter().filter(|_| user && !exists) {
        add(
            Level::Refusal,
            key,
            "the domain of a user runs everything as that user",
        );
    }
    for key in proc_spec::launchd::impossible(&spec.attributes)
        .iter()
        .filter(|_| !exists)
    {
        add(Level::Refusal, key, NO_SETTING);
    }
    let (_, pids) = bounds(spec);
    let weaker = [
        (
            "limits.pids",
            !exists && pids,
            "it counts all processes of the user",
        ),
        (
            "clear_env",
            spec.clear_env,
            "launchd adds variables of its own",
        ),
        (
            "die_with_supervisor",
            spec.die_with_supervisor == Some(true),
            "the job lives on should the supervisor be killed",
        ),
    ];
    report(Level::Downgrade, &weaker, add);
    report(Level::Downgrade, &main_process(spec), add);
}

/// Writes the table of keys and backends, as `docs/backends.md` has it.
#[must_use]
pub fn support_table() -> String {
    let mut text = String::from(
        "# What each backend does with each key\n\n\
         Generated from the code (`proc_backends::support_table`); a test keeps it true. `proc check` tells \
         downgrades, and refuses what is refused, before anything starts.\n\n\
         | key | native | systemctl | launchctl | slurm |\n|---|---|---|---|---|\n",
    );
    let words = |support| match support {
        Honoured => "honoured".to_owned(),
        Translated(how) => format!("translated: {how}"),
        Downgraded(lost) => format!("downgraded: {lost}"),
        Refused(why) => format!("refused: {why}"),
    };
    let columns = BUILT_IN.map(field_support);
    for (at, row) in columns[0].iter().enumerate() {
        let _infallible = write!(text, "| `{}` |", row.field);
        for column in &columns {
            let _infallible = write!(text, " {} |", words(column[at].support));
        }
        text.push('\n');
    }
    text.push_str(slurm::NOTES);
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
        for backend in BUILT_IN {
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
    fn lines_that_a_users_journal_may_lose_are_told_before_anything_starts() {
        let mut spec = service();
        spec.command = None;
        spec.unit = Some("web.service".into());
        let told = |spec: &ServiceSpec| {
            let mut found = audit(spec).into_iter();
            found.any(|f| {
                f.level == Level::Downgrade && f.message.contains("missing from the journal")
            })
        };
        assert!(!told(&spec), "the machine's journal loses none");
        spec.scope = Some(Scope::User);
        assert!(told(&spec), "{:?}", audit(&spec));
    }

    #[test]
    fn which_process_is_the_service_is_the_managers_choice() {
        let mut spec = service();
        spec.pid_file = Some("/run/web.pid".into());
        for backend in BUILT_IN {
            spec.backend = backend;
            let level = match backend {
                // There is no process here that a file could name.
                BackendName::Slurm => Level::Refusal,
                _ => Level::Downgrade,
            };
            let told = keys(&spec, level) == ["pid_file"];
            assert_eq!(told, backend != BackendName::Native, "{backend:?}");
        }
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
        let refused = ["scope", "sudo", "stdin", "user"];
        assert_eq!(keys(&spec, Level::Refusal), refused);
    }
}
