//! `proc script` and `proc pipeline`, whole programs.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Done, TestProject};
use proc_core::{Identity, Signal};

fn script(project: &TestProject, args: &[&str], text: &str) -> Done {
    let mut all = vec!["script"];
    all.extend_from_slice(args);
    all.push("-");
    let mut child = start(project, &all);
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(text.as_bytes())
        .expect("it reads");
    Done::from(child.wait_with_output().expect("it ends"))
}

fn start(project: &TestProject, args: &[&str]) -> Child {
    let mut command = project.command(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

#[test]
fn a_script_has_its_own_code_and_streams() {
    let project = TestProject::empty();
    for inline in [&[][..], &["--inline"]] {
        let done = script(&project, inline, "echo out; echo err >&2; exit 42");
        assert_eq!((done.code, done.stdout.as_str()), (42, "out\n"), "{done:?}");
        assert_eq!(done.stderr, "err\n");
        assert_eq!(script(&project, inline, "kill -KILL $$").code, 137);
        assert_eq!(script(&project, inline, "no-such-command").code, 127);
    }
    let done = script(&project, &["--combined"], "echo a; echo b >&2; echo c");
    assert_eq!(
        (done.stdout.as_str(), done.stderr.as_str()),
        ("a\nb\nc\n", "")
    );
    for (flags, output, stderr) in [
        (&["--json"][..], "a\nc\n", "b\n"),
        (&["--json", "--combined"], "a\nb\nc\n", ""),
    ] {
        let done = script(&project, flags, "echo a; echo b >&2; echo c");
        let json: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
        assert_eq!(
            (&json["output"], &json["stderr"]),
            (&output.into(), &stderr.into())
        );
    }
    assert_ne!(script(&project, &["--strict"], "false | true").code, 0);
    project.write("s.sh", "read x; echo \"$x $1\"");
    let mut child = start(&project, &["script", "--inline", "s.sh", "arg"]);
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(b"input\n")
        .expect("it reads");
    let done = Done::from(child.wait_with_output().expect("it ends"));
    assert_eq!(done.stdout, "input arg\n", "its standard input stays free");
    assert_eq!(project.proc(&["script", "missing.sh"]).code, 127);
}

#[test]
fn a_script_that_takes_too_long_is_ended_with_its_tree() {
    let project = TestProject::empty();
    // The pipe of its output ends only when everybody who holds it is gone.
    let text = "setsid sleep 1000 & sleep 1000 & echo up; wait";
    let done = script(&project, &["--timeout", "500ms"], text);
    assert_eq!((done.code, done.stdout.as_str()), (124, "up\n"), "{done:?}");
    let stubborn = "trap '' TERM; sleep 1000";
    let done = script(
        &project,
        &["--timeout", "500ms", "--grace", "100ms"],
        stubborn,
    );
    assert_eq!(done.code, 137, "{done:?}");
    let done = script(
        &project,
        &[],
        "setsid sleep 1000 & (trap '' HUP; sleep 1000) & exit 3",
    );
    assert_eq!(done.code, 3, "what it leaves behind is ended: {done:?}");
}

#[test]
fn signals_that_the_caller_blocks_reach_every_foreground_verb() {
    let project = TestProject::empty();
    let waits = "echo up; exec sleep 1000";
    project.write("s.sh", waits);
    project.write(
        "p.toml",
        &format!("[[task]]\nname = \"waits\"\ncommand = \"{waits}\"\n"),
    );
    for verb in [
        &["run", "--", "sh", "-c", waits][..],
        &["script", "s.sh"],
        &["pipeline", "p.toml"],
    ] {
        for asking in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
            let mut child = start_blocked(&project, verb);
            // A pipeline tells that its task begins, and what a task prints when it has ended.
            let mut output = BufReader::new(child.stdout.take().expect("piped"));
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            assert!(["up\n", "start waits\n"].contains(&&*line), "{line}");
            let identity = Identity::of(child.id()).expect("it runs");
            let handle = identity.open().expect("it runs");
            handle.signal(asking).expect("our own child");
            let ended = handle.wait(Some(Duration::from_secs(20)));
            if !ended.expect("a pidfd can be waited for") {
                child.kill().expect("our own child");
            }
            let code = child.wait().expect("our own child").code();
            assert_eq!(code, Some(128 + asking.raw()), "{verb:?} and {asking}");
        }
    }
}

/// Starts a verb with every signal blocked, its stderr on its stdout.
fn start_blocked(project: &TestProject, args: &[&str]) -> Child {
    let plain = project.command(args);
    let mut command = Command::new("env");
    command
        .args(["--block-signal", "sh", "-c", "exec \"$@\" 2>&1", "sh"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command.spawn().expect("it starts")
}

#[test]
fn an_exclusive_script_refuses_a_second_one() {
    let project = TestProject::empty();
    let name = format!("toolkit-{}", std::process::id());
    let args = ["script", "--exclusive", &name, "-"];
    let mut first = start(&project, &args);
    let mut input = first.stdin.take().expect("piped");
    input.write_all(b"echo up; sleep 1000").expect("it reads");
    drop(input);
    let mut output = BufReader::new(first.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "up\n");
    let second = script(&project, &["--exclusive", &name], "echo never");
    assert_eq!((second.code, second.stdout.as_str()), (1, ""));
    assert!(second.stderr.contains("already running"), "{second:?}");
    let pid = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    output.read_to_string(&mut line).expect("its tree ends too");
    assert_eq!(first.wait().expect("it ends").code(), Some(143));
    assert_eq!(script(&project, &["--exclusive", &name], "exit 0").code, 0);
}

#[test]
fn an_exclusive_name_is_held_as_long_as_the_script_runs() {
    let project = TestProject::empty();
    let name = format!("toolkit-killed-{}", std::process::id());
    let exclusive = ["--exclusive", &*name];
    for inline in ["--inline", "--combined"] {
        project.write("s.sh", "echo $$; exec sleep 1000");
        let mut first = start(&project, &["script", "--exclusive", &name, inline, "s.sh"]);
        let mut pid = String::new();
        BufReader::new(first.stdout.take().expect("piped"))
            .read_line(&mut pid)
            .expect("a line");
        let left = Identity::of(pid.trim().parse().expect("a pid")).expect("it runs");
        let left = left.open().expect("it runs");
        first.kill().expect("our own child");
        first.wait().expect("our own child");
        let second = script(&project, &exclusive, "echo never");
        left.signal(Signal::KILL).expect("it outlives its parent");
        left.wait(None).expect("a pidfd can be waited for");
        assert_eq!((second.code, second.stdout.as_str()), (1, ""), "{inline}");
        assert!(second.stderr.contains("already running"), "{second:?}");
        assert_eq!(script(&project, &exclusive, "exit 0").code, 0);
    }
    // What outlives the script by intention does not keep the name.
    let detached = ["--exclusive", &name, "--detach-allowed"];
    let done = script(&project, &detached, "sleep 1000 >/dev/null 2>&1 & echo $!");
    let next = script(&project, &exclusive, "exit 0");
    let left = Identity::of(done.stdout.trim().parse().expect("a pid")).expect("it runs");
    let left = left.open().expect("it runs");
    left.signal(Signal::KILL).expect("it outlives the script");
    left.wait(None).expect("a pidfd can be waited for");
    assert_eq!((done.code, next.code), (0, 0), "{next:?}");
}

const PIPELINE: &str = r#"
[[task]]
name = "build"
command = "echo building; test -n \"$MODE\""
env = { MODE = "x" }

[[task]]
name = "test"
argv = ["false"]
after = ["build"]

[[task]]
name = "ship"
command = "true"
after = ["test"]

[[task]]
name = "lint"
command = "exit 3"
allow_failure = true
timeout = "30s"
"#;

#[test]
fn a_pipeline_tells_what_became_of_each_task() {
    let project = TestProject::empty();
    project.write("p.toml", PIPELINE);
    let done = project.proc(&["--json", "pipeline", "p.toml"]);
    assert_eq!(done.code, 1, "{done:?}");
    let json: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    let of = |key: &str| -> Vec<String> {
        let tasks = json["tasks"].as_array().expect("tasks");
        tasks
            .iter()
            .map(|task| task[key].to_string().replace('"', ""))
            .collect()
    };
    assert_eq!(
        of("name"),
        ["build", "test", "ship", "lint"],
        "in the file's order"
    );
    assert_eq!(of("status"), ["passed", "failed", "skipped", "failed"]);
    assert_eq!(of("exit_code"), ["0", "1", "null", "3"]);
    assert_eq!(json["tasks"][0]["output"], "building\n");
    let plain = project.proc(&["pipeline", "p.toml"]);
    assert!(
        plain
            .stdout
            .contains("skipped due to dependency failure: `test`"),
        "{plain:?}"
    );
    assert!(plain.stderr.contains("build | building"), "{plain:?}");
    project.write("p.toml", &PIPELINE.replace("[\"false\"]", "[\"true\"]"));
    assert_eq!(
        project.proc(&["pipeline", "p.toml"]).code,
        0,
        "an allowed failure is none"
    );
}

#[test]
fn a_pipeline_with_a_mistake_starts_nothing() {
    let project = TestProject::empty();
    for (from, to, place) in [
        (
            "[\"build\"]",
            "[\"ship\"]",
            "tasks wait for one another: test -> ship -> test",
        ),
        (
            "[\"build\"]",
            "[\"nobody\"]",
            "p.toml:10:10: task `test` is after `nobody`",
        ),
        (
            "timeout =",
            "timout =",
            "p.toml:21:1: unknown field `timout`",
        ),
        ("30s", "30x", "p.toml:21:11: timeout"),
        ("echo building", "touch started", "two tasks are named"),
    ] {
        let mut text = PIPELINE.replace(from, to);
        if place.starts_with("two") {
            text.push_str("[[task]]\nname = \"lint\"\ncommand = \"true\"\n");
        }
        project.write("p.toml", &text);
        let done = project.proc(&["pipeline", "p.toml"]);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{done:?}");
        assert!(done.stderr.contains(place), "{place} in {done:?}");
    }
    assert_eq!(project.proc(&["pipeline", "missing.toml"]).code, 2);
}
