//! `proc logs`: every flag, against a running project and after it is down.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use common::TestProject;
use serde_json::Value;

/// Writes 300 lines to each stream over files of 2 KiB, and a last one that is no UTF-8 and has no end.
const PROJECT: &str = r#"
[service.web]
script = '''
i=0
while [ $i -lt 300 ]; do i=$((i+1)); echo "out $i"; echo "err $i" >&2; done
printf 'tail \377'
touch written
exec sleep 1000
'''
log = { max_size = "2KiB", keep = 20 }
ready = { file = "written" }

[service.db]
script = '''
echo '{"level":"warn","msg":"0 errors"}'
echo 'INFO hello'
echo 'ERROR boom'
exec sleep 1000
'''
ready = { log = "boom" }
needs = { web = "ready" }
"#;

fn written() -> Vec<u8> {
    let lines: String = (1..=300).map(|n| format!("out {n}\n")).collect();
    [lines.as_bytes(), b"tail \xff"].concat()
}

fn raw(project: &TestProject) -> Vec<u8> {
    let args = ["logs", "--raw", "--stream", "stdout", "web"];
    project.command(&args).output().expect("proc runs").stdout
}

fn json(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("a JSON line");
    text.lines().map(parse).collect()
}

/// What holds with a supervisor and without.
fn every_flag(project: &TestProject) {
    assert_eq!(
        raw(project),
        written(),
        "--raw is byte-exact over rotations"
    );
    assert_eq!(
        project.ok(&["logs", "--raw", "db", "-n", "1"]),
        "ERROR boom\n"
    );

    let all = project.ok(&["logs"]);
    assert_eq!(all.lines().count(), 300 + 300 + 1 + 3);
    let first_of_db = all.lines().position(|line| line.starts_with("db "));
    assert_eq!(
        first_of_db,
        Some(601),
        "merged by time: db was started after web"
    );
    assert!(all.starts_with("web | out 1\n") || all.starts_with("web | err 1\n"));

    let err = project.ok(&[
        "logs",
        "web",
        "--stream",
        "stderr",
        "-n",
        "2",
        "--no-prefix",
    ]);
    assert_eq!(err, "err 299\nerr 300\n");
    assert_eq!(project.ok(&["logs", "-n", "0"]), "");

    let found = project.ok(&["logs", "-g", "^out 1.$", "-n", "2", "--no-prefix"]);
    assert_eq!(found, "out 18\nout 19\n", "-n counts what passes");
    let level = |level| project.ok(&["logs", "db", "--no-prefix", "--level", level]);
    assert_eq!(level("error"), "ERROR boom\n");
    assert_eq!(
        level("warn"),
        "{\"level\":\"warn\",\"msg\":\"0 errors\"}\nERROR boom\n"
    );

    let lines = json(&project.ok(&["logs", "db", "--json"]));
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["instance"], "db");
    assert_eq!(
        (&lines[2]["stream"], &lines[2]["line"]),
        (&"stdout".into(), &"ERROR boom".into())
    );
    let at = lines[1]["at"].as_str().expect("a time");
    let stamped = project.ok(&["logs", "db", "--timestamps"]);
    assert!(
        stamped
            .lines()
            .nth(1)
            .is_some_and(|line| line == format!("{at} db | INFO hello"))
    );
    assert_eq!(
        project.ok(&["logs", "db", "--since", at, "-g", "hello"]),
        "db | INFO hello\n"
    );
    assert_eq!(project.ok(&["logs", "--until", "1h"]), "");
    assert_eq!(
        project.ok(&["logs", "--since", "1h", "db"]).lines().count(),
        3
    );

    let color = || project.ok(&["logs", "--color", "always", "-n", "1", "-g", "boom|300"]);
    assert_eq!(color(), color());
    assert!(color().contains("\x1b["), "{}", color());
    assert!(
        !project.ok(&["logs", "-n", "1"]).contains('\x1b'),
        "a pipe has no colours"
    );

    assert_eq!(project.proc(&["logs", "nobody"]).code, 4);
    assert_eq!(project.proc(&["logs", "--since", "yesterday"]).code, 2);
    assert_eq!(project.proc(&["logs", "--raw", "--timestamps"]).code, 2);
    project.ok(&["logs", "@all"]);
    assert_eq!(project.ok(&["logs", "d*"]).lines().count(), 3);
}

#[test]
fn every_flag_with_a_supervisor_and_without() {
    let project = TestProject::new(&format!("[groups]\nall = [\"web\", \"db\"]\n{PROJECT}"));
    project.ok(&["up", "-d"]);
    every_flag(&project);
    project.ok(&["down"]);
    every_flag(&project);
}

