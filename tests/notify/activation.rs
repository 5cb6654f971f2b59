//! Sockets that `proc` opens and servers of others take: LISTEN_FDS with gunicorn and dbus-daemon.

use std::collections::BTreeSet;
use std::process::Command;

use proc_tests::{Events, Load, Project, get, gunicorn};

#[test]
fn gunicorn_takes_its_socket_and_a_kill_refuses_nobody() {
    let (project, port) = gunicorn("restart = { initial_delay = \"1s\", jitter = \"none\" }");
    let address = project.instance("web")["listen"].clone();
    let old = project.pid("web");
    assert!(
        get(port)
            .expect("it answers")
            .contains(&format!("from {old} "))
    );

    let seen = project.last_seq();
    project.ok(&["signal", "KILL", "web"]);
    let down = Events::after(&project, seen).find(|e| e["to"] == "backoff");
    assert!(down.is_some(), "it is down now");
    // Asked while nobody is there, answered by the next run.
    let answer = get(port).expect("the socket is kept");
    let new = project.pid("web");
    assert!(
        new != old && answer.contains(&format!("from {new} ")),
        "{answer}"
    );
    assert_eq!(project.instance("web")["listen"], address);
    project.ok(&["down"]);
}

#[test]
fn a_restart_in_place_refuses_nobody_either() {
    let (project, port) = gunicorn("");
    let load = Load::on(port, 2);
    for _ in 0..3 {
        both_serve(&project, port);
        project.ok(&["restart", "web"]);
    }
    let (asked, failed) = load.finish();
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    project.ok(&["down"]);
}

/// Waits until both workers have answered. gunicorn says that it is ready before they are there, and one
/// that has not set up its signals yet never sees its TERM: it would serve until its KILL, and be cut off.
fn both_serve(project: &Project, port: u16) {
    let from = format!("from {} ", project.pid("web"));
    let mut workers = BTreeSet::new();
    while workers.len() < 2 {
        let answer = get(port).expect("it answers");
        let said = answer.lines().find(|line| line.starts_with(&from));
        workers.extend(said.map(str::to_owned));
    }
}

#[test]
fn dbus_daemon_takes_a_socket_in_the_file_system() {
    let project = Project::with(
        r#"
        [service.bus]
        argv = ["dbus-daemon", "--session", "--address=systemd:", "--nofork", "--nopidfile"]
        listen = ["bus=unix:bus.sock"]
        "#,
    );
    project.ok(&["up", "-d"]);
    let path = project.dir().join("bus.sock");
    let names = || {
        let mut ask = Command::new("dbus-send");
        ask.arg(format!("--bus=unix:path={}", path.display()))
            .args(["--print-reply", "--dest=org.freedesktop.DBus", "/"])
            .arg("org.freedesktop.DBus.ListNames");
        let answer = ask.output().expect("dbus is installed");
        assert!(answer.status.success(), "{answer:?}");
        String::from_utf8_lossy(&answer.stdout).into_owned()
    };
    assert!(names().contains("org.freedesktop.DBus"));
    project.ok(&["restart", "bus"]);
    assert!(names().contains("org.freedesktop.DBus"));
    project.ok(&["down"]);
}
