//! What a right configuration means.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proc_core::{Resource, Signal, StopSequence};
use proc_policy::{ExitMatch, Jitter, Mode};
use proc_probe::ProbeKind;
use proc_spec::{
    Action, Command, ExitProject, Format, Loader, Need, OnExit, Project, ServiceSpec, Stdin, diff,
    select,
};
use tempfile::TempDir;

/// A directory with files in it.
struct Dir(TempDir);

impl Dir {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = Self(tempfile::tempdir().expect("a temporary directory"));
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
            std::fs::write(path, text).expect("it can be written");
        }
        dir
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn loader(&self, env: &[(&str, &str)]) -> Loader {
        let env = env
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Loader::new(self.path(), env.collect())
    }

    fn load(&self, env: &[(&str, &str)]) -> Project {
        self.loader(env)
            .load()
            .unwrap_or_else(|errors| panic!("{errors}"))
    }
}

fn load(text: &str) -> Project {
    Dir::with(&[("proc.toml", text)]).load(&[])
}

fn web(text: &str) -> ServiceSpec {
    load(&format!("[service.web]\ncommand='x'\n{text}\n"))
        .services
        .remove(0)
}

fn env(project: &Project, service: &str) -> Vec<String> {
    let service = project.service(service).expect("it is in the project");
    service
        .env
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

fn argv(words: &[&str]) -> Option<Command> {
    Some(Command::Argv(
        words.iter().map(|word| (*word).to_owned()).collect(),
    ))
}

/// The whole example of the documented format.
const FULL: &str = r#"
[project]
name = "shop"
env = { RUST_LOG = "info" }
env_file = [".env"]
on_exit = "keep"

[defaults]
nice = 1

[groups]
backend = ["db", "api"]

[service.db]
command = "db"
[service.cache]
command = "cache"

[service.api]
command = "./api --port ${PORT:-8080}"
cwd = "api"
env = { A = "1" }
env_file = ["api.env"]
clear_env = false
user = "www"
group = "www"
umask = "027"
nice = 5
oom_score_adj = 0
limits = { nofile = 4096, core = "0", memory = "512MiB", pids = 200 }
stdin = "null"
instances = 2
priority = 10
needs = { db = "ready" }
after = ["cache"]
start_seconds = "2s"
start_timeout = "60s"
start_retries = 3
start_retry_interval = "1s"
stop = { signal = "TERM", grace = "10s" }
reload_signal = "HUP"
restart = { mode = "on-failure", max = 10, startup_max = 3, startup_grace = "2s", initial_delay = "500ms", max_delay = "30s", factor = 2.0, jitter = "equal", reset_after = "60s", crash_loop = { count = 5, within = "30s" }, success_codes = [0], no_restart_on = [78], profile = "systemd" }
ready = { http = "http://127.0.0.1:8080/ready", interval = "1s", timeout = "1s", successes = 1, failures = 3 }
alive = { tcp = "127.0.0.1:8080" }
startup = { exec = "pg_isready" }
detectors = [{ type = "pidfile", path = "api.pid" }, { type = "command", command = "pgrep -x api" }]
pid_file = "api-${PROC_INSTANCE}.pid"
detached = false
die_with_supervisor = false
listen = ["tcp:127.0.0.1:8080", "admin=unix:api.sock"]
watch = ["src/**/*.py"]
oneshot = false
log = { dir = "logs", max_size = "10MiB", keep = 5, compress = true, max_age = "7d", timestamps = true, merge = false, on_full = "block", ring = "64KiB", multiline = false }
backend = "native"
deploy = { steps = ["git pull", "cargo build --release"], repo = "github.com/me/api", branch = "main", confirm = true, self = false, timeout = "10m" }
exit_project = "on-failure"
watchdog = "10s"

[[service.api.hooks.pre_start]]
name = "migrate"
command = "./migrate"
cwd = "api"
env = { X = "1" }
timeout = "30s"
on_failure = "fail"
mode = "blocking"

[service.nightly]
argv = ["./nightly"]
schedule = "0 3 * * *"
oneshot = true

[service.nginx]
backend = "systemctl"
unit = "nginx.service"
scope = "user"
sudo = false
"#;

#[test]
fn the_documented_example_loads() {
    let dir = Dir::with(&[
        ("proc.toml", FULL),
        (".env", "FROM_FILE=1\n"),
        ("api.env", "B=2\n"),
    ]);
    let project = dir.load(&[]);
    assert_eq!(project.name, "shop");
    assert_eq!(project.on_exit, OnExit::Keep);
    assert_eq!(project.groups["backend"].members, ["db", "api"]);
    let names: Vec<&str> = project.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        ["db", "cache", "api", "nightly", "nginx"],
        "in the file's order"
    );
    assert_eq!(
        env(&project, "api"),
        ["A=1", "B=2", "FROM_FILE=1", "RUST_LOG=info"]
    );

    let api = project.service("api").unwrap();
    assert_eq!(api.command, argv(&["./api", "--port", "8080"]));
    assert_eq!(api.cwd, dir.path().join("api"));
    let attributes = &api.attributes;
    assert_eq!(
        (
            attributes.user.as_deref(),
            attributes.umask,
            attributes.nice
        ),
        (Some("www"), Some(0o27), Some(5))
    );
    let limits: Vec<(Resource, Option<u64>)> = attributes
        .limits
        .iter()
        .map(|l| (l.resource, l.soft))
        .collect();
    let expected = [
        (Resource::Nofile, Some(4096)),
        (Resource::Core, Some(0)),
        (Resource::Memory, Some(512 << 20)),
        (Resource::Pids, Some(200)),
    ];
    assert_eq!(limits, expected);
    let cgroup = attributes.cgroup.as_ref().unwrap();
    assert_eq!(
        (cgroup.memory_max, cgroup.pids_max),
        (Some(512 << 20), Some(200))
    );
    assert_eq!(api.needs["db"], Need::Ready);
    assert_eq!(api.after, ["cache"]);
    assert_eq!(api.start_seconds, Duration::from_secs(2));
    assert_eq!(
        api.stop.steps,
        StopSequence::graceful(Signal::TERM, Some(Duration::from_secs(10)))
    );
    assert_eq!(api.reload_signal, Some(Signal::HUP));
    let restart = &api.restart;
    assert_eq!((restart.max, restart.startup_max), (Some(10), Some(3)));
    assert_eq!(restart.retry_delay, Some(Duration::from_secs(1)));
    assert_eq!(restart.no_restart_on, [ExitMatch::Code(78)]);
    assert_eq!(restart.crash_loop.unwrap().count, 5);
    assert!(
        matches!(&api.ready.as_ref().unwrap().kind, ProbeKind::Http(http) if http.url.target() == "/ready")
    );
    assert!(matches!(
        api.alive.as_ref().unwrap().kind,
        ProbeKind::Tcp(_)
    ));
    assert_eq!(
        api.startup.as_ref().unwrap().kind,
        ProbeKind::Exec("pg_isready".into())
    );
    assert_eq!(api.detectors.len(), 2);
    assert_eq!(api.listen[1].name.as_deref(), Some("admin"));
    assert_eq!(api.watch.as_ref().unwrap().paths, ["src/**/*.py"]);
    assert_eq!(api.log.dir, Some(dir.path().join("logs")));
    assert_eq!(api.log.max_age, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(api.hooks.pre_start[0].env["X"], "1");
    assert_eq!(api.exit_project, ExitProject::OnFailure);
    assert_eq!(api.deploy.as_ref().unwrap().steps.len(), 2);
    assert!(project.service("nightly").unwrap().schedule.is_some());
    assert_eq!(project.service("nginx").unwrap().command, None);
    assert_eq!(
        project.service("db").unwrap().attributes.nice,
        Some(1),
        "from [defaults]"
    );
}

#[test]
fn defaults_of_a_service() {
    let web = web("");
    assert_eq!(
        (web.instances, web.autostart, web.oneshot),
        (1, true, false)
    );
    assert_eq!(web.stdin, Stdin::Null);
    assert_eq!(web.start_seconds, Duration::from_secs(1));
    assert_eq!(web.start_timeout, Some(Duration::from_secs(60)));
    assert_eq!(web.restart, proc_policy::RestartPolicy::default());
    assert_eq!(web.exit_project, ExitProject::Never);
    assert_eq!(web.die_with_supervisor, None);
    assert!(web.env.is_empty());
}

#[test]
fn restart_tables() {
    let policy = |text: &str| web(&format!("restart = {text}")).restart;
    assert_eq!(policy("'always'").mode, Mode::Always);
    assert_eq!(policy("{ jitter = '20%' }").jitter, Jitter::Percent(20.0));
    assert_eq!(policy("{ jitter = 'none' }").jitter, Jitter::None);
    assert_eq!(policy("{ max = 'none' }").max, None);
    assert_eq!(policy("{ crash_loop = 'none' }").crash_loop, None);
    assert_eq!(
        policy("{ success_codes = [7] }").success_codes,
        [7],
        "the set is replaced"
    );
    assert_eq!(
        policy("{ no_restart_on = ['TERM', 3, 'oom'] }").no_restart_on,
        [ExitMatch::Signal(15), ExitMatch::Code(3), ExitMatch::Oom]
    );
    assert_eq!(
        policy("{ initial_delay = '2m' }").max_delay,
        Duration::from_secs(120)
    );
    let supervisord = policy("{ profile = 'supervisord', startup_max = 7 }");
    assert_eq!((supervisord.startup_max, supervisord.max), (Some(7), None));
    let retries = web("start_retries = 2\nstart_retry_interval = '3s'").restart;
    assert_eq!(
        (retries.startup_max, retries.retry_delay),
        (Some(2), Some(Duration::from_secs(3)))
    );
    assert_eq!(
        web("start_seconds = '5s'").restart.startup_grace,
        Duration::from_secs(5)
    );
    let nightly = web("schedule = '0 3 * * *'");
    assert_eq!((nightly.restart.mode, nightly.oneshot), (Mode::Never, true));
}

#[test]
fn stops() {
    let sequence = |text: &str| web(&format!("stop = {text}")).stop.steps.to_string();
    assert_eq!(
        sequence("{ signal = 'INT', grace = '3s' }"),
        StopSequence::graceful(Signal::INT, Some(Duration::from_secs(3))).to_string()
    );
    assert_eq!(
        sequence("{ grace = 'none' }"),
        StopSequence::graceful(Signal::TERM, None).to_string()
    );
    assert_eq!(sequence("{ grace = 0 }"), StopSequence::kill().to_string());
    assert_eq!(
        web("stop = { steps = ['TERM/5s', 'INT/5s', 'KILL'] }")
            .stop
            .steps,
        "TERM/5s, INT/5s, KILL".parse().unwrap()
    );
    let stop = web("stop = { signal = 'INT', command = 'x stop', grace = '3s' }").stop;
    assert_eq!(stop.command, argv(&["x", "stop"]));
    let steps = stop.sequence(Some(Signal::QUIT), None).steps;
    assert_eq!(
        (steps[0].signal, steps[0].wait, steps.len()),
        (Signal::QUIT, Some(Duration::from_secs(3)), 2)
    );
    assert_eq!(
        stop.sequence(None, Some(None)),
        StopSequence::graceful(Signal::INT, None)
    );
}

#[test]
fn the_environment_in_layers_lowest_first() {
    let dir = Dir::with(&[
        (
            "proc.toml",
            "[project]\nenv_file='p.env'\nenv={P='p', X='p', Y='p'}\n[defaults]\nenv_file='d.env'\nenv={D='d', X='d', Y='d'}\n[service.web]\ncommand='x'\nenv_file='s.env'\nenv={X='s', PATH='/opt:${PATH}', N=3, B=true}\n[service.other]\ncommand='x'\n",
        ),
        ("p.env", "PF=1\nP=file\nCALLER\n"),
        ("d.env", "DF=1\nD=file\n"),
        ("s.env", "Y=s\nSF=${PF}${X}\n"),
    ]);
    let project = dir.load(&[
        ("PATH", "/bin"),
        ("X", "caller"),
        ("CALLER", "c"),
        ("OTHER", "o"),
    ]);
    assert_eq!(
        env(&project, "web"),
        [
            "B=true",
            "CALLER=c",
            "D=d",
            "DF=1",
            "N=3",
            "P=p",
            "PATH=/opt:/bin",
            "PF=1",
            "SF=1d",
            "X=s",
            "Y=s"
        ]
    );
    assert_eq!(
        env(&project, "other"),
        ["CALLER=c", "D=d", "DF=1", "P=p", "PF=1", "X=d", "Y=d"]
    );
    assert_eq!(project.env.len(), 5, "the project's own: {:?}", project.env);
}

#[test]
fn variables_in_values() {
    let dir = Dir::with(&[(
        "proc.toml",
        "[service.web]\ncommand='x ${PORT} ${HOST:-h} $$HOME ${PROC_INSTANCE}'\nenv={PORT='${BASE:-80}81'}\ninstances='${N:-2}'\noneshot='${ONE:-true}'\nready={tcp='127.0.0.1:${PORT}'}\nargv_note='x'\n"
            .replace("argv_note='x'\n", "")
            .as_str(),
    )]);
    let project = dir.load(&[("N", "3")]);
    let web = &project.services[0];
    assert_eq!(
        web.command,
        Some(Command::Shell("x 8081 h $HOME ${PROC_INSTANCE}".into()))
    );
    assert_eq!((web.instances, web.oneshot), (3, true));
    assert_eq!(
        web.ready.as_ref().unwrap().kind.to_string(),
        "tcp 127.0.0.1:8081"
    );
    let second = web.for_instance("shop", 2);
    assert_eq!(
        second.command,
        Some(Command::Shell("x 8081 h $HOME 2".into()))
    );
    assert_eq!(second.env["PROC_NAME"], "web-2");
    assert_eq!(second.env["PROC_PROJECT"], "shop");
    assert_eq!(
        (
            second.env["PROC_INSTANCE"].as_str(),
            second.env["PROC_SERVICE"].as_str()
        ),
        ("2", "web")
    );
    assert_eq!(
        web.instance_names().collect::<Vec<_>>(),
        ["web-1", "web-2", "web-3"]
    );
    assert!(
        Dir::with(&[("proc.toml", "[service.web]\ncommand='x'\ninstances='2'\n")])
            .loader(&[])
            .load()
            .is_err()
    );
}

#[test]
fn an_unset_variable_is_empty_and_a_warning() {
    let project = load(
        "[service.web]\nargv=['x', '${NOPE}']\n[service.loop]\ncommand='for f in 1 2; do echo ${f}; done'\n",
    );
    assert_eq!(project.services[0].command, argv(&["x", ""]));
    assert_eq!(
        project.services[1].command,
        Some(Command::Shell("for f in 1 2; do echo ${f}; done".into()))
    );
    let warnings: Vec<String> = project.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["proc.toml:2:12: service.web.argv[1]: `NOPE` is not set: it is empty"]
    );
}