#[test]
fn verify_proves_that_nothing_is_missing_and_sees_what_is() {
    let project = TestProject::new(PROJECT);
    project.ok(&["up", "-d"]);
    let verify = |code| {
        let done = project.proc(&["logs", "--verify", "--json", "web"]);
        assert_eq!(done.code, code, "{done:?}");
        let answer: Value = serde_json::from_str(&done.stdout).expect("JSON");
        answer.as_array().expect("streams")[0].clone()
    };
    let stdout = verify(0);
    assert_eq!(
        (&stdout["complete"], &stdout["stream"]),
        (&true.into(), &"stdout".into())
    );
    let bytes = Value::from(written().len());
    assert_eq!(
        (&stdout["kept_bytes"], &stdout["end_offset"]),
        (&bytes, &bytes)
    );
    assert!(stdout["files"].as_u64() > Some(1), "{stdout}");
    assert!(project.ok(&["logs", "--verify"]).contains("complete"));
    project.ok(&["down"]);
    verify(0);

    let live = project.state().join("log/web.stdout.log");
    let length = std::fs::metadata(&live).expect("the live file").len();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&live)
        .expect("the live file");
    file.set_len(length - 3).expect("truncate");
    let stdout = verify(1);
    assert_eq!(stdout["complete"], false);
    let problem = stdout["problems"][0].as_str().expect("a problem");
    assert!(problem.contains("web.stdout.log"), "{problem}");
    let text = project.proc(&["logs", "--verify"]);
    assert!(
        text.code == 1 && text.stdout.contains("incomplete"),
        "{text:?}"
    );
}

/// A `proc logs -f` that ends with the test.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Follower {
    fn new(project: &TestProject, args: &[&str]) -> Follower {
        let mut child = project.spawn(&[&["logs", "-f"], args].concat());
        let out = child.stdout.take().expect("captured");
        let lines = BufReader::new(out).lines();
        Follower { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("it goes on").expect("a line")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn follow_goes_on_over_rotations_restarts_and_the_end_of_the_project() {
    let config = "[service.count]\nstdin = \"pipe\"\nscript = '''\n\
        echo begin\n\
        while read n; do i=0; while [ $i -lt $n ]; do i=$((i+1)); echo \"$i\"; done; done\n'''\n\
        log = { max_size = \"1KiB\", keep = 50 }\nready = { log = \"begin\" }\n";
    let project = TestProject::new(config);
    project.ok(&["up", "-d"]);
    let mut follow = Follower::new(&project, &["--no-prefix"]);
    assert_eq!(follow.next(), "begin");
    let mut count = |n: u32| {
        project.ok(&["send", "count", &n.to_string()]);
        (1..=n).for_each(|i| assert_eq!(follow.next(), i.to_string()));
    };
    count(1000);
    project.ok(&["restart", "count"]);
    project.ok(&["wait", "count", "--for", "ready"]);
    assert_eq!(follow.next(), "begin");
    let mut count = |n: u32| {
        project.ok(&["send", "count", &n.to_string()]);
        (1..=n).for_each(|i| assert_eq!(follow.next(), i.to_string()));
    };
    count(500);
    project.ok(&["down"]);
    project.ok(&["up", "-d"]);
    assert_eq!(follow.next(), "begin");
    project.ok(&["logs", "--verify"]);
}

#[test]
fn one_instance_that_becomes_several_keeps_its_lines() {
    let config = "[service.web]\ncommand = \"sh -c 'echo I am $PROC_INSTANCE; exec sleep 1000'\"\n\
        ready = { log = \"I am\" }\n";
    let project = TestProject::new(config);
    project.ok(&["up", "-d"]);
    let mut follow = Follower::new(&project, &["web", "--json"]);
    assert_eq!(json(&follow.next())[0]["instance"], "web");
    project.ok(&["scale", "web=2"]);
    // The newcomer is followed too, by the name that `status` has for it.
    let line = &json(&follow.next())[0];
    assert_eq!(
        (&line["instance"], &line["line"]),
        (&"web-2".into(), &"I am 2".into())
    );
    drop(follow);
    let both = "web-1 | I am 1\nweb-2 | I am 2\n";
    let check = || {
        assert_eq!(project.ok(&["logs", "web"]), both);
        assert_eq!(project.ok(&["logs", "web-*"]), both);
        assert_eq!(project.ok(&["logs", "web-1"]), "web-1 | I am 1\n");
        assert_eq!(
            json(&project.ok(&["logs", "web-1", "--json"]))[0]["instance"],
            "web-1"
        );
    };
    check();
    project.ok(&["down"]);
    check();
}

#[test]
fn a_reader_that_went_away_ends_it_quietly() {
    let project = TestProject::new(PROJECT);
    project.ok(&["up", "-d"]);
    let mut logs = project.spawn(&["logs"]);
    drop(logs.stdout.take());
    let mut stderr = String::new();
    let mut err = logs.stderr.take().expect("captured");
    err.read_to_string(&mut stderr).expect("text");
    assert!(
        logs.wait().expect("ends").success() && stderr.is_empty(),
        "{stderr}"
    );
}

#[test]
fn without_timestamps_no_times_are_kept() {
    let says = |name: &str, keys: &str| {
        format!(
            "[service.{name}]\ncommand = \"sh -c 'echo hello; exec sleep 1000'\"\nready = {{ log = \"hello\" }}\n{keys}\n"
        )
    };
    let project =
        TestProject::new(&(says("bare", "log = { timestamps = false }") + &says("timed", "")));
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["logs", "bare", "-t"]), "- bare | hello\n");
    let timed = project.ok(&["logs", "timed", "-t"]);
    assert!(
        timed.starts_with("20") && timed.ends_with("Z timed | hello\n"),
        "{timed}"
    );
    let file = std::fs::read_to_string(project.state().join("log/timed.stdout.log"));
    assert_eq!(file.expect("its log"), "hello\n");
}
