//! One service: from its merged table to what is wanted of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_probe::{ProbeKind, Role};

use crate::attributes::attributes;
use crate::command::{Command, CommandError};
use crate::cron::Cron;
use crate::decode::{At, Cx, OneOrMore};
use crate::listen::{Listen, ListenAddress};
use crate::probes::{detector, hooks, probe};
use crate::raw::{
    BackendName, ExitProject, Need, OnFull, OnRestart, Overlap, RawDeploy, RawLog, RawService,
    RawWatchTable, Stdin,
};
use crate::restart::{START_SECONDS, policy, stop};
use crate::slurm::slurm_options;
use crate::source::Origin;
use crate::spec::{DeploySpec, Environment, LogSpec, ServiceSpec, WatchSpec};

/// What a service is made from beside its table.
pub(crate) struct Given<'a> {
    pub(crate) name: &'a str,
    pub(crate) at: Origin,
    pub(crate) dir: &'a Path,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) port: Option<u16>,
    pub(crate) scale: Option<u32>,
}

/// Resolves a service, a line per key; what is wrong is reported to `cx`, whose path names the service.
pub(crate) fn service(raw: &RawService, given: Given<'_>, cx: &mut Cx) -> ServiceSpec {
    let cwd = absolute(given.dir, raw.cwd.as_deref());
    let (schedule, oneshot) = schedule(raw, cx);
    let spec = ServiceSpec {
        // What it is.
        name: given.name.to_owned(),
        description: said(&raw.description),
        command: command(raw, given.at, cx),
        env: Environment(given.env),
        clear_env: said(&raw.clear_env).unwrap_or(false),
        port: given.port,
        attributes: attributes(raw, cx),
        stdin: said(&raw.stdin).unwrap_or(Stdin::Null),
        listen: listen(raw, &cwd, cx),
        log: said(&raw.log).map_or_else(LogSpec::default, |raw| log(&raw, given.dir)),
        // When it runs, and how many of it.
        autostart: said(&raw.autostart).unwrap_or(true),
        instances: instances(raw, given.scale),
        priority: said(&raw.priority).unwrap_or(0),
        needs: needs(raw),
        after: raw.after.as_deref().map(strings).unwrap_or_default(),
        schedule,
        overlap: said(&raw.overlap).unwrap_or(Overlap::Forbid),
        oneshot,
        // How it starts, and how one sees that it works.
        start_seconds: said(&raw.start_seconds).map_or(START_SECONDS, |span| span.0),
        start_timeout: said(&raw.start_timeout).map_or(Some(START_TIMEOUT), |limit| limit.0),
        ready: section("ready", &raw.ready, cx, |raw, cx| {
            probe(raw, Role::Ready, cx)
        }),
        alive: section("alive", &raw.alive, cx, alive),
        startup: section("startup", &raw.startup, cx, |raw, cx| {
            probe(raw, Role::Startup, cx)
        }),
        watchdog: watchdog(raw, cx),
        detectors: detectors(raw, cx),
        pid_file: said(&raw.pid_file).map(|path| cwd.join(path)),
        detached: said(&raw.detached).unwrap_or(false),
        hooks: section("hooks", &raw.hooks, cx, |raw, cx| Some(hooks(raw, cx))).unwrap_or_default(),
        // When it is restarted, and what follows from that.
        restart: policy(raw, raw.schedule.is_some(), cx),
        on_restart: said(&raw.on_restart).unwrap_or(OnRestart::Keep),
        watch: section("watch", &raw.watch, cx, |raw, cx| Some(watch(&raw.0, cx))),
        max_memory: said(&raw.max_memory).map(|bytes| bytes.0),
        max_age: said(&raw.max_age).map(|span| span.0),
        exit_project: said(&raw.exit_project).unwrap_or(ExitProject::Never),
        // How it is told something, and how it ends.
        reload_signal: said(&raw.reload_signal).map(|signal| signal.0),
        config_files: config_files(raw, &cwd, cx),
        stop: section("stop", &raw.stop, cx, |raw, cx| Some(stop(raw, cx))).unwrap_or_default(),
        die_with_supervisor: said(&raw.die_with_supervisor),
        deploy: section("deploy", &raw.deploy, cx, |raw, cx| deploy(raw, &cwd, cx)),
        // Who runs it.
        backend: said(&raw.backend).unwrap_or(BackendName::Native),
        host: said(&raw.host),
        unit: said(&raw.unit),
        scope: said(&raw.scope),
        sudo: said(&raw.sudo).unwrap_or(false),
        label: said(&raw.label),
        slurm: slurm(raw, cx),
        cwd,
    };
    contradictions(raw, &spec, cx);
    spec
}