#[test]
fn secrets_do_not_show() {
    let dir = Dir::with(&[(
        "proc.toml",
        "[service.web]\ncommand='x'\nenv={TOKEN='hunter2'}\n",
    )]);
    let project = dir.load(&[]);
    let shown = format!("{project:?}");
    assert!(
        shown.contains("TOKEN") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn files_are_found_upwards_and_merged() {
    let dir = Dir::with(&[
        (
            "proc.toml",
            "[service.web]\ncommand='x'\nenv={A='1', B='1'}\nready={http='http://a/', interval='2s'}\n[service.db]\ncommand='d'\n",
        ),
        (
            "proc.local.toml",
            "[service.web]\nargv=['y']\nenv={B='2'}\nready={tcp='a:1'}\n[service.extra]\ncommand='e'\n",
        ),
        ("deep/er/Procfile", "web: x\n"),
    ]);
    let deep = dir.path().join("deep/er");
    for from in [dir.path(), &deep] {
        let project = Loader::new(from, BTreeMap::new()).load().unwrap();
        assert_eq!(project.dir, dir.path());
        assert_eq!(project.services.len(), 3);
        assert_eq!(project.services[0].command, argv(&["y"]));
        assert_eq!(env(&project, "web"), ["A=1", "B=2"]);
        let ready = project.services[0].ready.as_ref().unwrap();
        assert_eq!(
            (ready.kind.to_string().as_str(), ready.interval),
            ("tcp a:1", Duration::from_secs(2))
        );
        assert_eq!(project.files.len(), 2);
    }
    std::fs::write(dir.path().join("proc.local.toml"), "[service.web]\nfoo=1\n").unwrap();
    let errors = dir.loader(&[]).load().unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("proc.local.toml:2:1: service.web.foo: unknown key"),
        "{errors}"
    );
}

#[test]
fn named_files_override_one_another() {
    let dir = Dir::with(&[
        (
            "a.toml",
            "[project]\nname='a'\n[service.web]\ncommand='x'\nnice=1\n",
        ),
        ("sub/b.toml", "[project]\nname='b'\n[service.web]\nnice=2\n"),
        ("proc.local.toml", "[service.web]\nnice=3\n"),
    ]);
    let loader = Loader {
        files: vec!["a.toml".into(), "sub/b.toml".into()],
        ..dir.loader(&[])
    };
    let project = loader.load().unwrap();
    assert_eq!(
        (project.name.as_str(), project.services[0].attributes.nice),
        ("b", Some(2))
    );
    assert_eq!(project.dir, dir.path());
    let project = Loader {
        project: Some("c".into()),
        ..loader.clone()
    }
    .load()
    .unwrap();
    assert_eq!(project.name, "c");
    let errors = Loader {
        project: Some("../c".into()),
        ..loader
    }
    .load()
    .unwrap_err();
    assert_eq!(
        errors.to_string(),
        "command line:1:1: project `../c`: a name must not contain `/`"
    );
}

#[test]
fn procfiles_follow_foreman() {
    let dir = Dir::with(&[
        (
            "Procfile",
            "# note\nweb: ./web -p $PORT\r\n\nworker: ./work --queue=${QUEUE}\n",
        ),
        (".env", "QUEUE=mail\nSECRET='a b'\n"),
    ]);
    let project = Loader {
        scale: BTreeMap::from([("web".into(), 2)]),
        ..dir.loader(&[])
    }
    .load()
    .unwrap();
    assert_eq!(project.format, Format::Procfile);
    assert_eq!(project.on_exit, OnExit::Stop);
    let [web, worker] = &project.services[..] else {
        panic!("two processes")
    };
    assert_eq!(web.command, Some(Command::Shell("./web -p $PORT".into())));
    assert_eq!(
        worker.command,
        Some(Command::Shell("./work --queue=${QUEUE}".into())),
        "left to the shell"
    );
    assert_eq!(
        (web.restart.mode, web.exit_project),
        (Mode::Never, ExitProject::Always)
    );
    assert_eq!(env(&project, "web"), ["QUEUE=mail", "SECRET=a b"]);
    let ports: Vec<String> = [
        web.for_instance("p", 1),
        web.for_instance("p", 2),
        worker.for_instance("p", 1),
    ]
    .iter()
    .map(|spec| format!("{}={}", spec.env["PS"], spec.env["PORT"]))
    .collect();
    assert_eq!(ports, ["web.1=5000", "web.2=5001", "worker.1=5100"]);
}

#[test]
fn the_base_port_and_the_name_of_a_procfile() {
    let dir = Dir::with(&[("Procfile", "a: x\n"), ("Procfile.dev", "b: x\nc: x\n")]);
    assert_eq!(dir.load(&[("PORT", "7000")]).services[0].port, Some(7000));
    std::fs::write(
        dir.path().join(".env"),
        "PROCFILE=Procfile.dev\nPORT=8000\n",
    )
    .unwrap();
    let project = dir.load(&[("PORT", "7000")]);
    let ports: Vec<_> = project
        .services
        .iter()
        .map(|s| (s.name.as_str(), s.port))
        .collect();
    assert_eq!(ports, [("b", Some(8000)), ("c", Some(8100))]);
    let named = Loader {
        files: vec!["Procfile".into()],
        ..dir.loader(&[])
    }
    .load()
    .unwrap();
    assert_eq!(named.services[0].name, "a", "-f beats PROCFILE");
}

#[test]
fn scale_is_checked() {
    let dir = Dir::with(&[("proc.toml", "[service.web]\ncommand='x'\n")]);
    let load = |name: &str, count| {
        Loader {
            scale: BTreeMap::from([(name.into(), count)]),
            ..dir.loader(&[])
        }
        .load()
    };
    assert_eq!(load("web", 0).unwrap().services[0].instances, 0);
    let error = load("wbe", 2).unwrap_err().to_string();
    assert_eq!(
        error,
        "command line:1:1: scale: there is no service `wbe`\n  hint: did you mean `web`?"
    );
    assert!(load("web", 1_000_000).is_err());
}

#[test]
fn names_select_services() {
    let project = load(
        "[groups]\nback=['db','worker']\n[service.web]\ncommand='x'\ninstances=3\n[service.web-admin]\ncommand='x'\n[service.worker]\ncommand='x'\n[service.db]\ncommand='x'\n",
    );
    let selected = |names: &[&str]| match select(&project, names) {
        Ok(found) => found
            .into_iter()
            .map(|s| match s.instances {
                None => s.service,
                Some(instances) => format!("{}{instances:?}", s.service),
            })
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => format!(
            "{error}{}",
            error
                .hint
                .as_ref()
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default()
        ),
    };
    for (names, expected) in [
        (&[][..], "web web-admin worker db"),
        (&["web"], "web"),
        (&["db", "web"], "web db"),
        (&["web-2"], "web[2]"),
        (&["web-3", "web-1"], "web[1, 3]"),
        (&["web-1", "web-2", "web-3"], "web"),
        (&["web-2", "web"], "web"),
        (&["web-*"], "web web-admin"),
        (&["w*"], "web web-admin worker"),
        (&["web-[12]"], "web[1, 2]"),
        (&["@back"], "worker db"),
        (&["@back", "web-1"], "web[1] worker db"),
        (&["wbe"], "there is no service `wbe` (did you mean `web`?)"),
        (
            &["web-4"],
            "there is no service `web-4` (did you mean `web-1`?)",
        ),
        (&["db-1"], "there is no service `db-1` (did you mean `db`?)"),
        (
            &["@bakc"],
            "there is no group `@bakc` (did you mean `@back`?)",
        ),
        (
            &["back"],
            "there is no service `back` (`@back` names the group)",
        ),
        (&["z*"], "there is no service that matches `z*`"),
        (
            &["[", "web"],
            "there is no service that matches `[` (it is not a glob: unclosed character class; missing ']')",
        ),
        (
            &["\u{1b}[2J"],
            "there is no service that matches `\\u{1b}[2J` (it is not a glob: unclosed character class; missing ']')",
        ),
    ] {
        assert_eq!(selected(names), expected, "{names:?}");
    }
}

#[test]
fn a_plan_names_what_changed() {
    const BASE: &str = "[service.web]\ncommand='x'\nenv={A='1', B='1'}\nrestart={max=3}\nreload_signal='HUP'\nconfig_files='web.conf'\n";
    let dir = Dir::with(&[("proc.toml", BASE), ("web.conf", "1")]);
    let images = |project: &Project| {
        let named = project.services.iter().map(|s| (s.name.clone(), s.image()));
        named.collect::<BTreeMap<_, _>>()
    };
    let old = images(&dir.load(&[]));
    let plan = |text: &str, conf: &str| {
        std::fs::write(dir.path().join("proc.toml"), text).unwrap();
        std::fs::write(dir.path().join("web.conf"), conf).unwrap();
        let changes = diff(&old, &dir.load(&[]).services);
        changes
            .into_iter()
            .map(|change| {
                format!(
                    "{} {:?} {}",
                    change.service,
                    change.action,
                    change.changed.join(" ")
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(plan(BASE, "1"), [""; 0], "identical means untouched");
    assert_eq!(
        plan(&format!("# moved\n\n{BASE}"), "1"),
        [""; 0],
        "places do not matter"
    );
    assert_eq!(
        plan(&BASE.replace("A='1'", "A='2', C='1'"), "1"),
        ["web Restart env.A env.C"]
    );
    assert_eq!(
        plan(&BASE.replace(", B='1'", ""), "1"),
        ["web Restart env.B"]
    );
    assert_eq!(
        plan(&BASE.replace("command='x'", "argv=['x','y']"), "1"),
        ["web Restart argv"]
    );
    assert_eq!(
        plan(&BASE.replace("command='x'", "command='x | y'"), "1"),
        ["web Restart command"]
    );
    assert_eq!(
        plan(&BASE.replace("max=3", "max=4, max_delay='9s'"), "1"),
        ["web Keep restart.max restart.max_delay"]
    );
    assert_eq!(
        plan(&format!("{BASE}user='www'\nlimits={{nofile=9}}\n"), "1"),
        ["web Restart limits user"]
    );
    assert_eq!(
        plan(&format!("{BASE}ready={{delay='1s'}}\n"), "1"),
        ["web Keep ready"]
    );
    assert_eq!(
        plan(&format!("{BASE}ready={{notify='socket'}}\n"), "1"),
        ["web Restart ready"],
        "it needs the socket"
    );
    assert_eq!(
        plan(&format!("{BASE}ready={{notify_fd=3}}\n"), "1"),
        ["web Restart ready"],
        "it needs the descriptor"
    );
    assert_eq!(
        plan(&format!("{BASE}watchdog='10s'\n"), "1"),
        ["web Restart watchdog"]
    );
    assert_eq!(
        plan(&format!("{BASE}instances=2\n"), "1"),
        ["web Keep instances"],
        "one more is started, `web` runs on"
    );
    let conf = dir.path().join("web.conf");
    assert_eq!(
        plan(BASE, "2"),
        [format!("web Signal config_files.{}", conf.display())]
    );
    assert_eq!(
        plan(&BASE.replace("reload_signal='HUP'\n", ""), "2"),
        [format!(
            "web Restart config_files.{} reload_signal",
            conf.display()
        )]
    );
    assert_eq!(
        plan("[service.new]\ncommand='x'\n", "1"),
        ["new Start ", "web Stop "]
    );
    assert_eq!(plan(BASE, "1"), [""; 0]);
    // Written by a program that had other fields than ours.
    let mut other = old.clone();
    let image = other.get_mut("web").and_then(|image| image.as_object_mut());
    let image = image.unwrap();
    assert!(image.remove("watchdog").is_some());
    image.insert("later".into(), true.into());
    let log = image.get_mut("log").unwrap().as_object_mut().unwrap();
    assert!(log.remove("max_size").is_some());
    assert_eq!(diff(&other, &dir.load(&[]).services), []);
    std::fs::write(dir.path().join("proc.toml"), BASE.replace("A='1'", "A='2'")).unwrap();
    let json = serde_json::to_string(&diff(&old, &dir.load(&[]).services)).unwrap();
    assert_eq!(
        json,
        r#"[{"service":"web","action":"restart","changed":["env.A"]}]"#
    );
    assert_ne!(Action::Keep, Action::Restart);
}

#[test]
fn the_starter_loads_without_a_warning() {
    let project = load(proc_spec::starter());
    assert_eq!(project.services.len(), 1);
    assert_eq!(project.lint(), []);
    // What is commented out is right too.
    let uncommented: String = proc_spec::starter()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") || rest.starts_with('[') => rest,
            _ => line,
        })
        .filter(|line| {
            !line.starts_with("argv")
                && !line.starts_with("script")
                && !line.starts_with("env_file")
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let project = load(&uncommented);
    assert_eq!(project.services.len(), 2);
    assert_eq!(project.services[0].instances, 2);
}

#[test]
fn the_schema_describes_every_key() {
    let schema = proc_spec::schema();
    let text = schema.to_string();
    assert!(
        !text.contains("\"null\"}") && !text.contains("null\"]"),
        "TOML has no null"
    );
    let service = &schema["$defs"]["RawService"]["properties"];
    for key in [
        "command",
        "argv",
        "needs",
        "restart",
        "ready",
        "hooks",
        "listen",
        "exit_project",
    ] {
        assert!(
            service[key]["description"].is_string(),
            "{key}: {}",
            service[key]
        );
    }
    assert_eq!(schema["$defs"]["RawService"]["additionalProperties"], false);
    assert_eq!(
        schema["properties"]["service"]["additionalProperties"]["$ref"],
        "#/$defs/RawService"
    );
    assert_eq!(
        schema["$defs"]["RawDeploy"]["properties"]["self"]["type"],
        "boolean"
    );
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let lint = |text: &str| -> Vec<String> {
        load(&format!("[service.web]\ncommand='x'\n{text}\n"))
            .lint()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(lint(""), [""; 0]);
    for (text, part) in [
        ("restart={startup_grace=0}", "startup_max"),
        ("instances=0", "nothing runs"),
        ("log={multiline=true}", "log.multiline"),
        ("log={ring='1KiB'}", "log.ring"),
        ("deploy={steps=['make']}", "no verb that deploys"),
        ("startup={tcp='a:1'}", "hold back"),
        ("ready={delay='2m'}", "ready in time"),
        ("pid_file='x'\ninstances=2", "PROC_INSTANCE"),
        (
            "needs={db='completed'}\n[service.db]\ncommand='x'\nrestart='always'",
            "may never hold",
        ),
    ] {
        let found = lint(text);
        assert!(
            found.iter().any(|warning| warning.contains(part)),
            "{text}: {found:?}"
        );
    }
}
