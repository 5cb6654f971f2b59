//! `proc.toml` as it is written: raw tables, their schema, and nothing resolved yet.
//!
//! The doc comments here are the descriptions in `proc schema`.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::decode::{
    At, Bytes, BytesLimit, CountLimit, Cx, Decode, Limit, Named, OneOrMore, Scalar, Span, choice,
    inline_schema, table,
};
use crate::node::{Node, Value};

table! {
    /// A project: services that run together under one supervisor.
    pub(crate) struct RawFile {
        /// The project itself.
        project: RawProject,
        /// Any service key: what every service has unless it says otherwise.
        defaults: RawService,
        /// Groups of services, addressed as `@name`.
        groups: Named<RawGroup>,
        /// The services by name.
        service: Named<RawService>,
    }
}

table! {
    /// The project itself.
    pub(crate) struct RawProject {
        /// The project's name; the directory's name unless given.
        name: String,
        /// Variables for every service.
        env: Named<Scalar>,
        /// Environment files for every service, in docker compose's grammar; later ones win.
        env_file: OneOrMore,
        /// What the project does when all services have ended.
        on_exit: OnExit,
        /// The most restarts of all services together within a time; further ones wait.
        restart_budget: RawGuard,
    }
}

choice! {
    /// What a project does when all its services have ended.
    pub enum OnExit {
        /// The supervisor stays.
        Keep = "keep",
        /// The supervisor ends, and with it the project.
        Stop = "stop",
    }
}

table! {
    /// A number of events within a sliding time.
    pub(crate) struct RawBudget {
        /// How many.
        count: u32,
        /// Within which time.
        within: Span,
    }
}

/// A crash-loop guard, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RawGuard(pub(crate) Option<Guard>);

/// So many events within so long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Guard {
    pub(crate) count: u32,
    pub(crate) within: std::time::Duration,
}

impl Decode for RawGuard {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if crate::decode::is_none(node) {
            return Some(RawGuard(None));
        }
        let raw = RawBudget::decode(node, cx)?;
        match (raw.count.as_deref(), raw.within.as_deref()) {
            (Some(0), _) => {
                cx.at("count", |cx| cx.fail(node.at, "must be at least 1"));
                None
            }
            (Some(count), Some(within)) => Some(RawGuard(Some(Guard {
                count: *count,
                within: within.0,
            }))),
            (count, _) => {
                // What is there but wrong was reported when it was read.
                let key = if count.is_none() { "count" } else { "within" };
                if node
                    .as_table()
                    .is_some_and(|table| table.get(key).is_none())
                {
                    cx.fail(
                        node.at,
                        format!("needs `{key}`: {{ count = 5, within = \"30s\" }}"),
                    );
                }
                None
            }
        }
    }
}

impl JsonSchema for RawGuard {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Guard".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawBudget>();
        json_schema!({ "anyOf": [table, { "const": "none" }] })
    }
}

/// A group: a list of services, or a table with a strategy.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawGroup {
    pub(crate) members: Vec<At<String>>,
    pub(crate) strategy: Option<Strategy>,
    pub(crate) budget: Option<At<RawGuard>>,
}

table! {
    /// A group with a strategy.
    pub(crate) struct RawGroupTable {
        /// The services in the group.
        members: Vec<At<String>>,
        /// What the restart of one member means for the others.
        strategy: Strategy,
        /// The most restarts of the members together within a time.
        restart_budget: RawGuard,
    }
}

choice! {
    /// What the restart of one member of a group means for the others, as in Erlang/OTP.
    pub enum Strategy {
        /// Nothing.
        OneForOne = "one_for_one",
        /// All members restart.
        OneForAll = "one_for_all",
        /// The members listed after it restart.
        RestForOne = "rest_for_one",
    }
}

impl Decode for RawGroup {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Array(_) => Some(RawGroup {
                members: Vec::decode(node, cx)?,
                ..RawGroup::default()
            }),
            Value::Table(_) => {
                let table = RawGroupTable::decode(node, cx)?;
                let members = table
                    .members
                    .map(|members| members.value)
                    .unwrap_or_default();
                let strategy = table.strategy.map(|strategy| strategy.value);
                Some(RawGroup {
                    members,
                    strategy,
                    budget: table.restart_budget,
                })
            }
            _ => cx.wrong_type(node, "an array of service names"),
        }
    }
}