/// How long a start may take where nothing is said.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns what the configuration says, if it says something.
fn said<T: Clone>(field: &Option<At<T>>) -> Option<T> {
    field.as_deref().cloned()
}

/// Resolves a table of its own, with its name in the path of what is wrong with it.
fn section<T, R>(
    key: &str,
    field: &Option<At<T>>,
    cx: &mut Cx,
    resolve: impl FnOnce(&At<T>, &mut Cx) -> Option<R>,
) -> Option<R> {
    let raw = field.as_ref()?;
    cx.at(key, |cx| resolve(raw, cx))
}

fn instances(raw: &RawService, scale: Option<u32>) -> u32 {
    let said = said(&raw.instances).map_or(1, |count| count.0.unsigned_abs());
    scale.unwrap_or(said)
}

fn needs(raw: &RawService) -> BTreeMap<String, Need> {
    let needs = raw.needs.as_deref().into_iter().flat_map(|needs| &needs.0);
    needs
        .map(|(name, need)| (name.value.clone(), *need))
        .collect()
}

fn slurm(raw: &RawService, cx: &mut Cx) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (key, value) in raw.slurm.as_deref().into_iter().flat_map(|raw| &raw.0) {
        match slurm_options(key, &value.0) {
            Ok(more) => {
                for (option, value) in more {
                    if options.insert(option.clone(), value).is_some() {
                        let twice = format!("`{option}` of sbatch is given twice");
                        cx.at("slurm", |cx| cx.fail(key.at, twice));
                    }
                }
            }
            Err(error) => cx.at("slurm", |cx| {
                cx.at(key, |cx| {
                    cx.fail_hint(key.at, error.message, error.hint);
                });
            }),
        }
    }
    options
}

impl ServiceSpec {
    /// Returns a service with every default: what `[service.NAME]` with a `command` alone makes.
    #[must_use]
    pub fn plain(name: &str, command: Option<Command>, dir: &Path) -> ServiceSpec {
        let given = Given {
            name,
            at: Origin::default(),
            dir,
            env: BTreeMap::new(),
            port: None,
            scale: None,
        };
        // The one complaint, that there is no command, is answered here.
        let spec = service(&RawService::default(), given, &mut Cx::default());
        ServiceSpec { command, ..spec }
    }
}

fn absolute(dir: &Path, path: Option<&PathBuf>) -> PathBuf {
    let joined = path.map_or_else(|| dir.to_owned(), |path| dir.join(path));
    // Without looking at the disk: `.` and doubled slashes go, `..` stays what it means there.
    joined.components().collect()
}

fn strings(list: &OneOrMore) -> Vec<String> {
    list.0.iter().map(|text| text.value.clone()).collect()
}

