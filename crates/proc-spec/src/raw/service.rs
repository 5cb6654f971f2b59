//! A service and what it needs of others.

use std::path::PathBuf;

use super::deploy::RawDeploy;
use super::hooks::RawHooks;
use super::lifecycle::{RawRestart, RawStop};
use super::log::RawLog;
use super::probe::{RawDetector, RawProbe};
use super::scalar::{
    CpuList, Instances, Nice, OomScore, RawLimits, RawSlurm, SignalName, Umask, UserName,
};
use super::watch::RawWatch;
use crate::decode::{
    At, Bytes, CountLimit, Cx, Decode, Limit, Named, OneOrMore, Scalar, Span, choice,
    inline_schema, table,
};
use crate::node::{Node, Value};

table! {
    /// A service: a program to keep running, `instances` times.
    pub(crate) struct RawService {
        /// What the service is, for people.
        description: String,
        /// The command line, split like a shell would; a shell runs only where shell syntax needs one.
        command: String,
        /// The program and its arguments; no shell ever.
        argv: Vec<At<String>>,
        /// A bash script.
        script: String,
        /// The working directory, relative to the file's directory.
        cwd: PathBuf,
        /// Variables; names starting with `PROC_` are reserved.
        env: Named<Scalar>,
        /// Environment files, in docker compose's grammar; later ones win.
        env_file: OneOrMore,
        /// Start without the caller's environment: only what this configuration sets.
        clear_env: bool,
        /// Start with the project, or only when asked by name. Default true.
        autostart: bool,
        /// The user to run as, by name or number.
        user: UserName,
        /// The group to run as, by name or number.
        group: UserName,
        /// Supplementary groups; none of the user's own are kept when given.
        supplementary_groups: Vec<At<UserName>>,
        /// The file mode mask in octal, as a string: "027".
        umask: Umask,
        /// The scheduling priority, -20 to 19.
        nice: Nice,
        /// The I/O priority: "idle", "best-effort:4", "real-time:0".
        io_priority: String,
        /// The CPUs it may run on: "0-3,8" or a list of numbers.
        cpu_affinity: CpuList,
        /// How readily the kernel ends it when memory runs out, -1000 to 1000.
        oom_score_adj: OomScore,
        /// Never gain privileges, not even through a set-user-id program.
        no_new_privs: bool,
        /// Close every file descriptor that is not passed on purpose. Default true.
        close_fds: bool,
        /// Lead a process group ("group", the default) or a session of its own ("session").
        session: Session,
        /// Limits: a number, a size, "none", or "soft:hard"; `cpu_max` is a number of CPUs or a percentage.
        limits: RawLimits,
        /// Where standard input comes from.
        stdin: Stdin,
        /// How many of it run; each gets PROC_INSTANCE=1..N, PROC_NAME, PROC_SERVICE and PROC_PROJECT.
        instances: Instances,
        /// Lower starts first among those that no dependency orders.
        priority: i32,
        /// What must hold of other services before this one starts.
        needs: RawNeeds,
        /// Services that start before this one when both start: order only.
        after: OneOrMore,
        /// What the restart of a needed service means for this one.
        on_restart: OnRestart,
        /// How long it must stay up to count as started. Default 1s.
        start_seconds: Span,
        /// How long it may take to become ready. Default 60s.
        start_timeout: Limit,
        /// How often a failed start is tried again, `start_retry_interval` apart.
        start_retries: CountLimit,
        /// The delay between such tries.
        start_retry_interval: Span,
        /// How it is stopped.
        stop: RawStop,
        /// The signal that makes it read its configuration again.
        reload_signal: SignalName,
        /// When and how fast it is restarted.
        restart: RawRestart,
        /// The probe that tells when it is ready.
        ready: RawProbe,
        /// The probe that tells whether it still works; a failure restarts it.
        alive: RawProbe,
        /// The probe that must succeed before the others begin.
        startup: RawProbe,
        /// It must send WATCHDOG=1 within this time, again and again.
        watchdog: Span,
        /// Other ways to see that it runs, for a program that leaves its starter: what they see before a start is not started
        /// twice, and what they see of its tree when it has ended is the service from then on.
        detectors: Vec<At<RawDetector>>,
        /// The PID file it writes itself. When the process that was started ends, the one of its tree that is named there is
        /// the service from then on.
        pid_file: PathBuf,
        /// Let its background children live on when it ends.
        detached: bool,
        /// End with the supervisor, however that dies. Default: true in the foreground, false detached.
        die_with_supervisor: bool,
        /// Sockets opened for it: "tcp:HOST:PORT", "udp:HOST:PORT", "unix:PATH", "unix-dgram:PATH", each with an optional "name=" before it.
        listen: OneOrMore,
        /// Restart it when files change: globs.
        watch: RawWatch,
        /// Files it reads itself: `proc apply` tells it a change by `reload_signal`, or restarts it.
        config_files: OneOrMore,
        /// When it runs, in cron's five fields; with `oneshot = true`.
        schedule: String,
        /// What happens when it is due while it still runs.
        overlap: Overlap,
        /// It is meant to end: done is `exited`, not a failure.
        oneshot: bool,
        /// Restart it when its tree uses more memory than this.
        max_memory: Bytes,
        /// Restart it when it has run this long.
        max_age: Span,
        /// What its end means for the project, in the foreground.
        exit_project: ExitProject,
        /// Where its output goes.
        log: RawLog,
        /// What runs it.
        backend: BackendName,
        /// The machine it runs on, `user@host`, where the backend can.
        host: String,
        /// The unit, for `backend = "systemctl"`.
        unit: String,
        /// Whose manager has the unit.
        scope: Scope,
        /// Use sudo for what changes the unit.
        sudo: bool,
        /// The job's label, for `backend = "launchctl"`.
        label: String,
        /// Resources, for `backend = "slurm"`: `cpus`, `memory`, `time`, `requeue`, `extra`, and sbatch's long options by name.
        slurm: RawSlurm,
        /// Commands around its start and stop.
        hooks: RawHooks,
        /// How a new version is brought in.
        deploy: RawDeploy,
    }
}

