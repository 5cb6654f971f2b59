//! Files of other supervisors, in and out; what was imported must load.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proc_core::Signal;
use proc_policy::Mode;
use proc_spec::{Command, ExportFormat, ImportFormat, Loader, Project, export, import};

fn load(text: &str) -> Project {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("proc.toml"), text).expect("it can be written");
    Loader::new(
        dir.path(),
        BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]),
    )
    .load()
    .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// Imports a file and loads what came out; the losses lose their directory.
fn imported(format: ImportFormat, files: &[(&str, &str)]) -> (Project, Vec<String>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("it can be written");
    }
    let single = files.len() == 1 || format != ImportFormat::Systemd;
    let path = if single {
        dir.path().join(files[0].0)
    } else {
        dir.path().to_owned()
    };
    let result = import(format, &path).unwrap_or_else(|error| panic!("{error}"));
    let prefix = format!("{}/", dir.path().display());
    let losses = result
        .losses
        .iter()
        .map(|loss| loss.to_string().replace(&prefix, ""))
        .collect();
    (load(&result.toml), losses)
}

fn failure(format: ImportFormat, text: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("f");
    std::fs::write(&path, text).expect("it can be written");
    let error = import(format, &path).expect_err("it is wrong");
    error
        .to_string()
        .replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn a_procfile() {
    let (project, losses) = imported(
        ImportFormat::Procfile,
        &[("Procfile", "web: ./web -p ${PORT}\nworker: ./work\n")],
    );
    let web = &project.services[0];
    assert_eq!(
        web.command,
        Some(Command::Shell("./web -p ${PORT}".into())),
        "the shell still sees it"
    );
    assert_eq!(web.for_instance("p", 1).env["PS"], "web.1");
    assert_eq!(project.services[1].env["PORT"], "5100");
    assert_eq!(web.restart.mode, Mode::Never);
    assert_eq!(losses.len(), 1);
    assert_eq!(
        failure(ImportFormat::Procfile, "nothing\n"),
        "f:1: has no line of `name: command`"
    );
}

#[test]
fn a_supervisord_conf_with_its_includes() {
    let main = "; note\n[supervisord]\nlogfile=/x\n\n[program:web]\ncommand=/bin/web -p %(ENV_PORT)s ; note\n  --more\ndirectory=/srv\nnumprocs=2\nprocess_name=%(program_name)s_%(process_num)02d\nautorestart=unexpected\nstartsecs=3\nstartretries=5\nexitcodes=0,2\nstopsignal=INT\nstopwaitsecs=7\nuser=www\nenvironment=A=\"1,2\",B='x y',C=3\nredirect_stderr=true\nstdout_logfile=/var/log/web.log\nstdout_logfile_maxbytes=1MB\nserverurl=AUTO\n\n[group:all]\nprograms=web,extra\n\n[eventlistener:e]\ncommand=x\n[include]\nfiles = conf.d-*.ini\n";
    let env = [
        ("main.conf", main),
        (
            "conf.d-b.ini",
            "[program:extra]\ncommand=extra %(process_num)02d\nautorestart=true\nautostart=false\n",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in env {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let result = import(ImportFormat::Supervisord, &dir.path().join("main.conf")).unwrap();
    std::fs::write(dir.path().join("proc.toml"), &result.toml).unwrap();
    let project = Loader::new(
        dir.path(),
        BTreeMap::from([("PORT".to_owned(), "80".to_owned())]),
    )
    .load()
    .unwrap();
    let web = project.service("web").unwrap();
    let argv = ["/bin/web", "-p", "80", "--more"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(web.command, Some(Command::Argv(argv)));
    assert_eq!(web.instances, 2);
    assert_eq!(web.restart.success_codes, [0, 2]);
    assert_eq!(
        (web.restart.startup_max, web.restart.startup_grace),
        (Some(5), Duration::from_secs(3))
    );
    assert_eq!(web.stop.steps.steps[0].signal, Signal::INT);
    let pairs: Vec<String> = web.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(pairs, ["A=1,2", "B=x y", "C=3"]);
    assert!(web.log.merge && web.log.dir.as_deref() == Some(Path::new("/var/log")));
    let extra = project.service("extra").unwrap();
    assert_eq!((extra.restart.mode, extra.autostart), (Mode::Always, false));
    assert_eq!(project.groups["all"].members, ["web", "extra"]);
    let keys: Vec<&str> = result.losses.iter().map(|loss| loss.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "program:web.stdout_logfile",
            "program:web.serverurl",
            "eventlistener:e",
            "program:extra.command"
        ]
    );
    assert_eq!(result.losses[1].line, 22);
}

#[test]
fn what_is_no_supervisord_conf() {
    assert_eq!(
        failure(ImportFormat::Supervisord, "[program:web]\nfoo\n"),
        "f:2: a line has no `=`"
    );
    assert_eq!(
        failure(ImportFormat::Supervisord, "[x]\n"),
        "f:1: has no `[program:NAME]`"
    );
    assert_eq!(
        failure(
            ImportFormat::Supervisord,
            "[include]\nfiles = f\n[program:a]\ncommand=x\n"
        ),
        "f:1: includes itself"
    );
}

#[test]
fn systemd_units() {
    let web = "[Unit]\nDescription=Web %n\nRequires=db.service network.target\nAfter=db.service\n[Service]\nType=notify\nEnvironment=\"A=1 2\" B=${x}\nExecStartPre=-/bin/true\nExecStart=/usr/bin/web \\\n  --port 80 $OPTS\nExecReload=/bin/kill -HUP $MAINPID\nRestart=on-failure\nRestartSec=1min 30s\nTimeoutStopSec=infinity\nKillSignal=SIGQUIT\nUser=www\nLimitNOFILE=1024:4096\nMemoryMax=1G\nCPUQuota=150%\nPrivateTmp=yes\nSuccessExitStatus=3\nRestartPreventExitStatus=78 SIGTERM\nWatchdogSec=10\n[Install]\nWantedBy=multi-user.target\n";
    let db = "[Service]\nExecStart=/usr/bin/db\nType=oneshot\n";
    let (project, losses) = imported(
        ImportFormat::Systemd,
        &[("web.service", web), ("db.service", db)],
    );
    let web = project.service("web").unwrap();
    assert_eq!(
        web.command,
        Some(Command::Shell("/usr/bin/web --port 80 $OPTS".into()))
    );
    assert_eq!(web.description.as_deref(), Some("Web web.service"));
    assert!(web.notifies() && web.needs.contains_key("db") && web.after == ["db"]);
    assert_eq!(web.env["B"], "${x}");
    assert_eq!(
        (web.reload_signal, web.stop.steps.steps.len()),
        (Some(Signal::HUP), 1)
    );
    let delays = (web.restart.initial_delay, web.restart.max_delay);
    assert_eq!(delays, (Duration::from_secs(90), Duration::from_secs(90)));
    assert_eq!(web.restart.success_codes, [0, 3]);
    assert_eq!(web.attributes.limits.len(), 2);
    assert_eq!(
        web.attributes.cgroup.as_ref().unwrap().cpu_max_us,
        Some(150_000)
    );
    let db = project.service("db").unwrap();
    assert!(db.oneshot);
    // What no `Restart=` and no `TimeoutStopSec=` mean.
    assert_eq!(db.restart.mode, Mode::Never);
    assert_eq!(db.stop.grace, Some(Duration::from_secs(90)));
    assert_eq!(web.restart.max, Some(5));
    assert_eq!(web.restart.mode, Mode::OnFailure);
    let keys: Vec<&str> = losses
        .iter()
        .map(|loss| loss.split(": ").nth(1).unwrap())
        .collect();
    assert_eq!(
        keys,
        ["Unit.Requires", "Service.PrivateTmp", "Install.WantedBy"]
    );
    assert!(failure(ImportFormat::Systemd, "[Service]\nUser=x\n").contains("has no `ExecStart=`"));
}

#[test]
fn systemd_prefixes_and_specifiers() {
    for (unit, start, command, lost) in [
        ("u", "/w --sock %t/w.sock", "/w|--sock|/run/w.sock", ""),
        (
            "u",
            "/w %S %C %L %E %u %T %%",
            "/w|/var/lib|/var/cache|/var/log|/etc|root|/tmp|%",
            "",
        ),
        ("w@x", "/w %i %p %N %n", "/w|x|w|w@x|w@x.service", ""),
        ("a-b@c-d\\x2de", "/w %j %I", "/w|b|c/d-e", ""),
        ("u", "/w '%i'", "/w|", ""),
        (
            "u",
            "@/usr/bin/dockerd dockerd -H fd://",
            "/usr/bin/dockerd|-H|fd://",
            "not `dockerd`",
        ),
        ("u", "+/w", "/w", "privileges"),
        ("u", "!/w", "/w", "privileges"),
        ("u", "-!!/w $A", "sh: /w $A", "privileges"),
        ("u", ":/w $A", "/w|$A", ""),
    ] {
        let text = format!("[Service]\nExecStart={start}\n");
        let (project, losses) = imported(
            ImportFormat::Systemd,
            &[(&format!("{unit}.service"), &text)],
        );
        let service = &project.services[0];
        let found = match service.command.as_ref().unwrap() {
            Command::Shell(text) => format!("sh: {text}"),
            Command::Argv(words) => words.join("|"),
            Command::Script(_) => panic!("systemd has no scripts"),
        };
        assert_eq!(found, command, "{start}");
        assert_eq!(losses.len(), usize::from(!lost.is_empty()), "{losses:?}");
        assert!(losses.iter().all(|loss| loss.contains(lost)), "{losses:?}");
    }
    for (start, message) in [
        (
            "/w %m",
            "f:2: `ExecStart=`: the specifier `%m` is not known here",
        ),
        ("|/w", "f:2: `ExecStart=`: the prefix `|`"),
        (
            "@/w",
            "f:2: `ExecStart=`: the prefix `@` needs a second word",
        ),
    ] {
        let failed = failure(
            ImportFormat::Systemd,
            &format!("[Service]\nExecStart={start}\n"),
        );
        assert!(failed.starts_with(message), "{failed}");
    }
}

#[test]
fn a_systemd_template_wants_an_instance_and_a_users_unit_its_directories() {
    let dir = tempfile::tempdir().unwrap();
    let user = dir.path().join("systemd/user");
    std::fs::create_dir_all(&user).unwrap();
    for (file, start, message) in [
        (
            dir.path().join("w@.service"),
            "/w %i",
            "copy it to `w@NAME.service`",
        ),
        (user.join("w.service"), "/w %t/s", "`%t` of a user's unit"),
    ] {
        std::fs::write(&file, format!("[Service]\nExecStart={start}\n")).unwrap();
        let error = import(ImportFormat::Systemd, &file).unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.message.contains(message), "{error}");
    }
}

/// Something of everything.
const SHOP: &str = "[project]\nname='shop'\n[groups]\nall=['db','web']\n[service.db]\ncommand='./db'\nuser='pg'\n[service.web]\nargv=['./web', '100% $x', '']\ncwd='/srv/web'\ninstances=2\nenv={A='a \"b\" %'}\nneeds={db='ready'}\nready={tcp='127.0.0.1:80'}\nlimits={nofile=9, memory='1MiB'}\n[service.sh]\ncommand='a | b'\n";

#[test]
fn to_systemd() {
    let exported = export(&load(SHOP), ExportFormat::Systemd, Some("www"));
    let names: Vec<&str> = exported
        .files
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "shop-db.service",
            "shop-web-1.service",
            "shop-web-2.service",
            "shop-sh.service",
            "shop.target"
        ]
    );
    let web = &exported.files[2].1;
    for line in [
        "ExecStart=/srv/web/web \"100%% $$x\" \"\"",
        "Environment=\"A=a \\\"b\\\" %%\"",
        "Environment=\"PROC_INSTANCE=2\"",
        "Requires=shop-db.service",
        "After=shop-db.service",
        "PartOf=shop.target",
        "User=www",
        "LimitNOFILE=9:9",
        "MemoryMax=1048576",
        "KillSignal=SIGTERM",
        "TimeoutStopSec=10s",
        "WorkingDirectory=/srv/web",
    ] {
        let times = web.lines().filter(|other| *other == line).count();
        assert_eq!(times, 1, "{line} in\n{web}");
    }
    assert!(exported.files[0].1.contains("User=pg\n"));
    assert!(
        exported.files[3]
            .1
            .contains("ExecStart=/bin/sh -c \"a | b\"\n")
    );
    assert!(
        exported.files[4]
            .1
            .contains("Wants=shop-db.service shop-web-1.service")
    );
    let losses: Vec<String> = exported.losses.iter().map(ToString::to_string).collect();
    assert_eq!(losses, ["service.web.ready: systemd has no such setting"]);
}

#[test]
fn to_supervisord_and_back() {
    let project = load(SHOP);
    let exported = export(&project, ExportFormat::Supervisord, None);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.conf");
    std::fs::write(&path, &exported.files[0].1).unwrap();
    let back = load(&import(ImportFormat::Supervisord, &path).unwrap().toml);
    for (before, after) in project.services.iter().zip(&back.services) {
        let argv = |command: &Option<Command>| command.as_ref().map(Command::argv);
        assert_eq!(argv(&before.command), argv(&after.command));
        assert_eq!(
            (before.instances, &before.env, &before.attributes.user),
            (after.instances, &after.env, &after.attributes.user)
        );
    }
    assert_eq!(back.groups["all"].members, ["db", "web"]);
    assert!(exported.losses.iter().any(|loss| loss.key == "needs.db"));
}

#[test]
fn to_a_procfile_in_the_files_order() {
    let exported = export(&load(SHOP), ExportFormat::Procfile, None);
    assert_eq!(
        exported.files,
        [(
            "Procfile".to_owned(),
            "db: ./db\nweb: ./web '100% $x' ''\nsh: a | b\n".to_owned()
        )]
    );
    assert!(
        exported
            .losses
            .iter()
            .any(|loss| loss.to_string() == "service.db.user: a Procfile has commands only")
    );
}

fn keys(losses: &[String]) -> Vec<&str> {
    let keys = losses.iter().filter_map(|loss| loss.split(": ").nth(1));
    keys.collect()
}

#[test]
fn a_pm2_ecosystem() {
    let file = r#"module.exports = {
  apps: [
    {
      name: 'api', script: './server.js', args: ['--port', "80"], node_args: "--max-old-space-size=200",
      cwd: "/srv/api", instances: 2, exec_mode: "cluster",
      env: { NODE_ENV: "production", PORT: process.env.PORT || 3000, RAW: "${x} $y" },
      env_production: { A: 1 },
      max_memory_restart: "300M", kill_timeout: 3000, restart_delay: 500, max_restarts: 5,
      min_uptime: "2s", stop_exit_codes: [0, 78], watch: ["src", "*.json"], ignore_watch: ["node_modules"],
      out_file: "/var/log/api/out.log", namespace: "back", uid: "www", cron_restart: "0 3 * * *",
    },
    { script: "worker.py", interpreter: "python3", autorestart: false, namespace: "back" },
    { name: "web", script: "serve -s build", args: "-l 'a b'" },
  ],
  deploy: {},
};
"#;
    let (project, losses) = imported(ImportFormat::Pm2, &[("ecosystem.config.js", file)]);
    let api = project.service("api").unwrap();
    let argv = [
        "node",
        "--max-old-space-size=200",
        "./server.js",
        "--port",
        "80",
    ];
    assert_eq!(
        api.command,
        Some(Command::Argv(argv.map(str::to_owned).to_vec()))
    );
    assert_eq!(api.env["PORT"], "3000");
    assert_eq!(api.env["RAW"], "${x} $y");
    assert_eq!(
        (api.instances, api.cwd.as_path()),
        (2, Path::new("/srv/api"))
    );
    assert_eq!(api.restart.mode, Mode::Always);
    assert_eq!(api.restart.initial_delay, Duration::from_millis(500));
    assert_eq!(api.restart.startup_max, Some(5));
    assert_eq!(api.stop.steps.steps[0].signal, Signal::INT);
    assert_eq!(api.stop.steps.steps[0].wait, Some(Duration::from_secs(3)));
    assert_eq!(api.max_memory, Some(300 << 20));
    let watch = api.watch.as_ref().unwrap();
    assert_eq!(watch.paths, ["src/**", "*.json"]);
    assert_eq!(watch.ignore, ["node_modules/**"]);
    assert_eq!(api.log.dir.as_deref(), Some(Path::new("/var/log/api")));
    let worker = project.service("worker").unwrap();
    let argv = ["python3", "worker.py"].map(str::to_owned).to_vec();
    assert_eq!(worker.command, Some(Command::Argv(argv)));
    assert_eq!(worker.restart.mode, Mode::Never);
    let web = project.service("web").unwrap();
    let argv = ["serve", "-s", "build", "-l", "a b"];
    assert_eq!(
        web.command,
        Some(Command::Argv(argv.map(str::to_owned).to_vec()))
    );
    assert_eq!(project.groups["back"].members, ["api", "worker"]);
    assert_eq!(
        keys(&losses),
        [
            "deploy",
            "api.exec_mode",
            "api.env_production",
            "api.out_file",
            "api.cron_restart"
        ]
    );
    assert!(
        losses[3].starts_with("ecosystem.config.js:10: "),
        "{losses:?}"
    );
}