fn command(raw: &RawService, at: Origin, cx: &mut Cx) -> Option<Command> {
    let given: Vec<(&str, Origin)> = [
        ("command", raw.command.as_ref().map(|v| v.at)),
        ("argv", raw.argv.as_ref().map(|v| v.at)),
        ("script", raw.script.as_ref().map(|v| v.at)),
    ]
    .into_iter()
    .filter_map(|(key, at)| at.map(|at| (key, at)))
    .collect();
    match given[..] {
        [] => {
            let elsewhere = match raw.backend.as_deref() {
                Some(BackendName::Systemctl) => raw.unit.is_some(),
                Some(BackendName::Launchctl) => raw.label.is_some(),
                _ => false,
            };
            if !elsewhere {
                cx.fail(at, "has none of `command`, `argv` and `script`");
            }
            return None;
        }
        [(first, _), (second, second_at), ..] => {
            cx.fail(
                second_at,
                format!("has both `{first}` and `{second}`, a service has one of them"),
            );
            return None;
        }
        [_] => {}
    }
    if let Some(line) = &raw.command {
        return cx.at("command", |cx| {
            Command::parse(line)
                .map_err(|error| {
                    let hint = (error == CommandError::Quote).then(|| {
                        "write the words as a list to need no quotes: argv = [\"…\"]".to_owned()
                    });
                    cx.fail_hint(line.at, error.to_string(), hint);
                })
                .ok()
        });
    }
    if let Some(argv) = &raw.argv {
        return cx.at("argv", |cx| {
            if argv.first().is_none_or(|program| program.is_empty()) {
                cx.fail(argv.at, "names no program");
                return None;
            }
            Some(Command::Argv(
                argv.iter().map(|word| word.value.clone()).collect(),
            ))
        });
    }
    let script = raw.script.as_ref()?;
    if script.trim().is_empty() {
        cx.at("script", |cx| cx.fail(script.at, "the script is empty"));
        return None;
    }
    Some(Command::Script(script.value.clone()))
}

fn schedule(raw: &RawService, cx: &mut Cx) -> (Option<Cron>, bool) {
    let oneshot = raw.oneshot.as_deref().copied();
    let Some(text) = &raw.schedule else {
        return (None, oneshot.unwrap_or(false));
    };
    if oneshot == Some(false) {
        let at = raw.oneshot.as_ref().map_or(text.at, |flag| flag.at);
        cx.at("oneshot", |cx| {
            cx.fail(at, "a service with a `schedule` is a oneshot")
        });
    }
    let cron = cx.at("schedule", |cx| {
        text.parse::<Cron>()
            .map_err(|error| cx.fail(text.at, error.to_string()))
            .ok()
    });
    (cron, true)
}

fn alive(raw: &At<crate::raw::RawProbe>, cx: &mut Cx) -> Option<proc_probe::Probe> {
    let probe = probe(raw, Role::Alive, cx)?;
    if matches!(
        probe.kind,
        ProbeKind::Notify | ProbeKind::NotifyFd(_) | ProbeKind::Log(_) | ProbeKind::Delay(_)
    ) {
        let hint =
            Some("use http, tcp, exec or file; for sd_notify there is `watchdog`".to_owned());
        cx.fail_hint(
            raw.at,
            "this kind of probe tells only once and cannot see a service hang",
            hint,
        );
        return None;
    }
    Some(probe)
}

fn watchdog(raw: &RawService, cx: &mut Cx) -> Option<Duration> {
    let span = raw.watchdog.as_ref()?;
    if span.0.is_zero() {
        cx.at("watchdog", |cx| cx.fail(span.at, "must not be 0"));
        return None;
    }
    Some(span.0)
}

fn detectors(raw: &RawService, cx: &mut Cx) -> Vec<proc_probe::Detector> {
    let list = raw.detectors.as_deref().into_iter().flatten().enumerate();
    list.filter_map(|(index, raw)| {
        cx.at("detectors", |cx| cx.at_index(index, |cx| detector(raw, cx)))
    })
    .collect()
}

