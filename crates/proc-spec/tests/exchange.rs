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
    let single = files.len() == 1 || format == ImportFormat::Supervisord;
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
            "[program:extra]\ncommand=extra\nautorestart=true\nautostart=false\n",
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
            "eventlistener:e"
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
    assert_eq!(web.restart.initial_delay, Duration::from_secs(90));
    assert_eq!(web.restart.success_codes, [0, 3]);
    assert_eq!(web.attributes.limits.len(), 2);
    assert_eq!(
        web.attributes.cgroup.as_ref().unwrap().cpu_max_us,
        Some(150_000)
    );
    assert!(project.service("db").unwrap().oneshot);
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
        assert!(web.lines().any(|other| other == line), "{line} in\n{web}");
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