impl JsonSchema for RawGroup {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Group".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawGroupTable>();
        json_schema!({
            "description": "A list of services, or a table with a strategy.",
            "anyOf": [{ "type": "array", "items": { "type": "string" } }, table]
        })
    }
}

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

table! {
    /// How a service is stopped: a signal and a grace, or steps; a command may go first.
    pub(crate) struct RawStop {
        /// The first signal. Default TERM.
        signal: SignalName,
        /// How long it has before KILL; "none" never kills. Default 10s.
        grace: Limit,
        /// Signals with the time each has: ["TERM/5s", "INT/5s", "KILL"].
        steps: Vec<At<String>>,
        /// A command that stops it; if it fails or outlasts the grace, the signals follow.
        command: String,
    }
}

table! {
    /// When and how fast a service is restarted.
    pub(crate) struct RawRestartTable {
        /// A peer's policy to start from; the other keys change it.
        profile: String,
        /// When it restarts.
        mode: RestartMode,
        /// The most restarts in a row, or "none".
        max: CountLimit,
        /// The most exits within `startup_grace` in a row, or "none".
        startup_max: CountLimit,
        /// An exit within this time is a failed start.
        startup_grace: Span,
        /// The first delay.
        initial_delay: Span,
        /// The longest delay, or "none".
        max_delay: Limit,
        /// What the delay grows by each time, at least 1.
        factor: f64,
        /// "none", "equal", "full" or a percentage such as "20%".
        jitter: String,
        /// After this long of healthy running it counts from 1 again; "none" is never.
        reset_after: Limit,
        /// So many crashes within so long: give up. Or "none".
        crash_loop: RawGuard,
        /// The exit codes that are a success; replaces [0].
        success_codes: Vec<At<i32>>,
        /// Exit codes and signals after which it stays down.
        no_restart_on: Vec<At<CodeOrSignal>>,
        /// Leave `failed` and try again after this time.
        cool_down: Span,
    }
}

choice! {
    /// When a service restarts.
    pub(crate) enum RestartMode {
        /// Never.
        Never = "never",
        /// When it failed.
        OnFailure = "on-failure",
        /// However it ended.
        Always = "always",
        /// When it ended well.
        OnSuccess = "on-success",
        /// After a signal, a time-out, a missed watchdog or want of memory.
        OnAbnormal = "on-abnormal",
        /// After a signal.
        OnAbort = "on-abort",
        /// After a missed watchdog.
        OnWatchdog = "on-watchdog",
    }
}

/// A restart table, or its mode alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawRestart(pub(crate) RawRestartTable);

impl Decode for RawRestart {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.as_str().is_some() {
            let mode = Some(At::decode(node, cx)?);
            return Some(RawRestart(RawRestartTable {
                mode,
                ..RawRestartTable::default()
            }));
        }
        RawRestartTable::decode(node, cx).map(RawRestart)
    }
}

impl JsonSchema for RawRestart {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Restart".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawRestartTable>();
        let mode = generator.subschema_for::<RestartMode>();
        json_schema!({ "anyOf": [table, mode] })
    }
}

table! {
    /// A probe: one of http, tcp, exec, log, file, notify, notify_fd or delay, and how often.
    pub(crate) struct RawProbe {
        /// GET this URL; any status from 200 to 399 is a success unless `status` says otherwise.
        http: String,
        /// The status the answer must have.
        status: Status,
        /// Headers the answer must have, and what their values must match.
        header: Named<Scalar>,
        /// A regular expression the answer's body must match.
        body: String,
        /// Headers to send with the request.
        send: Named<Scalar>,
        /// Connect to this address.
        tcp: String,
        /// Run this command; 0 is a success.
        exec: String,
        /// A regular expression some line of output must match.
        log: String,
        /// This file exists.
        file: PathBuf,
        /// Wait for READY=1 on NOTIFY_SOCKET: "socket".
        notify: Notify,
        /// Wait for a newline on this file descriptor.
        notify_fd: NotifyFd,
        /// Wait this long.
        delay: Span,
        /// Between tries. Default 1s, 10s for `alive`.
        interval: Span,
        /// How long a try may take. Default 1s.
        timeout: Span,
        /// Successes in a row that count. Default 1.
        successes: Count,
        /// Failures in a row that count, 0 for never. Default 3, 0 for `startup`.
        failures: u32,
        /// Before the first try.
        initial_delay: Span,
    }
}

