//! The launchctl backend behind the real `proc`, on a launchd of ours with real processes.
//!
//! What launchctl(1) itself does is the contract table beside this file; `cargo xtask launchctl-contract`
//! replays it, on a Mac against the real one.

#![cfg(target_os = "linux")]
#![expect(
    clippy::tests_outside_test_module,
    reason = "the whole program is tests"
)]

use std::process::Command;

use proc_tests::{Project, bin};

/// A project whose launchctl is ours, with its books in the scratch directory.
fn project(config: &str) -> Project {
    let mut project = Project::with(config);
    project.env("PROC_LAUNCHCTL", bin("fake-launchctl").display());
    let books = project.dir().join("launchd");
    project.env("FAKE_LAUNCHD", books.display());
    project.env("FAKE_LAUNCHD_LINGER_MS", 300);
    project.env("FAKE_LAUNCHD_THROTTLE_MS", 500);
    let home = project.dir().display().to_string();
    project.env("HOME", home);
    project
}

fn launchctl(project: &Project, args: &[&str]) -> i32 {
    let status = Command::new(bin("fake-launchctl"))
        .args(args)
        .env("FAKE_LAUNCHD", project.dir().join("launchd"))
        .output()
        .expect("it is built");
    status.status.code().unwrap_or(-1)
}

fn domain() -> String {
    match rustix::process::getuid().as_raw() {
        0 => "system".to_owned(),
        uid => format!("gui/{uid}"),
    }
}

const OWN: &str = "[project]\nname = \"shop\"\n[service.web]\nbackend = \"launchctl\"\nstart_seconds = \"100ms\"\n\
    script = '''\necho \"hello $WORD\"\necho to-err >&2\nexec sleep 1000\n'''\nenv = { WORD = \"<&>\" }\n\
    stop = { signal = \"TERM\", grace = \"10s\" }\n";

#[test]
fn a_job_of_ours_lives_from_up_to_down() {
    let project = project(OWN);
    project.ok(&["up", "-d"]);
    let web = project.instance("web");
    assert_eq!(
        (web["state"].as_str(), web["ready"].as_bool()),
        (Some("running"), Some(true))
    );
    let pid = project.pid("web");
    let logs = project.ok(&["logs", "web", "--no-prefix"]);
    assert!(
        logs.contains("hello <&>") && logs.contains("to-err"),
        "{logs}"
    );
    let service = format!("{}/proc.shop.web", domain());
    assert_eq!(launchctl(&project, &["print", &service]), 0);

    // Killed, the supervisor comes back and finds its job.
    let supervisor = project.status()["supervisor"]["pid"]
        .as_i64()
        .expect("it runs");
    let supervisor = i32::try_from(supervisor).expect("a pid");
    assert_eq!(kill(supervisor, 9), 0);
    project.ok(&["wait", "web", "--for", "ready", "--timeout", "60s"]);
    assert_eq!(project.pid("web"), pid, "the job was not touched");

    project.ok(&["restart", "web"]);
    assert_ne!(project.pid("web"), pid);
    project.ok(&["stop", "web"]);
    let web = project.instance("web");
    assert_eq!(
        (&web["state"], &web["last_exit"]["signal"]),
        (&"stopped".into(), &15.into()),
        "{web}"
    );
    project.ok(&["down"]);
}

#[test]
fn exits_count_for_the_restart_policy() {
    let project = project(
        "[service.once]\nbackend = \"launchctl\"\ncommand = \"sh -c 'exit 7'\"\n\
         restart = { mode = \"on-failure\", startup_max = 2, initial_delay = \"10ms\", jitter = \"none\" }\n\
         [service.missing]\nbackend = \"launchctl\"\nargv = [\"/nonexistent/program\"]\nrestart = { mode = \"never\" }\n",
    );
    assert_eq!(project.run(&["up", "-d"]).code, 1);
    let once = project.instance("once");
    assert_eq!(
        (&once["state"], &once["last_exit"]["code"]),
        (&"failed".into(), &7.into()),
        "{once}"
    );
    let events = project.events();
    let runs = events
        .iter()
        .filter(|event| event["service"] == "once" && event["exit"]["code"] == 7);
    assert_eq!(runs.count(), 3, "{events:?}");
    let missing = project.instance("missing");
    let reason = missing["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("`/nonexistent/program` not found"),
        "{missing}"
    );
    project.ok(&["down"]);
}

#[test]
fn a_job_that_exists_keeps_its_file() {
    let label = "com.example.theirs";
    let project = project(&format!(
        "[service.web]\nbackend = \"launchctl\"\nlabel = \"{label}\"\nstart_seconds = \"100ms\"\n"
    ));
    let out = project.dir().join("theirs.out");
    let text = format!(
        "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>Label</key><string>{label}</string>\
         <key>ProgramArguments</key><array><string>/bin/sh</string><string>-c</string><string>echo theirs; exec sleep 1000</string></array>\
         <key>KeepAlive</key><true/><key>StandardOutPath</key><string>{}</string></dict></plist>",
        out.display()
    );
    let path = project.write(&format!("Library/LaunchAgents/{label}.plist"), &text);
    let service = format!("{}/{label}", domain());
    assert_eq!(launchctl(&project, &["disable", &service]), 0);
    let refused = project.run(&["up", "-d"]);
    assert_eq!(refused.code, 1);
    assert!(
        project.ok(&["why", "web"]).contains("disabled"),
        "{}",
        project.ok(&["why", "web"])
    );
    assert_eq!(launchctl(&project, &["enable", &service]), 0);
    project.ok(&["start", "web"]);
    let pid = project.pid("web");
    // launchd restarts it by itself: the same run goes on with another process.
    assert_eq!(kill(pid, 9), 0);
    while project.pid("web") == pid {
        project.ok(&["wait", "web", "--for", "ready", "--timeout", "60s"]);
    }
    project.ok(&["stop", "web"]);
    assert_eq!(
        launchctl(&project, &["print", &service]),
        113,
        "stopped is removed: nothing restarts it"
    );
    assert_eq!(std::fs::read_to_string(path).expect("it is there"), text);
    assert!(project.ok(&["logs", "web"]).contains("theirs"));
    project.ok(&["down"]);
}

fn kill(pid: i32, signal: i32) -> i32 {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid is not 0");
    let signal = rustix::process::Signal::from_named_raw(signal).expect("a signal");
    match rustix::process::kill_process(pid, signal) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error(),
    }
}