#[test]
fn pm2_in_json_and_yaml() {
    let json = r#"{"name": "a", "script": "run.sh", "env": {"A": "${b}"}}"#;
    let yaml = "apps:\n  - script: run.sh\n    name: a\n    env:\n      A: ${b}\n";
    for (name, text) in [("pm2.json", json), ("pm2.yaml", yaml)] {
        let (project, losses) = imported(ImportFormat::Pm2, &[(name, text)]);
        let a = project.service("a").unwrap();
        let argv = ["bash", "run.sh"].map(str::to_owned).to_vec();
        assert_eq!(a.command, Some(Command::Argv(argv)), "{name}");
        assert_eq!(a.env["A"], "${b}", "{name}");
        assert!(losses.is_empty(), "{losses:?}");
    }
    let computed = failure(ImportFormat::Pm2, "module.exports = {\n apps: make() }");
    assert!(computed.starts_with("f:2: is computed"), "{computed}");
    assert_eq!(
        failure(ImportFormat::Pm2, "{apps: []}"),
        "f:1: has no `apps`"
    );
}

const COMPOSE: &str = r#"
version: "0.5"
name: shop
environment:
  - MODE=dev
  - WHO=$USERNAME_THAT_IS_UNSET-${HOME}
vars: { PORT: 8080, NAME: main }
log_location: ./all.log
shell: { shell_command: fish }
x-probe: &probe { period_seconds: 2, failure_threshold: 4 }
processes:
  db:
    command: "echo $HOME $$HOME {{.NAME}}"
    namespace: back
    is_tty: true
    availability: { restart: always, backoff_seconds: 3, max_restarts: 7 }
    readiness_probe:
      <<: *probe
      exec: { command: pg_isready }
    shutdown: { signal: 2, timeout_seconds: 7, command: "pg_ctl stop" }
  migrate:
    entrypoint: [./migrate, --all]
    namespace: back
    depends_on:
      db: { condition: process_healthy }
      ghost: { condition: process_started }
    availability: { restart: exit_on_failure }
  web:
    command: ./web
    working_dir: web
    replicas: 3
    environment: [A=1, "B=x y"]
    disabled: true
    depends_on:
      migrate: { condition: process_completed_successfully }
      db: {}
    readiness_probe:
      http_get: { host: localhost, port: "{{.PORT}}", path: ready, scheme: http }
    liveness_probe:
      http_get: { scheme: https, port: 443 }
    ready_log_line: up
    log_location: logs/web.log
    log_configuration: { rotation: { max_size_mb: 5, max_backups: 2, compress: true } }
    is_elevated: true
    mcp: x
  logger:
    command: ./log
    ready_log_line: "ready (1)"