choice! {
    /// How readiness is told.
    pub(crate) enum Notify {
        /// Through NOTIFY_SOCKET, as sd_notify does.
        Socket = "socket",
    }
}

table! {
    /// Another way to see that a service runs.
    pub(crate) struct RawDetector {
        /// Which way.
        r#type as "type": DetectorType,
        /// The PID file, for `type = "pidfile"`.
        path: PathBuf,
        /// The command, for `type = "command"`; 0 means it runs.
        command: String,
        /// The process, for `type = "pid"`.
        pid: Pid,
    }
}

choice! {
    /// The kinds of detectors.
    pub(crate) enum DetectorType {
        /// A PID file.
        Pidfile = "pidfile",
        /// A command.
        Command = "command",
        /// A process id.
        Pid = "pid",
    }
}

table! {
    /// Files whose change restarts a service.
    pub(crate) struct RawWatchTable {
        /// Globs, relative to the working directory.
        paths: OneOrMore,
        /// Globs that are left out.
        ignore: OneOrMore,
        /// Changes within this time are one. Default 300ms.
        debounce: Span,
    }
}

/// Globs, or a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawWatch(pub(crate) RawWatchTable);

impl Decode for RawWatch {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match node.value {
            Value::Table(_) => RawWatchTable::decode(node, cx).map(RawWatch),
            _ => {
                let paths = Some(At::decode(node, cx)?);
                Some(RawWatch(RawWatchTable {
                    paths,
                    ..RawWatchTable::default()
                }))
            }
        }
    }
}

impl JsonSchema for RawWatch {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Watch".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawWatchTable>();
        let globs = generator.subschema_for::<OneOrMore>();
        json_schema!({ "anyOf": [globs, table] })
    }
}

table! {
    /// Where output goes.
    pub(crate) struct RawLog {
        /// The directory; the state directory's `log` unless given.
        dir: PathBuf,
        /// Rotate at this size, or "none".
        max_size: BytesLimit,
        /// How many rotated files are kept, or "none" for all.
        keep: CountLimit,
        /// The most all files of an instance may take, or "none".
        total_max: BytesLimit,
        /// Rotate, and drop rotated files, at this age, or "none".
        max_age: Limit,
        /// Compress rotated files.
        compress: bool,
        /// Keep the time of each line beside the file.
        timestamps: bool,
        /// One file for stdout and stderr.
        merge: bool,
        /// What happens when the disk or the reader cannot follow.
        on_full: OnFull,
        /// How much recent output is kept in memory.
        ring: Bytes,
        /// Lines that start with a blank belong to the line before.
        multiline: bool,
        /// The service writes the file itself; nothing reads along.
        direct: bool,
    }
}

choice! {
    /// What happens when output cannot be written as fast as it comes.
    pub enum OnFull {
        /// The service waits.
        Block = "block",
        /// Output is dropped, and counted.
        Drop = "drop",
    }
}

table! {
    /// Commands around the start and the stop of a service.
    pub(crate) struct RawHooks {
        /// Before the start; a failure aborts it.
        pre_start: Vec<At<RawHook>>,
        /// After the start.
        post_start: Vec<At<RawHook>>,
        /// Before the stop.
        pre_stop: Vec<At<RawHook>>,
        /// After the stop.
        post_stop: Vec<At<RawHook>>,
    }
}

table! {
    /// A command that runs at a phase.
    pub(crate) struct RawHook {
        /// Its name, unique in the service.
        name: String,
        /// The command line, run by a shell.
        command: String,
        /// The working directory, relative to the service's.
        cwd: PathBuf,
        /// Variables on top of the service's.
        env: Named<Scalar>,
        /// How long it may take, at most 1h. Default 30s.
        timeout: Span,
        /// What its failure means.
        on_failure: HookFailure,
        /// How often it is tried again with `on_failure = "retry"`. Default 1.
        retries: u32,
        /// The delay before such a try. Default 1s.
        retry_delay: Span,
        /// Whether the service waits for it.
        mode: HookMode,
    }
}