choice! {
    /// Where standard input comes from.
    pub enum Stdin {
        /// `/dev/null`.
        Null = "null",
        /// A pipe, written by `proc send`.
        Pipe = "pipe",
        /// A terminal, used by `proc attach`.
        Pty = "pty",
    }
}

choice! {
    /// What the program leads.
    pub(crate) enum Session {
        /// A process group.
        Group = "group",
        /// A session.
        Session = "session",
    }
}

choice! {
    /// What must hold of a needed service.
    pub enum Need {
        /// It has started.
        Started = "started",
        /// It is ready.
        Ready = "ready",
        /// It has ended with success.
        Completed = "completed",
        /// It has ended, with any code.
        Ended = "ended",
    }
}

choice! {
    /// What the restart of a needed service means for its dependents.
    pub enum OnRestart {
        /// They keep running.
        Keep = "keep",
        /// They restart after it.
        Restart = "restart",
        /// They stop.
        Stop = "stop",
    }
}

choice! {
    /// What happens when a schedule is due while the last run still runs.
    pub enum Overlap {
        /// The new run is skipped.
        Forbid = "forbid",
        /// The last run is stopped first.
        Replace = "replace",
        /// Both run.
        Allow = "allow",
    }
}

choice! {
    /// When the end of a service ends the project.
    pub enum ExitProject {
        /// Never.
        Never = "never",
        /// When it failed.
        OnFailure = "on-failure",
        /// However it ended.
        Always = "always",
    }
}

choice! {
    /// What runs a service.
    pub enum BackendName {
        /// `proc` itself.
        Native = "native",
        /// systemd.
        Systemctl = "systemctl",
        /// launchd.
        Launchctl = "launchctl",
        /// Slurm.
        Slurm = "slurm",
    }
}

choice! {
    /// Whose service manager is meant.
    pub enum Scope {
        /// The user's.
        User = "user",
        /// The machine's.
        System = "system",
    }
}

/// The needs of a service: a table with a condition each, or a list that means `started`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawNeeds(pub(crate) Vec<(At<String>, Need)>);
inline_schema!(RawNeeds, {
    "anyOf": [
        { "type": "object", "additionalProperties": { "enum": ["started", "ready", "completed", "ended"] } },
        { "type": "array", "items": { "type": "string" } }
    ]
});

impl Decode for RawNeeds {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Array(_) => {
                let names: Vec<At<String>> = Vec::decode(node, cx)?;
                Some(RawNeeds(
                    names
                        .into_iter()
                        .map(|name| (name, Need::Started))
                        .collect(),
                ))
            }
            Value::Table(_) => Some(RawNeeds(Named::decode(node, cx)?.0)),
            _ => cx.wrong_type(node, "a table such as { db = \"ready\" }"),
        }
    }
}