"#;

#[test]
fn a_process_compose_file() {
    let (project, losses) = imported(
        ImportFormat::ProcessCompose,
        &[("process-compose.yaml", COMPOSE)],
    );
    assert_eq!(project.name, "shop");
    assert_eq!(project.on_exit, proc_spec::OnExit::Stop);
    assert_eq!(project.env["WHO"], "-/root");
    let db = project.service("db").unwrap();
    assert_eq!(
        db.command,
        Some(Command::Shell("echo $HOME $HOME main".into()))
    );
    assert_eq!(db.restart.mode, Mode::Always);
    assert_eq!(db.restart.initial_delay, Duration::from_secs(3));
    assert_eq!(db.restart.max_delay, Duration::from_secs(3));
    assert_eq!(db.restart.max, Some(7));
    assert_eq!(db.stop.steps.steps[0].signal, Signal::INT);
    let ready = db.ready.as_ref().unwrap();
    assert_eq!(
        (ready.interval, ready.failures),
        (Duration::from_secs(2), 4)
    );
    let migrate = project.service("migrate").unwrap();
    assert_eq!(migrate.needs["db"], proc_spec::Need::Ready);
    assert_eq!(migrate.exit_project, proc_spec::ExitProject::OnFailure);
    let web = project.service("web").unwrap();
    assert_eq!((web.instances, web.autostart), (3, false));
    assert_eq!(web.needs["migrate"], proc_spec::Need::Completed);
    assert_eq!(web.needs["db"], proc_spec::Need::Started);
    assert_eq!(web.env["B"], "x y");
    assert_eq!(
        web.ready.as_ref().unwrap().kind.to_string(),
        "http http://localhost:8080/ready"
    );
    assert_eq!(web.log.max_size, Some(5 << 20));
    let logger = project.service("logger").unwrap();
    let proc_probe::ProbeKind::Log(pattern) = &logger.ready.as_ref().unwrap().kind else {
        panic!("{:?}", logger.ready);
    };
    assert!(pattern.as_str().contains("ready \\(1\\)"), "{pattern:?}");
    assert_eq!(project.groups["back"].members, ["db", "migrate"]);
    assert_eq!(
        keys(&losses),
        [
            "log_location",
            "shell",
            "processes.migrate.depends_on.ghost",
            "processes.web.liveness_probe.http_get",
            "processes.web.ready_log_line",
            "processes.web.log_location",
            "processes.web.is_elevated",
            "processes.web.mcp",
        ]
    );
}