choice! {
    /// What the failure of a hook means.
    pub(crate) enum HookFailure {
        /// Its phase has failed.
        Fail = "fail",
        /// Nothing.
        Ignore = "ignore",
        /// It runs again.
        Retry = "retry",
    }
}

choice! {
    /// Whether the service waits for a hook.
    pub(crate) enum HookMode {
        /// It waits.
        Blocking = "blocking",
        /// It does not.
        Async = "async",
    }
}

table! {
    /// How a new version is brought in.
    pub(crate) struct RawDeploy {
        /// Commands, one after the other; the first failure ends it.
        steps: Vec<At<String>>,
        /// The repository whose pushes start it.
        repo: String,
        /// The branch.
        branch: String,
        /// Ask for `proc confirm` before it begins.
        confirm: bool,
        /// The deploy replaces `proc` itself.
        this as "self": bool,
        /// How long all steps may take. Default 10m.
        timeout: Span,
        /// Where the steps run; the service's directory unless given.
        cwd: PathBuf,
    }
}

/// A user or group, by name or number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserName(pub(crate) String);
inline_schema!(UserName, { "type": ["string", "integer"] });

impl Decode for UserName {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let name = match &node.value {
            Value::Integer { .. } => u32::decode(node, cx)?.to_string(),
            _ => String::decode(node, cx)?,
        };
        if name.is_empty() || name.contains([':', '/', '\n']) {
            cx.fail(
                node.at,
                format!("`{}` is not a user or group", name.escape_debug()),
            );
            return None;
        }
        Some(UserName(name))
    }
}

/// A signal by name or number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SignalName(pub(crate) proc_core::Signal);
inline_schema!(SignalName, { "type": ["string", "integer"], "examples": ["TERM", "SIGINT", "RTMIN+3", 15] });

impl Decode for SignalName {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = match &node.value {
            Value::Integer { value, .. } => value.to_string(),
            Value::String(text) => text.clone(),
            _ => return cx.wrong_type(node, "a signal such as \"TERM\""),
        };
        match text.parse() {
            Ok(signal) => Some(SignalName(signal)),
            Err(_) => {
                cx.fail(
                    node.at,
                    format!("`{}` is not a signal", text.escape_debug()),
                );
                None
            }
        }
    }
}

/// An exit code, a signal, or "oom".
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CodeOrSignal {
    Code(i32),
    Signal(proc_core::Signal),
    Oom,
}
inline_schema!(CodeOrSignal, { "type": ["string", "integer"], "examples": [78, "SIGTERM"] });

impl Decode for CodeOrSignal {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Integer { .. } => exit_code(i32::decode(node, cx)?, node, cx).map(Self::Code),
            Value::String(text) if text == "oom" => Some(Self::Oom),
            _ => SignalName::decode(node, cx).map(|signal| Self::Signal(signal.0)),
        }
    }
}

/// Checks that a number can be an exit code.
pub(crate) fn exit_code(code: i32, node: &Node, cx: &mut Cx) -> Option<i32> {
    if (0..=255).contains(&code) {
        return Some(code);
    }
    cx.fail(
        node.at,
        format!("`{code}` is not an exit code, expected 0 to 255"),
    );
    None
}

/// Declares an integer with bounds.
macro_rules! bounded {
    ($(#[$meta:meta])* $name:ident, $low:literal, $high:literal, $what:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub(crate) struct $name(pub(crate) i32);
        inline_schema!($name, { "type": "integer", "minimum": $low, "maximum": $high });

        impl Decode for $name {
            fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
                let value = i32::decode(node, cx)?;
                if ($low..=$high).contains(&value) {
                    return Some($name(value));
                }
                let message = format!("`{value}` is not {}, expected {} to {}", $what, $low, $high);
                cx.fail(node.at, message);
                None
            }
        }
    };
}

bounded!(
    /// A scheduling priority.
    Nice, -20, 19, "a nice value"
);
bounded!(
    /// A score for the kernel's choice when memory runs out.
    OomScore, -1000, 1000, "an oom_score_adj"
);
bounded!(
    /// A number of instances.
    Instances, 0, 10_000, "a number of instances"
);
bounded!(
    /// A number of tries.
    Count, 1, 1_000_000, "a count"
);
bounded!(
    /// A file descriptor for readiness.
    NotifyFd, 3, 1023, "a file descriptor for readiness"
);
bounded!(
    /// A process id.
    Pid, 1, 4_194_304, "a process id"
);

