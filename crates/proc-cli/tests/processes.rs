//! The verbs for single processes, and what they print.

mod common;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::TestProject;
use serde_json::Value;

/// A process that waits to be ended; dropping it ends and reaps it in any case.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        let mut command = Command::new("sleep");
        Sleeper(
            command
                .arg("1000")
                .stdin(Stdio::null())
                .spawn()
                .expect("sleep starts"),
        )
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It may have been ended by the test already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a script as the leader of a group, and waits for the pid that it prints.
fn group(script: &str) -> (Child, BufReader<ChildStdout>, String) {
    let mut leader = Command::new("sh")
        .args(["-c", script])
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let mut lines = BufReader::new(leader.stdout.take().expect("a pipe"));
    let mut member = String::new();
    lines.read_line(&mut member).expect("a pid");
    (leader, lines, member)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn an_identity_is_alive_until_its_process_ends() {
    let project = TestProject::empty();
    let mut sleeper = Sleeper::start();
    let record = project.ok(&["identity", &sleeper.pid()]);
    assert_eq!(json(&record)["pid"].to_string(), sleeper.pid());
    project.ok(&["alive", "--identity", &record]);
    project.ok(&["kill", &sleeper.pid()]);
    // It is a zombie now: ended, and not yet waited for.
    assert_eq!(project.proc(&["alive", "--identity", &record]).code, 3);
    sleeper.0.wait().expect("ours");
    assert_eq!(project.proc(&["alive", "--identity", &record]).code, 3);
    assert_eq!(project.proc(&["kill", "--identity", &record]).code, 3);
    assert_eq!(project.proc(&["alive", "--identity", "{"]).code, 2);
}

#[test]
fn kill_refuses_another_process() {
    let project = TestProject::empty();
    let mut sleeper = Sleeper::start();
    let mine = json(&project.ok(&["identity", &sleeper.pid()]));
    let ticks = mine["start_ticks"].as_u64().expect("a number");
    let wrong = (ticks + 1).to_string();
    assert_eq!(
        project
            .proc(&["kill", &sleeper.pid(), "--start", &wrong])
            .code,
        3
    );
    let other = project.proc(&["kill", "1", "--identity", &mine.to_string()]);
    assert_eq!(other.code, 2, "{other:?}");
    assert_eq!(project.proc(&["kill", "999999999"]).code, 4);
    assert!(
        sleeper.0.try_wait().expect("ours").is_none(),
        "nothing of that ended it"
    );
    let said = project.ok(&[
        "kill",
        &sleeper.pid(),
        "--start",
        &ticks.to_string(),
        "--json",
    ]);
    assert_eq!(json(&said)[0]["survivors"], serde_json::json!([]));
    sleeper.0.wait().expect("ours");
}

#[test]
fn a_record_that_contradicts_itself_ends_nobody() {
    let project = TestProject::empty();
    let (mut one, mut other) = (Sleeper::start(), Sleeper::start());
    let mine = json(&project.ok(&["identity", &one.pid()]));
    let other_pid: u32 = other.pid().parse().expect("a number");
    for (field, value) in [("pid", other_pid.into()), ("start_ticks", Value::from(1))] {
        let mut forged = mine.clone();
        forged[field] = value;
        let forged = forged.to_string();
        for verb in ["kill", "alive"] {
            let said = project.proc(&[verb, "--identity", &forged]);
            assert_eq!(said.code, 3, "{verb} {field}: {said:?}");
        }
    }
    for sleeper in [&mut one, &mut other] {
        assert!(sleeper.0.try_wait().expect("ours").is_none());
    }
}

#[test]
fn a_signal_that_means_no_end_is_only_sent() {
    let project = TestProject::empty();
    let mut sleeper = Sleeper::start();
    let said = project.ok(&["kill", "--signal", "CONT", &sleeper.pid(), "--json"]);
    assert_eq!(json(&said)[0]["signalled"], 1);
    assert!(sleeper.0.try_wait().expect("ours").is_none());
}

#[test]
fn unmanaged_pid() {
    let project = TestProject::empty();
    for nobody in ["0", "999999999"] {
        assert_eq!(project.proc(&["kill", nobody]).code, 4, "{nobody}");
    }
    let mut sleeper = Sleeper::start();
    project.ok(&["kill", &sleeper.pid(), "--signal", "0"]);
    assert!(sleeper.0.try_wait().expect("ours").is_none(), "0 only asks");
    project.ok(&["kill", &sleeper.pid(), "--signal", "KILL"]);
    sleeper.0.wait().expect("ours");
}

#[test]
fn tree_find_and_count_see_a_process() {
    let project = TestProject::empty();
    let sleeper = Sleeper::start();
    let tree = json(&project.ok(&["tree", &std::process::id().to_string(), "--json"]));
    let children = tree["children"].as_array().expect("children");
    let found = children.iter().find(|child| child["pid"] == sleeper.0.id());
    assert_eq!(found.expect("the sleeper is our child")["comm"], "sleep");
    assert!(project.ok(&["tree"]).contains(&sleeper.pid()));
    let exact = project.ok(&["find", "sleep", "--json"]);
    let listed = json(&exact);
    let mut pids = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| p["pid"].to_string());
    assert!(pids.any(|pid| pid == sleeper.pid()), "{exact}");
    assert!(
        project
            .ok(&["find", "--substring", "slee"])
            .contains(&sleeper.pid())
    );
    assert_eq!(project.proc(&["find", "no-such-name"]).code, 4);
    let counts = json(&project.ok(&["count", "--json"]));
    assert!(counts["sleep"].as_u64() >= Some(1), "{counts}");
    assert!(
        counts["total"].as_u64() > counts["sleep"].as_u64(),
        "{counts}"
    );
}