#[test]
fn process_compose_extends_and_cycles() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("base")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "base/pc.yaml",
        "environment: [A=1, B=1]\nprocesses:\n  web:\n    command: ./old\n    working_dir: src\n    replicas: 2\n  db:\n    command: ./db\n",
    );
    write(
        "pc.yaml",
        "extends: base/pc.yaml\nenvironment: [B=2]\nprocesses:\n  web:\n    command: ./new\n",
    );
    let result = import(ImportFormat::ProcessCompose, &dir.path().join("pc.yaml")).unwrap();
    let project = load(&result.toml);
    assert_eq!(
        (project.env["A"].as_str(), project.env["B"].as_str()),
        ("1", "2")
    );
    let web = project.service("web").unwrap();
    assert_eq!(web.command, Some(Command::Argv(vec!["./new".into()])));
    assert_eq!(web.instances, 2);
    assert!(web.cwd.ends_with("base/src"), "{:?}", web.cwd);
    assert!(project.service("db").is_some());
    assert_eq!(
        failure(ImportFormat::ProcessCompose, "extends: f\nprocesses: {}\n"),
        "f:1: extends itself"
    );
    assert_eq!(
        failure(ImportFormat::ProcessCompose, "x: 1\n"),
        "f:1: has no `processes`"
    );
    let broken = failure(ImportFormat::ProcessCompose, "a: [\nb: }\n");
    assert!(broken.contains("is no YAML"), "{broken}");
}