/// A file mode mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Umask(pub(crate) u32);
inline_schema!(Umask, { "type": "string", "pattern": "^(0o)?[0-7]{1,4}$" });

impl Decode for Umask {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let mask = match &node.value {
            Value::Integer { value, octal: true } => u32::try_from(*value).ok(),
            Value::Integer { value, .. } => {
                let hint = Some(format!("write it as a string: umask = \"{value:03}\""));
                cx.fail_hint(node.at, "a umask is octal, and this number is not", hint);
                return None;
            }
            Value::String(text) => {
                let digits = text.strip_prefix("0o").unwrap_or(text);
                let octal =
                    !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
                octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
            }
            _ => return cx.wrong_type(node, "an octal string such as \"027\""),
        };
        match mask {
            Some(mask) if mask <= 0o7777 => Some(Umask(mask)),
            _ => {
                let text = node.as_str().unwrap_or_default();
                cx.fail(
                    node.at,
                    format!("`{text}` is not a umask, expected octal digits such as \"027\""),
                );
                None
            }
        }
    }
}

/// A set of CPUs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CpuList(pub(crate) Vec<u32>);
inline_schema!(CpuList, {
    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "integer", "minimum": 0 } }]
});

impl Decode for CpuList {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let mut cpus = match &node.value {
            Value::String(text) => match cpu_ranges(text) {
                Some(cpus) => cpus,
                None => {
                    cx.fail(
                        node.at,
                        format!(
                            "`{}` is not a list of CPUs such as \"0-3,8\"",
                            text.escape_debug()
                        ),
                    );
                    return None;
                }
            },
            Value::Array(_) => Vec::<u32>::decode(node, cx)?,
            _ => return cx.wrong_type(node, "a list of CPUs"),
        };
        cpus.sort_unstable();
        cpus.dedup();
        if cpus.is_empty() || cpus.iter().any(|cpu| *cpu >= MAX_CPUS) {
            cx.fail(node.at, format!("expected CPUs from 0 to {}", MAX_CPUS - 1));
            return None;
        }
        Some(CpuList(cpus))
    }
}

/// The kernel's own bound in most configurations.
const MAX_CPUS: u32 = 8192;

fn cpu_ranges(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (low, high) = part
            .trim()
            .split_once('-')
            .unwrap_or((part.trim(), part.trim()));
        let (low, high) = (low.parse::<u32>().ok()?, high.parse::<u32>().ok()?);
        if low > high || high >= MAX_CPUS {
            return None;
        }
        cpus.extend(low..=high);
    }
    Some(cpus)
}

bounded!(
    /// An HTTP status.
    Status, 100, 599, "an HTTP status"
);

/// Limits by name, the place kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawLimits(pub(crate) Vec<(At<String>, At<LimitText>)>);

impl Decode for RawLimits {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Named::decode(node, cx).map(|named| RawLimits(named.0))
    }
}

impl JsonSchema for RawLimits {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limits".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": { "type": ["integer", "string"] },
            "examples": [{ "nofile": 4096, "core": "0", "memory": "512MiB", "pids": 200 }]
        })
    }
}

/// What a job asks for, the place kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawSlurm(pub(crate) Vec<(At<String>, At<Scalar>)>);

impl Decode for RawSlurm {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Named::decode(node, cx).map(|named| RawSlurm(named.0))
    }
}

impl JsonSchema for RawSlurm {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slurm".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let keys: Vec<&str> = crate::slurm::keys().collect();
        json_schema!({
            "type": "object",
            "propertyNames": { "enum": keys },
            "additionalProperties": { "type": ["string", "integer", "number", "boolean"] },
            "examples": [{ "partition": "batch", "cpus": 4, "memory": "8GiB", "time": "12h" }]
        })
    }
}

/// A limit as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LimitText(pub(crate) String);

impl Decode for LimitText {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::String(_) => String::decode(node, cx).map(LimitText),
            Value::Integer { value, .. } => Some(LimitText(value.to_string())),
            Value::Float(value) => Some(LimitText(value.to_string())),
            _ => cx.wrong_type(node, "a number, a size or \"none\""),
        }
    }
}
