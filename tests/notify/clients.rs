//! The two clients that scripts use: `systemd-notify`, and `sdnotify` from PyPI.

use std::time::Duration;

use proc_tests::{Events, Project, python};

/// Follows one service's events until one changes what is asked for.
fn until(project: &Project, seen: u64, what: impl Fn(&serde_json::Value) -> bool) {
    let found = Events::after(project, seen).find(|event| what(event));
    assert!(found.is_some(), "the events go on");
}

#[test]
fn systemd_notify_from_a_shell_script() {
    let project = Project::with(
        r#"
        [service.script]
        script = """
        trap 'systemd-notify STOPPING=1 --status=leaving; exit 0' TERM
        trap 'systemd-notify RELOADING=1 --status=rereading; read go < go; systemd-notify --ready --status=reread' HUP
        systemd-notify --status=waking
        systemd-notify --ready --status=serving
        while :; do sleep 1000 & wait $!; done
        """
        ready = { notify = "socket" }
        reload_signal = "HUP"
        "#,
    );
    let go = project.fifo("go");
    project.ok(&["up", "-d"]);
    let script = project.instance("script");
    assert_eq!(script["status_text"], "serving");
    assert!(project.ok(&["status"]).contains("serving"));

    let seen = project.last_seq();
    project.ok(&["reload", "script"]);
    until(&project, seen, |event| event["ready"] == false);
    assert_eq!(project.instance("script")["state"], "running");
    std::fs::write(go, "on\n").expect("the script reads it");
    until(&project, seen, |event| event["ready"] == true);
    assert_eq!(project.instance("script")["status_text"], "reread");

    project.ok(&["stop", "script"]);
    assert_eq!(project.instance("script")["last_exit"]["code"], 0);
    project.ok(&["down"]);
}

/// Says 6 times that it lives, half a second apart, and then no more.
#[test]
fn a_watchdog_that_is_fed_by_systemd_notify_expires_when_it_is_not() {
    let project = Project::with(
        r#"
        [service.dog]
        script = """
        [ "$WATCHDOG_USEC" = 2500000 ] || exit 9
        systemd-notify --ready
        for i in 1 2 3 4 5 6; do systemd-notify WATCHDOG=1; sleep 0.5; done
        exec sleep 1000
        """
        ready = { notify = "socket" }
        watchdog = "2500ms"
        [service.trigger]
        script = """
        systemd-notify --ready
        [ -e once ] || { : > once; systemd-notify WATCHDOG=trigger; }
        exec sleep 1000
        """
        ready = { notify = "socket" }
        watchdog = "10m"
        "#,
    );
    project.ok(&["up", "-d"]);
    for name in ["dog", "trigger"] {
        until(&project, 0, |event| {
            event["service"] == name && event["exit"].is_object()
        });
        let why = project.ok(&["why", name]);
        assert!(why.to_lowercase().contains("watchdog"), "{why}");
    }
    let runtime = &project.instance("dog")["last_exit"]["runtime_ms"];
    let lived = Duration::from_millis(runtime.as_u64().expect("it is known"));
    assert!(
        lived > Duration::from_secs(5),
        "six pings and the rest: {lived:?}"
    );
    project.ok(&["down"]);
}

#[test]
fn more_time_and_an_error_number_are_heard() {
    let project = Project::with(
        r#"
        [service.slow]
        script = """
        systemd-notify EXTEND_TIMEOUT_USEC=60000000
        sleep 2
        systemd-notify --ready
        exec sleep 1000
        """
        ready = { notify = "socket" }
        start_timeout = "1s"
        [service.broken]
        script = "systemd-notify --status=leaving ERRNO=2; exit 3"
        ready = { notify = "socket" }
        restart = "never"
        "#,
    );
    project.run(&["up", "-d"]);
    let slow = project.instance("slow");
    assert_eq!(
        (&slow["ready"], &slow["restarts"]),
        (&true.into(), &0.into())
    );
    let why = project.ok(&["why", "broken"]);
    assert!(why.contains("ERRNO=2: No such file"), "{why}");
    project.ok(&["down"]);
}

/// Keeps a file without a name at its supervisor, and finds it again.
const KEEPER: &str = r#"
import array, os, signal, socket
path = os.environ["NOTIFY_SOCKET"]
path = "\0" + path[1:] if path[0] == "@" else path
tell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
tell.connect(path)
names = os.environ.get("LISTEN_FDNAMES", "").split(":")
if "kept" in names:
    fd = 3 + names.index("kept")
    os.lseek(fd, 0, 0)
    seen = os.read(fd, 100).decode()