#[test]
fn to_kubernetes() {
    let shop = "[project]\nname='shop'\n[service.db]\ncommand='./db'\nuser='70'\nstop={signal='INT',grace='20s'}\n[service.web]\nargv=['./web', '$(A)', 'no']\ninstances=2\nneeds={db='ready'}\nenv={A='1'}\nready={http='http://127.0.0.1:80/ok',interval='2s'}\nalive={tcp='127.0.0.1:80'}\nlimits={memory='1MiB',cpu_max=1.5}\nrestart='always'\nlisten=['tcp:0.0.0.0:80']\n[service.night]\nscript='true'\noneshot=true\nschedule='0 3 * * *'\noverlap='replace'\nrestart='never'\n";
    let exported = export(&load(shop), ExportFormat::Kubernetes, None);
    let [(name, text)] = exported.files.as_slice() else {
        panic!("{exported:?}");
    };
    assert_eq!(name, "shop.yaml");
    let documents: Vec<&str> = text.split("---\n").skip(1).collect();
    let kinds: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("kind: "))
        .collect();
    assert_eq!(kinds, ["Deployment", "Deployment", "Service", "CronJob"]);
    for line in [
        "terminationGracePeriodSeconds: 20",
        "runAsUser: 70",
        "image: \"shop-db:latest\"",
    ] {
        assert!(documents[0].contains(line), "{line} in\n{}", documents[0]);
    }
    for line in [
        "replicas: 2",
        "- \"$$(A)\"",
        "- \"no\"",
        "path: /ok",
        "periodSeconds: 2",
        "tcpSocket:",
        "memory: \"1048576\"",
        "cpu: \"1500m\"",
    ] {
        assert!(documents[1].contains(line), "{line} in\n{}", documents[1]);
    }
    assert!(
        documents[3].contains("concurrencyPolicy: Replace"),
        "{}",
        documents[3]
    );
    let losses: Vec<String> = exported.losses.iter().map(ToString::to_string).collect();
    for loss in [
        "service.db.stop.signal: a container gets TERM",
        "service.web.needs.db: everything starts at once",
        "service.web.listen: ",
        "service.db.image: ",
    ] {
        assert!(
            losses.iter().any(|known| known.starts_with(loss)),
            "{loss} in {losses:#?}"
        );
    }
    assert!(
        !losses.iter().any(|loss| loss.contains("web.restart.mode")),
        "{losses:#?}"
    );
}
