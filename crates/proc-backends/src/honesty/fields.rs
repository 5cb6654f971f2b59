//! The table of keys: what native services, systemd and launchd do with each; Slurm's column is beside its rules.

use super::Support::{self, Downgraded, Honoured, Refused, Translated};

/// Keys that the supervisor carries out itself, whatever runs the service.
pub(super) const SUPERVISOR: &[&str] = &[
    "after",
    "alive",
    "autostart",
    "backend",
    "config_files",
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

pub(super) const ELSEWHERE: &str = "it belongs to another backend";
pub(super) const NO_SETTING: &str = "launchd has no such setting";
pub(super) const NO_DEPLOY: &str = "without effect: no verb deploys yet";
pub(super) const MAIN_PROCESS: &str = "it decides itself which process is the main one";
const OWN_ONLY: &str = "a setting of the generated unit; refused with `unit`, whose file decides";

/// `(key, native, systemctl, launchctl)` for every key that the backend has a part in.
pub(super) const FIELDS: &[(&str, Support, Support, Support)] = &[
    (
        "argv",
        Honoured,
        Translated("ExecStart=, quoted; refused with `unit`"),
        Translated("ProgramArguments; without a command the job of `label` exists"),
    ),
    (
        "clear_env",
        Honoured,
        Downgraded("systemd adds variables of its own, and a user's manager its whole environment"),
        Downgraded("launchd adds variables of its own"),
    ),
    ("close_fds", Honoured, Honoured, Honoured),
    (
        "command",
        Honoured,
        Translated("ExecStart=, quoted; refused with `unit`"),
        Translated("ProgramArguments; without a command the job of `label` exists"),
    ),
    (
        "cpu_affinity",
        Honoured,
        Translated(OWN_ONLY),
        Refused(NO_SETTING),
    ),
    (
        "cwd",
        Honoured,
        Translated("WorkingDirectory=; with `unit` its file decides"),
        Translated("WorkingDirectory; an existing job's file decides"),
    ),
    (
        "deploy",
        Downgraded(NO_DEPLOY),
        Downgraded(NO_DEPLOY),
        Downgraded(NO_DEPLOY),
    ),
    (
        "detached",
        Honoured,
        Downgraded("background children end with a leader that failed"),
        Translated("AbandonProcessGroup"),
    ),
    (
        "detectors",
        Honoured,
        Downgraded(MAIN_PROCESS),
        Downgraded(MAIN_PROCESS),
    ),
    (
        "die_with_supervisor",
        Honoured,
        Downgraded("the unit lives on should the supervisor be killed"),
        Downgraded("the job lives on should the supervisor be killed"),
    ),
    (
        "env",
        Honoured,
        Translated("EnvironmentFile= (0600); with `unit` its file decides"),
        Translated(
            "EnvironmentVariables of a job file that nobody else can read; an existing job's file decides",
        ),
    ),
    (
        "group",
        Honoured,
        Translated(
            "Group= of the machine's manager; refused with scope = \"user\" and with `unit`",
        ),
        Translated(
            "GroupName in the system domain; refused with scope = \"user\" and for an existing job",
        ),
    ),
    (
        "host",
        Refused("native services run on this machine"),
        Translated(
            "systemctl --host, for a unit that exists; how a run that ended well ended is not known where systemd forgets it",
        ),
        Refused("launchctl reaches this machine only"),
    ),
    (
        "io_priority",
        Honoured,
        Translated(OWN_ONLY),
        Refused(NO_SETTING),
    ),
    ("label", Refused(ELSEWHERE), Refused(ELSEWHERE), Honoured),
    (
        "limits",
        Honoured,
        Translated(
            "Limit…=; memory and pids as MemoryMax= and TasksMax=, which a user's manager enforces only with the controllers delegated to it",
        ),
        Translated(
            "SoftResourceLimits and HardResourceLimits; pids as NumberOfProcesses of the whole user, memory and cpu are refused: nothing of macOS bounds them",
        ),
    ),
    (
        "listen",
        Honoured,
        Refused("systemd passes the sockets of its own socket units only"),
        Refused("launchd passes sockets by a call of its own, not by LISTEN_FDS"),
    ),
    (
        "log",
        Honoured,
        Downgraded(
            "copied from the journal: standard output and error are one stream, and foreign units of a user can lose the last line of a run that ends at once; `direct` is refused",
        ),
        Downgraded(
            "launchd writes the files itself: no rotation, no times, no bound; of an existing job its files are copied, or `log show`",
        ),
    ),
    ("max_memory", Honoured, Honoured, Honoured),
    (
        "nice",
        Honoured,
        Translated(OWN_ONLY),
        Translated("Nice; refused for an existing job"),
    ),
    (
        "no_new_privs",
        Honoured,
        Translated(OWN_ONLY),
        Refused(NO_SETTING),
    ),
    (
        "oom_score_adj",
        Honoured,
        Translated(OWN_ONLY),
        Refused(NO_SETTING),
    ),
    (
        "pid_file",
        Honoured,
        Downgraded(MAIN_PROCESS),
        Downgraded(MAIN_PROCESS),
    ),
    (
        "ready",
        Honoured,
        Translated(
            "probes as ever; `notify` of a unit is systemd's own Type=notify, `notify_fd` is refused",
        ),
        Translated("probes as ever; `notify` and `notify_fd` are refused"),
    ),
    (
        "reload_signal",
        Honoured,
        Translated("the unit's own reload where it has one, else the signal"),
        Translated("launchctl kill"),
    ),
    ("scope", Refused(ELSEWHERE), Honoured, Honoured),
    (
        "script",
        Honoured,
        Translated("ExecStart=, quoted; refused with `unit`"),
        Translated("ProgramArguments; without a command the job of `label` exists"),
    ),
    (
        "session",
        Honoured,
        Downgraded("always a session of its own"),
        Downgraded("launchd decides"),
    ),
    (
        "slurm",
        Refused(ELSEWHERE),
        Refused(ELSEWHERE),
        Refused(ELSEWHERE),
    ),
    (
        "stdin",
        Honoured,
        Refused("a unit's standard input is /dev/null"),
        Refused("a job's standard input is /dev/null"),
    ),
    (
        "stop",
        Honoured,
        Translated(
            "KillSignal= and TimeoutStopSec=, further steps by systemctl kill; an existing unit is first stopped its own way",
        ),
        Translated(
            "each step by launchctl kill; an existing job is first removed from its domain, so that launchd does not restart it",
        ),
    ),
    ("sudo", Refused(ELSEWHERE), Honoured, Honoured),
    (
        "supplementary_groups",
        Honoured,
        Translated(
            "SupplementaryGroups= of the machine's manager; refused with scope = \"user\" and with `unit`",
        ),
        Refused(NO_SETTING),
    ),
    (
        "umask",
        Honoured,
        Translated(OWN_ONLY),
        Translated("Umask; refused for an existing job"),
    ),
    ("unit", Refused(ELSEWHERE), Honoured, Refused(ELSEWHERE)),
    (
        "user",
        Honoured,
        Translated("User= of the machine's manager; refused with scope = \"user\" and with `unit`"),
        Translated(
            "UserName in the system domain; refused with scope = \"user\" and for an existing job",
        ),
    ),
    (
        "watchdog",
        Honoured,
        Downgraded("a unit's own WatchdogSec= counts"),
        Refused(NO_SETTING),
    ),
];