else:
    fd = os.memfd_create("kept")
    os.write(fd, b"written by %d" % os.getpid())
    socket.send_fds(tell, [b"FDSTORE=1\nFDNAME=kept"], [fd])
    seen = "nothing"
tell.send(b"READY=1\nSTATUS=found " + seen.encode())
while True:
    signal.pause()
"#;

#[test]
fn a_stored_descriptor_comes_back_after_restarts_and_kills() {
    let project = Project::new();
    project.write("keeper.py", KEEPER);
    let config = format!(
        "[service.keeper]\nargv = [\"{}\", \"keeper.py\"]\nready = {{ notify = \"socket\" }}\n\
         restart = {{ initial_delay = 0 }}\n",
        python("python").display()
    );
    project.write("proc.toml", config);
    project.ok(&["up", "-d"]);
    assert_eq!(project.instance("keeper")["status_text"], "found nothing");
    let first = format!("found written by {}", project.pid("keeper"));
    project.ok(&["restart", "keeper"]);
    project.ok(&["wait", "keeper", "--for", "ready", "--timeout", "60s"]);
    assert_eq!(project.instance("keeper")["status_text"], first);
    let seen = project.last_seq();
    project.ok(&["signal", "KILL", "keeper"]);
    until(&project, seen, |event| event["to"] == "running");
    assert_eq!(project.instance("keeper")["status_text"], first);
    project.ok(&["down"]);
}

const SDNOTIFY: &str = r#"
import os, signal, sdnotify
tell = sdnotify.SystemdNotifier(debug=True).notify
def stop(*_):
    tell("STOPPING=1")
    os._exit(0)
def reload(*_):
    tell("RELOADING=1\nSTATUS=rereading")
    open("go").read()
    tell("READY=1\nSTATUS=reread")
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, reload)
tell("STATUS=half way")
tell("READY=1")
tell("MAINPID=%d" % os.getpid())
while True:
    signal.pause()
"#;

#[test]
fn sdnotify_of_python() {
    let project = Project::new();
    let go = project.fifo("go");
    project.write("service.py", SDNOTIFY);
    project.write(
        "proc.toml",
        format!(
            "[service.py]\nargv = [\"{}\", \"service.py\"]\nready = {{ notify = \"socket\" }}\n\
             reload_signal = \"HUP\"\n",
            python("python").display()
        ),
    );
    project.ok(&["up", "-d"]);
    assert_eq!(project.instance("py")["status_text"], "half way");
    let pid = project.pid("py");
    let seen = project.last_seq();
    project.ok(&["reload", "py"]);
    until(&project, seen, |event| event["ready"] == false);
    std::fs::write(go, "on").expect("the service reads it");
    until(&project, seen, |event| event["ready"] == true);
    assert_eq!(project.instance("py")["status_text"], "reread");
    assert_eq!(project.pid("py"), pid);
    project.ok(&["stop", "py"]);
    assert_eq!(project.instance("py")["last_exit"]["code"], 0);
    project.ok(&["down"]);
}

#[test]
fn who_is_not_of_the_tree_is_not_heard() {
    let project = Project::with(
        r#"
        [service.quiet]
        script = """
        echo "$NOTIFY_SOCKET" > socket.new && mv socket.new socket
        read go < go
        systemd-notify --ready --status=mine
        exec sleep 1000
        """
        ready = { notify = "socket" }
        "#,
    );
    let go = project.fifo("go");
    let mut up = project.command(&["up", "-d"]);
    up.stdout(std::process::Stdio::null());
    let mut up = up.spawn().expect("proc can be started");
    // The open waits for the script, which has written its socket's name by then.
    let mut go = std::fs::OpenOptions::new()
        .write(true)
        .open(go)
        .expect("the script reads it");
    let socket = std::fs::read_to_string(project.dir().join("socket")).expect("it wrote it");
    let mut stranger = std::process::Command::new("systemd-notify");
    stranger
        .args(["--ready", "--status=strange"])
        .env("NOTIFY_SOCKET", socket.trim());
    // It returns when its message was dealt with.
    assert!(stranger.status().expect("it is installed").success());
    let quiet = project.instance("quiet");
    assert_eq!(
        (&quiet["ready"], &quiet["status_text"]),
        (&false.into(), &serde_json::Value::Null)
    );
    std::io::Write::write_all(&mut go, b"on\n").expect("the script reads it");
    assert!(up.wait().expect("it ends").success());
    assert_eq!(project.instance("quiet")["status_text"], "mine");
    project.ok(&["down"]);
}