#[test]
fn a_policy_is_played_with_its_arithmetic() {
    let project = TestProject::empty();
    let args = ["policy", "sim", "--jitter", "none", "--exit", "1@5s*3"];
    let played = project.ok(&args);
    for delay in [
        "500ms x 2^0) = 500ms",
        "500ms x 2^1) = 1s",
        "500ms x 2^2) = 2s",
    ] {
        assert!(played.contains(delay), "{delay} is not in {played}");
    }
    assert_eq!(project.proc(&["policy", "sim", "--factor", "0.5"]).code, 2);
}

#[test]
fn doctor_says_what_is_used() {
    let project = TestProject::empty();
    let report = json(&project.ok(&["doctor", "--json"]));
    let kernel = report["kernel"].as_array().expect("a list");
    assert!(
        kernel
            .iter()
            .any(|capability| capability["name"] == "pidfd"),
        "{report}"
    );
}

#[test]
fn exec_runs_in_the_service_surroundings() {
    let project = TestProject::new(
        "[service.web]\ncommand = \"sleep 1000\"\nenv = { A = \"1\" }\nstart_seconds = \"0\"\n",
    );
    let show = [
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "echo $A $PROC_NAME; exit 7",
    ];
    assert_eq!(
        project.proc(&show).code,
        5,
        "without a supervisor there is nothing to be beside"
    );
    project.ok(&["up", "-d"]);
    let done = project.proc(&show);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (7, "1 web\n"),
        "{done:?}"
    );
    assert_eq!(
        project
            .proc(&["exec", "web", "--", "/no/such/program"])
            .code,
        127
    );
    assert_eq!(project.proc(&["exec", "nobody", "--", "true"]).code, 4);
    let died = project.proc(&["exec", "web", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(died.code, 137, "{died:?}");
}

#[test]
fn running_supervisors_are_registered() {
    let project =
        TestProject::new("[service.web]\ncommand = \"sleep 1000\"\nstart_seconds = \"0\"\n");
    project.ok(&["up", "-d"]);
    let name = project
        .path()
        .file_name()
        .expect("a name")
        .to_str()
        .expect("text");
    let entry = json(&project.ok(&["daemon", "info", name, "--json"]));
    assert_eq!(entry["alive"], true);
    assert_eq!(
        json(&project.ok(&["daemon", "info", "--json"]))["identity"],
        entry["identity"]
    );
    assert_eq!(
        entry["identity"]["pid"],
        project.status()["supervisor"]["pid"]
    );
    assert!(project.ok(&["daemon", "list"]).contains(name));
    let service = project.pid("web");
    project.ok(&["daemon", "upgrade"]);
    assert_eq!(project.pid("web"), service, "an upgrade touches no service");
    project.ok(&["down"]);
    assert_eq!(project.proc(&["daemon", "info", name]).code, 4);
}

#[test]
fn a_group_is_ended_when_its_leader_has_ended() {
    let project = TestProject::empty();
    let (mut leader, mut lines, mut member) = group("sleep 1000 & sleep 1000 & echo $!");
    leader.wait().expect("ours");
    let sent = project.ok(&["kill", "--group", "--signal", "0", member.trim()]);
    assert!(sent.contains("to 2"), "{sent}");
    let said = project.ok(&["kill", "--group", "--json", member.trim()]);
    assert_eq!(json(&said)[0]["signalled"], 2);
    // Nobody holds the pipe any more.
    assert_eq!(lines.read_line(&mut member).expect("an end"), 0);
}

#[test]
fn who_may_not_be_signalled_is_told_at_once() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: only root can start somebody else's process");
        return;
    }
    // Where the build lies, others may not be let in.
    let open = tempfile::tempdir().expect("a directory");
    let program = open.path().join("proc");
    let built = env!("CARGO_BIN_EXE_proc");
    // A link where it can be: what was just written may still be open in a child of another test, and then not run.
    if std::fs::hard_link(built, &program).is_err() {
        std::fs::copy(built, &program).expect("copied");
    }
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(open.path(), everybody).expect("it is ours");
    let mut sleeper = Sleeper::start();
    for signal in ["TERM", "KILL"] {
        let mut kill = Command::new("setpriv");
        let kill = kill
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["kill", "--json", "--grace", "60s", "--signal", signal])
            .arg(sleeper.pid())
            .current_dir("/")
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&kill.stderr);
        assert_eq!(kill.status.code(), Some(6), "{said}");
        assert!(said.contains("no permission"), "{said}");
        let report = json(&String::from_utf8_lossy(&kill.stdout));
        assert_eq!(report[0]["signalled"], 0);
        // It waited for nothing: neither for the grace nor for what comes after KILL.
        let elapsed = report[0]["elapsed_ms"].as_u64().expect("a number");
        assert!(elapsed < 10_000, "{elapsed}");
    }
    assert!(sleeper.0.try_wait().expect("ours").is_none());
}

#[test]
fn a_group_is_ended_by_the_pid_of_any_member() {
    let project = TestProject::empty();
    let (mut leader, mut lines, mut member) = group("sleep 1000 & echo $!; wait");
    project.ok(&["kill", "--group", member.trim()]);
    let ended = leader.wait().expect("ours");
    assert_eq!(ended.signal(), Some(15));
    // Nobody holds the pipe any more.
    assert_eq!(lines.read_line(&mut member).expect("an end"), 0);
}