fn listen(raw: &RawService, cwd: &Path, cx: &mut Cx) -> Vec<Listen> {
    let mut sockets: Vec<Listen> = Vec::new();
    for text in raw
        .listen
        .as_deref()
        .map(|list| &*list.0)
        .unwrap_or_default()
    {
        cx.at("listen", |cx| match text.parse::<Listen>() {
            Ok(mut socket) => {
                place(&mut socket.address, cwd);
                if socket.name.is_some() && sockets.iter().any(|other| other.name == socket.name) {
                    cx.fail(text.at, "two sockets have the same name");
                } else if fixed(&socket)
                    && sockets.iter().any(|other| other.address == socket.address)
                {
                    cx.fail(text.at, "two sockets have the same address");
                }
                sockets.push(socket);
            }
            Err(error) => cx.fail(text.at, error.to_string()),
        });
    }
    sockets
}

/// A socket's path is relative to where the service works, like its other paths, and not to where the supervisor was
/// started.
fn place(address: &mut ListenAddress, cwd: &Path) {
    if let ListenAddress::Unix(path) | ListenAddress::UnixDgram(path) = address
        && !path.as_os_str().as_encoded_bytes().starts_with(b"@")
    {
        *path = cwd.join(&*path);
    }
}

/// An address of which there is one: port 0 is another one each time.
fn fixed(socket: &Listen) -> bool {
    use crate::listen::ListenAddress::{Tcp, Udp};
    !matches!(socket.address, Tcp { port: 0, .. } | Udp { port: 0, .. })
}

fn watch(raw: &RawWatchTable, cx: &mut Cx) -> WatchSpec {
    let globs = |list: &Option<At<OneOrMore>>, key: &str, cx: &mut Cx| {
        let list = list.as_deref().map(|list| &*list.0).unwrap_or_default();
        for glob in list {
            if let Err(error) = globset::Glob::new(glob) {
                cx.at(key, |cx| {
                    cx.fail(
                        glob.at,
                        format!("`{}` is not a glob: {}", glob.escape_debug(), error.kind()),
                    )
                });
            }
        }
        list.iter().map(|glob| glob.value.clone()).collect()
    };
    WatchSpec {
        paths: globs(&raw.paths, "paths", cx),
        ignore: globs(&raw.ignore, "ignore", cx),
        debounce: raw
            .debounce
            .as_deref()
            .map_or(Duration::from_millis(300), |span| span.0),
    }
}

fn config_files(raw: &RawService, cwd: &Path, cx: &mut Cx) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for file in raw
        .config_files
        .as_deref()
        .map(|list| &*list.0)
        .unwrap_or_default()
    {
        let path = cwd.join(&file.value);
        match crate::source::read_bytes(&path, Path::new(&file.value)) {
            Ok(bytes) => {
                files.insert(path, format!("{:016x}", fnv1a(&bytes)));
            }
            Err(error) => cx.at("config_files", |cx| {
                cx.fail(
                    file.at,
                    format!("`{}` {}", file.escape_debug(), error.message),
                );
            }),
        }
    }
    files
}

/// FNV-1a: tells a changed file from an unchanged one; nobody is kept out by it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn log(raw: &RawLog, dir: &Path) -> LogSpec {
    let default = LogSpec::default();
    let flag = |flag: &Option<At<bool>>, default| flag.as_deref().copied().unwrap_or(default);
    LogSpec {
        dir: raw.dir.as_deref().map(|path| absolute(dir, Some(path))),
        max_size: raw
            .max_size
            .as_deref()
            .map_or(default.max_size, |size| size.0),
        keep: raw.keep.as_deref().map_or(default.keep, |count| count.0),
        total_max: raw
            .total_max
            .as_deref()
            .map_or(default.total_max, |size| size.0),
        max_age: raw.max_age.as_deref().map_or(default.max_age, |age| age.0),
        compress: flag(&raw.compress, default.compress),
        timestamps: flag(&raw.timestamps, default.timestamps),
        merge: flag(&raw.merge, default.merge),
        on_full: raw.on_full.as_deref().copied().unwrap_or(OnFull::Block),
        ring: raw.ring.as_deref().map_or(default.ring, |size| size.0),
        multiline: flag(&raw.multiline, default.multiline),
        direct: flag(&raw.direct, default.direct),
    }
}

