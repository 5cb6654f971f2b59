//! Without a supervisor: the records answer, `down` is done, the rest is code 5.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::TestProject;

const WEB: &str = "[service.web]\ncommand = \"sh -c 'echo hello; exec sleep 1000'\"\n\
                   ready = { log = \"hello\" }\n";

#[test]
fn verbs_that_need_one_are_code_5() {
    let project = TestProject::new(WEB);
    for args in [
        &["start", "web"][..],
        &["stop", "web"],
        &["restart", "web"],
        &["reload", "web"],
        &["signal", "TERM", "web"],
        &["scale", "web=2"],
        &["send", "web", "x"],
        &["wait", "web"],
        &["is", "web", "running"],
        &["plan"],
        &["apply"],
    ] {
        let done = project.proc(args);
        assert_eq!(done.code, 5, "{args:?}: {done:?}");
        assert!(done.stderr.contains("hint: proc up -d"), "{done:?}");
    }
}

#[test]
fn questions_are_answered_while_the_supervisor_ends() {
    let project = TestProject::new(WEB);
    for _round in 0..5 {
        project.ok(&["up", "-d"]);
        let mut down = project.spawn(&["down"]);
        let ended = AtomicBool::new(false);
        let ask = |args: &[&str]| {
            while !ended.load(Ordering::Relaxed) {
                let done = project.proc(args);
                assert_eq!(done.code, 0, "{args:?}: {done:?}");
            }
        };
        std::thread::scope(|scope| {
            let asking = [
                scope.spawn(|| ask(&["status"])),
                scope.spawn(|| ask(&["why", "web"])),
                scope.spawn(|| ask(&["events"])),
            ];
            let code = down.wait().expect("ours").code();
            ended.store(true, Ordering::Relaxed);
            assert_eq!(code, Some(0));
            for asked in asking {
                asked.join().expect("each was answered");
            }
        });
    }
}

#[test]
fn down_of_nothing_is_done() {
    let project = TestProject::new(WEB);
    project.ok(&["down"]);
    project.ok(&["down"]);
    let json = project.ok(&["down", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one document");
    assert_eq!(json["outcomes"], serde_json::json!([]));
}

#[test]
fn what_is_neither_configured_nor_recorded_is_no_project() {
    let project = TestProject::empty();
    for verb in [
        &["status"][..],
        &["logs"],
        &["events"],
        &["why", "web"],
        &["down"],
    ] {
        let done = project.proc(&[&["-p", "nobody"], verb].concat());
        assert_eq!(done.code, 4, "{verb:?}: {done:?}");
        assert!(done.stderr.contains("no project `nobody`"), "{done:?}");
    }
}

#[test]
fn the_records_answer_after_down() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    project.ok(&["down"]);
    let status = project.status();
    assert_eq!(status["supervisor"], serde_json::Value::Null);
    assert_eq!(status["services"][0]["name"], "web");
    assert_eq!(status["services"][0]["state"], "stopped", "{status}");
    assert!(project.ok(&["logs"]).contains("hello"));
    assert!(project.ok(&["events", "--json"]).lines().count() > 3);
    assert!(project.ok(&["why", "web"]).contains("stop"));
}

#[test]
fn down_ends_what_a_dead_supervisor_left() {
    let project = TestProject::new(&format!("{WEB}die_with_supervisor = false\n"));
    let mut up = project.spawn(&["up"]);
    let out = std::io::BufReader::new(up.stdout.take().expect("captured"));
    let mut lines = std::io::BufRead::lines(out).map(|line| line.expect("a line"));
    assert!(lines.any(|line| line.contains("hello")));
    // What is told to followers is on the disk, and so is the record of who runs.
    let mut follow = project.spawn(&["events", "-f"]);
    let out = std::io::BufReader::new(follow.stdout.take().expect("captured"));
    let mut told = std::io::BufRead::lines(out).map(|line| line.expect("a line"));
    assert!(told.any(|line| line.contains("-> running")));
    follow.kill().expect("ours");
    follow.wait().expect("ends");
    let service = project.pid("web");
    up.kill().expect("ours");
    up.wait().expect("ends");
    assert_eq!(
        project.proc(&["alive", "--pid", &service.to_string()]).code,
        0,
        "it lives on"
    );
    assert_eq!(project.instance("web")["pid"], service);
    project.ok(&["down"]);
    assert_eq!(
        project.proc(&["alive", "--pid", &service.to_string()]).code,
        3
    );
}

#[test]
fn a_project_that_never_was_is_code_4() {
    let project = TestProject::empty();
    for args in [&["status", "-p", "nosuch"][..], &["logs", "-p", "nosuch"]] {
        let done = project.proc(args);
        assert_eq!(done.code, 4, "{args:?}: {done:?}");
    }
}