fn deploy(raw: &At<RawDeploy>, cwd: &Path, cx: &mut Cx) -> Option<DeploySpec> {
    let steps: Vec<String> = raw
        .steps
        .as_deref()
        .into_iter()
        .flatten()
        .map(|step| step.value.clone())
        .collect();
    if steps.is_empty() {
        cx.fail(raw.at, "has no `steps`");
        return None;
    }
    if let Some(step) = raw
        .steps
        .as_deref()
        .into_iter()
        .flatten()
        .find(|step| step.trim().is_empty())
    {
        cx.at("steps", |cx| cx.fail(step.at, "a step is empty"));
        return None;
    }
    Some(DeploySpec {
        steps,
        repo: raw.repo.as_deref().cloned(),
        branch: raw.branch.as_deref().cloned(),
        confirm: raw.confirm.as_deref().copied().unwrap_or(false),
        replaces_proc: raw.this.as_deref().copied().unwrap_or(false),
        timeout: raw
            .timeout
            .as_deref()
            .map_or(Duration::from_secs(600), |span| span.0),
        cwd: raw
            .cwd
            .as_deref()
            .map_or_else(|| cwd.to_owned(), |path| cwd.join(path)),
    })
}

/// Reports keys that do not go together.
fn contradictions(raw: &RawService, spec: &ServiceSpec, cx: &mut Cx) {
    if let (Some(ProbeKind::NotifyFd(fd)), Some(probe)) =
        (spec.ready.as_ref().map(|probe| &probe.kind), &raw.ready)
    {
        let taken = usize::try_from(*fd).is_ok_and(|fd| fd < 3 + spec.listen.len());
        if taken {
            let message =
                format!("descriptor {fd} is one of the sockets of `listen`, which begin at 3");
            cx.at("ready", |cx| cx.fail(probe.at, message));
        }
    }
    for (key, probe) in [("ready", &spec.ready), ("startup", &spec.startup)] {
        let reads_log = probe
            .as_ref()
            .is_some_and(|probe| matches!(probe.kind, ProbeKind::Log(_)));
        if let (true, Some(log)) = (reads_log && spec.log.direct, &raw.log) {
            cx.at("log", |cx| {
                cx.fail(
                    log.at,
                    format!("with `direct` nobody reads along, and `{key}` waits for a line"),
                )
            });
        }
    }
    let name = |key: &str, value: &Option<At<String>>, backend: BackendName, cx: &mut Cx| {
        let Some(value) = value else { return };
        let bad = value.is_empty()
            || value.starts_with('-')
            || value
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || c == '/');
        cx.at(key, |cx| {
            if bad {
                cx.fail(
                    value.at,
                    format!("`{}` is not a name for it", value.escape_debug()),
                );
            } else if spec.backend != backend {
                let hint = Some(format!("set backend = \"{}\"", backend.as_str()));
                cx.fail_hint(
                    value.at,
                    format!("is only known to the backend \"{}\"", backend.as_str()),
                    hint,
                );
            }
        });
    };
    name("unit", &raw.unit, BackendName::Systemctl, cx);
    name("label", &raw.label, BackendName::Launchctl, cx);
    if let Some(host) = &raw.host
        && (host.is_empty()
            || host.starts_with('-')
            || host.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        cx.at("host", |cx| {
            cx.fail(host.at, format!("`{}` is not a host", host.escape_debug()))
        });
    }
    if let Some(path) = raw.pid_file.as_ref().filter(|path| {
        let text = path.to_string_lossy();
        spec.instances > 1 && !text.contains("${PROC_INSTANCE}") && !text.contains("${PROC_NAME}")
    }) {
        cx.at("pid_file", |cx| {
            cx.warn(
                path.at,
                "every instance writes the same file; put `${PROC_INSTANCE}` into it",
            )
        });
    }
}
