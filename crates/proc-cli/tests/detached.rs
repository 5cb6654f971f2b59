//! `proc up -d` and the verbs that talk to the supervisor it leaves behind.

mod common;

use common::{TestProject, wait};

const WEB: &str = "[service.web]\ncommand = \"sh -c 'echo hello; exec sleep 1000'\"\n\
                   ready = { log = \"hello\" }\n";

#[test]
fn a_project_lives_from_up_to_down() {
    let project = TestProject::new(WEB);
    let said = project.ok(&["up", "-d"]);
    assert!(said.contains("web"), "{said}");
    let web = project.instance("web");
    assert_eq!(
        (web["state"].as_str(), web["ready"].as_bool()),
        (Some("running"), Some(true))
    );
    assert_eq!(web["identity"]["pid"], web["pid"]);
    assert!(project.ok(&["logs", "web"]).contains("hello"));
    assert!(project.ok(&["status"]).contains("running"));
    project.ok(&["stop", "web"]);
    assert_eq!(project.instance("web")["state"], "stopped");
    project.ok(&["start", "web"]);
    let first = project.pid("web");
    project.ok(&["restart", "web"]);
    assert_ne!(project.pid("web"), first, "a restart makes a new process");
    project.ok(&["down"]);
    assert_eq!(project.status()["supervisor"], serde_json::Value::Null);
}

#[test]
fn a_second_up_is_refused_with_the_pid() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let pid = project.status()["supervisor"]["pid"].to_string();
    for args in [&["up"][..], &["up", "-d"]] {
        let second = project.proc(args);
        assert_eq!(second.code, 1, "{second:?}");
        assert!(second.stderr.contains(&pid), "{pid} is not in {second:?}");
        assert!(second.stderr.contains("hint: proc apply"), "{second:?}");
    }
}

#[test]
fn of_many_that_start_at_once_one_wins() {
    let project = TestProject::new(WEB);
    let racers: Vec<_> = (0..8).map(|_| project.spawn(&["up", "-d"])).collect();
    let done: Vec<_> = racers.into_iter().map(wait).collect();
    assert_eq!(
        done.iter().filter(|done| done.code == 0).count(),
        1,
        "{done:?}"
    );
    let pid = project.status()["supervisor"]["pid"].to_string();
    for loser in done.iter().filter(|done| done.code != 0) {
        assert_eq!(loser.code, 1, "{loser:?}");
        assert!(loser.stderr.contains(&pid), "{pid} is not in {loser:?}");
    }
}

#[test]
fn a_program_that_always_fails_is_named_with_its_last_lines() {
    let project = TestProject::new(
        "[service.bad]\ncommand = \"sh -c 'echo the reason; exit 3'\"\n\
         restart = { startup_max = 1, initial_delay = \"10ms\" }\n",
    );
    let done = project.proc(&["up", "-d"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.stderr.contains("bad") && done.stderr.contains("the reason"),
        "{done:?}"
    );
    assert_eq!(project.instance("bad")["state"], "failed");
    assert_eq!(project.instance("bad")["last_exit"]["code"], 3);
}

#[test]
fn what_is_not_ready_in_time_is_code_124() {
    let project = TestProject::new(
        "[service.slow]\ncommand = \"sleep 1000\"\nready = { file = \"never\" }\n",
    );
    let done = project.proc(&["up", "-d", "--wait-timeout", "300ms"]);
    assert_eq!(done.code, 124, "{done:?}");
    assert!(done.stderr.contains("slow"), "{done:?}");
    assert_eq!(project.instance("slow")["ready"], false);
}

#[test]
fn what_ended_well_or_waits_for_its_time_is_not_named_as_late() {
    let project = TestProject::new(
        "[service.slow]\ncommand = \"sleep 1000\"\nstart_seconds = \"10ms\"\nready = { file = \"never\" }\nneeds = { once = \"completed\" }\n\
         [service.once]\ncommand = \"sh -c 'exit 7'\"\noneshot = true\nrestart = { success_codes = [7] }\n\
         [service.cron]\ncommand = \"true\"\nschedule = \"0 0 1 1 *\"\n",
    );
    let done = project.proc(&["up", "-d", "--wait-timeout", "1s"]);
    assert_eq!(done.code, 124, "{done:?}");
    let told = "not ready after 1.0s: `slow` (running)\n";
    assert!(done.stderr.contains(told), "{done:?}");
}

#[test]
fn what_needs_somebody_that_waits_for_a_failed_one_fails_at_once() {
    let project = TestProject::new(
        "[service.db]\ncommand = \"sh -c 'echo db broken >&2; exit 1'\"\nrestart = { mode = \"never\" }\n\
         [service.api]\ncommand = \"sleep 1000\"\nneeds = { db = \"ready\" }\n\
         [service.web]\ncommand = \"sleep 1000\"\nneeds = { api = \"ready\" }\n",
    );
    let up = project.proc(&["up", "-d"]);
    assert_eq!(up.code, 1, "{up:?}");
    assert!(up.stderr.contains("db | db broken"), "{up:?}");
    let why = "needs `api` ready, which needs `db` ready, and it is exited without success";
    for verb in [
        &["start", "web"][..],
        &["restart", "web"],
        &["wait", "web"],
        &["wait", "web", "--for", "running"],
    ] {
        let done = project.proc(verb);
        assert_eq!(done.code, 1, "{verb:?}: {done:?}");
        assert!(done.stderr.contains(why), "{verb:?}: {done:?}");
    }
}

#[test]
fn a_stop_that_leaves_somebody_is_code_6_and_names_him() {
    let project = TestProject::new(
        "[service.deaf]\ncommand = \"sh -c 'trap \\\"\\\" TERM; echo up; sleep 1000'\"\n\
         ready = { log = \"up\" }\nstop = { steps = [\"TERM/100ms\"] }\n",
    );
    project.ok(&["up", "-d"]);
    let pid = project.pid("deaf");
    for verb in [&["stop", "deaf"][..], &["down"]] {
        let done = project.proc(verb);
        assert_eq!(done.code, 6, "{done:?}");
        let told = format!("pid {pid} (sh) of `deaf` survived: did not end on TERM");
        assert!(done.stderr.contains(&told), "{told} is not in {done:?}");
    }
    project.ok(&["kill", &pid.to_string(), "--signal", "KILL"]);
    project.ok(&["down"]);
}

#[test]
fn a_supervisor_that_is_killed_comes_back_with_the_same_services() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let service = project.pid("web");
    let supervisor = project.status()["supervisor"]["pid"]
        .as_u64()
        .expect("a pid");
    let pid = rustix::process::Pid::from_raw(i32::try_from(supervisor).expect("fits"));
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL)
        .expect("ours");
    // Verbs wait for it.
    assert_eq!(project.pid("web"), service, "the service was not touched");
    assert_ne!(
        project.status()["supervisor"]["pid"].as_u64(),
        Some(supervisor)
    );
    let name = project.status()["project"]
        .as_str()
        .expect("a name")
        .to_owned();
    let info = project.ok(&["--json", "daemon", "info", &name]);
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(
        (&info["alive"], &info["respawns"]),
        (&true.into(), &1.into()),
        "{info}"
    );
    let second = project.proc(&["up", "-d"]);
    assert_eq!(second.code, 1, "it is still the same project: {second:?}");
}

#[test]
fn a_supervisor_comes_back_although_its_directory_is_gone() {
    let project = TestProject::new(WEB);
    let directory = project.path().join("release-1");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::rename(
        project.path().join("proc.toml"),
        directory.join("proc.toml"),
    )
    .expect("it is there");
    let up = std::process::Command::new(env!("CARGO_BIN_EXE_proc"))
        .current_dir(&directory)
        .arg("--state-dir")
        .arg(project.state())
        .args(["up", "-d"])
        .output()
        .expect("proc runs");
    assert!(up.status.success(), "{up:?}");
    let service = project.pid("web");
    let supervisor = project.status()["supervisor"]["pid"].as_u64();
    let supervisor = u32::try_from(supervisor.expect("a pid")).expect("it fits");
    std::fs::remove_dir_all(&directory).expect("it is ours");
    let supervisor = proc_core::ProcessHandle::of(supervisor).expect("it lives");
    supervisor
        .signal(proc_core::Signal::KILL)
        .expect("it is ours");
    supervisor.wait(None).expect("a pidfd can be waited for");
    assert_eq!(project.pid("web"), service, "the service was not touched");
    assert!(project.status()["supervisor"]["pid"].is_u64());
    project.ok(&["stop", "web"]);
}

#[test]
fn an_upgrade_to_what_is_no_proc_leaves_a_supervisor() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let service = project.pid("web");
    let supervisor = project.status()["supervisor"]["pid"].clone();
    for program in ["/no/such", "/etc/passwd", "/bin/true"] {
        let done = project.proc(&["daemon", "upgrade", "--binary", program]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains(program), "{done:?}");
        assert_eq!(project.status()["supervisor"]["pid"], supervisor);
    }
    // One that passes for it, and fails.
    project.write(
        "liar",
        "#!/bin/sh\n[ \"$1\" = --version ] && echo proc 9 && exit\necho error: not today >&2\nexit 3\n",
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(project.path().join("liar"), mode).expect("it is ours");
    let done = project.proc(&["daemon", "upgrade", "--binary", "liar"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("not today"), "{done:?}");
    assert!(done.stderr.contains("nothing was upgraded"), "{done:?}");
    assert!(project.status()["supervisor"]["pid"].is_u64());
    assert_eq!(project.pid("web"), service, "the service was not touched");
    project.ok(&["restart", "web"]);
}

#[test]
fn with_supervisor_and_keeper_dead_verbs_say_so_at_once() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let service = project.pid("web");
    let supervisor = project.status()["supervisor"]["pid"].clone();
    let keeper = proc_shim::ShimRecord::read(&project.state().join("supervisor"));
    let keeper = keeper.expect("readable").expect("it has a keeper").identity;
    let keeper = keeper.open().expect("it lives");
    let supervisor = u32::try_from(supervisor.as_u64().expect("a pid")).expect("it fits");
    let supervisor = proc_core::ProcessHandle::of(supervisor).expect("it lives");
    for process in [keeper, supervisor] {
        process.signal(proc_core::Signal::KILL).expect("it is ours");
        process.wait(None).expect("a pidfd can be waited for");
    }
    let begun = std::time::Instant::now();
    let done = project.proc(&["stop", "web"]);
    assert_eq!(done.code, 5, "{done:?}");
    assert!(done.stderr.contains("no supervisor is running"), "{done:?}");
    // Five seconds are waited for one that is coming back; nobody is here to bring it.
    assert!(begun.elapsed().as_secs() < 4, "{:?}", begun.elapsed());
    project.ok(&["up", "-d"]);
    assert_eq!(project.pid("web"), service, "the service was not touched");
}

#[test]
fn apply_does_what_plan_says() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["plan", "--json"]).trim(), "[]");
    project.write("proc.toml", &format!("{WEB}env = {{ A = \"1\" }}\n"));
    let plan = project.ok(&["plan", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan[0]["service"], "web");
    assert_eq!(plan[0]["action"], "restart");
    let before = project.pid("web");
    project.ok(&["apply"]);
    assert_ne!(project.pid("web"), before);
    assert_eq!(project.ok(&["plan", "--json"]).trim(), "[]");
    project.write("proc.toml", "[service.web]\ncomand = \"true\"\n");
    assert_eq!(
        project.proc(&["apply"]).code,
        2,
        "a broken configuration changes nothing"
    );
    assert_eq!(project.instance("web")["state"], "running");
}

#[test]
fn what_a_backend_cannot_do_is_said_before_anything_changes() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let before = project.pid("web");
    let changed = format!("{WEB}cwd = \"/\"\n");
    let other = "[service.unit]\ncommand = \"true\"\nbackend = \"systemctl\"\nscope = \"user\"\n";
    project.write("proc.toml", &format!("{changed}{other}stdin = \"pipe\"\n"));
    for verb in ["plan", "apply"] {
        let done = project.proc(&[verb]);
        assert_eq!(done.code, 2, "{done:?}");
        let told = done.stderr.contains("proc.toml:9:") && done.stderr.contains("/dev/null");
        assert!(told, "{done:?}");
    }
    assert_eq!(project.pid("web"), before, "nothing of it was carried out");
    let limits = "limits = { memory = \"1GiB\" }\nautostart = false\n";
    project.write("proc.toml", &format!("{changed}{other}{limits}"));
    for verb in ["plan", "apply"] {
        let done = project.proc(&[verb]);
        assert_eq!(done.code, 0, "{done:?}");
        let told = done.stderr.contains("warning:") && done.stderr.contains("limits.memory");
        assert!(told, "{done:?}");
    }
    assert_ne!(project.pid("web"), before);
}

#[test]
fn names_that_mean_nothing_are_code_4() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    for args in [
        &["stop", "nobody"][..],
        &["restart", "web", "nobody"],
        &["status", "nobody"],
        &["logs", "nobody"],
        &["why", "nobody"],
        &["is", "nobody", "running"],
        &["wait", "nobody"],
        &["signal", "TERM", "nobody"],
        &["stop", "@nobody"],
    ] {
        let done = project.proc(args);
        assert_eq!(done.code, 4, "{args:?}: {done:?}");
        assert!(done.stderr.contains("nobody"), "{done:?}");
    }
}

#[test]
fn a_project_that_ends_at_once_is_told_as_it_ended() {
    let project = TestProject::empty();
    for (command, code) in [("true", 0), ("sh -c 'echo bad luck; exit 3'", 1)] {
        project.write(
            "proc.toml",
            &format!(
                "[project]\non_exit = \"stop\"\n[service.a]\ncommand = \"{command}\"\n\
                 restart = {{ mode = \"never\" }}\n"
            ),
        );
        // Whatever of it is still there when somebody looks.
        for _ in 0..10 {
            let done = project.proc(&["up", "-d"]);
            assert_eq!(done.code, code, "{done:?}");
            assert_eq!(done.stderr.contains("error: `a`: "), code == 1, "{done:?}");
            assert_eq!(done.stderr.contains("a | bad luck"), code == 1, "{done:?}");
            // What was told may have been its last words but one.
            project.ok(&["down"]);
        }
    }
}

#[test]
fn what_is_sent_from_standard_input_arrives_as_it_is() {
    let project = TestProject::new(
        "[service.sink]\ncommand = \"sh -c 'exec cat > got'\"\nstdin = \"pipe\"\n\
         restart = { mode = \"never\" }\n",
    );
    project.ok(&["up", "-d"]);
    // Every byte there is, and far more than one request takes.
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(31) >> 3) as u8)
        .collect();
    std::fs::write(project.path().join("sent"), &sent).expect("write");
    let mut send = project.command(&["send", "sink", "--close"]);
    send.stdin(std::fs::File::open(project.path().join("sent")).expect("it is there"));
    let send = send.output().expect("proc runs");
    assert!(send.status.success(), "{send:?}");
    project.ok(&["wait", "sink", "--for", "exited"]);
    let got = std::fs::read(project.path().join("got")).expect("it is there");
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    assert_eq!(project.proc(&["send", "nobody"]).code, 4);
}

#[test]
fn scale_send_and_signal_reach_their_service() {
    let project = TestProject::new(
        "[service.echo]\ncommand = \"sh -c 'trap \\\"echo got usr1\\\" USR1; echo up; \
         while read line; do echo got $line; done'\"\nstdin = \"pipe\"\nready = { log = \"up\" }\n",
    );
    project.ok(&["up", "-d"]);
    project.ok(&["send", "echo", "a line"]);
    let mut follow = project.spawn(&["logs", "-f", "--no-prefix", "echo"]);
    let out = std::io::BufReader::new(follow.stdout.take().expect("captured"));
    let mut lines = std::io::BufRead::lines(out).map(|line| line.expect("a line"));
    assert!(lines.any(|line| line == "got a line"));
    follow.kill().expect("ours");
    follow.wait().expect("ends");
    project.ok(&["scale", "echo=2"]);
    let status = project.status();
    assert_eq!(
        status["services"][0]["instances"].as_array().map(Vec::len),
        Some(2),
        "{status}"
    );
    project.ok(&["scale", "echo=0"]);
    let status = project.status();
    assert_eq!(status["services"][0]["name"], "echo", "{status}");
}

#[test]
fn events_are_numbered_without_gaps() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    project.ok(&["stop", "web"]);
    let numbers = |text: String| -> Vec<u64> {
        let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        text.lines()
            .map(|line| parse(line)["seq"].as_u64().expect("a number"))
            .collect()
    };
    let all = numbers(project.ok(&["events", "--json"]));
    assert!(all.len() > 3, "{all:?}");
    assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1), "{all:?}");
    let since = all[1].to_string();
    assert_eq!(
        numbers(project.ok(&["events", "--json", "--since", &since])),
        all[2..]
    );
    assert!(project.ok(&["why", "web"]).contains("stop"));
}

#[test]
fn a_broken_configuration_does_not_hide_what_runs() {
    let project = TestProject::new(&format!("[project]\nname = \"shop\"\n{WEB}"));
    project.ok(&["up", "-d"]);
    project.write(
        "proc.toml",
        "[project]\nname = \"shop\"\n[service.web]\ncomand = \"true\"\n",
    );
    assert_eq!(project.instance("web")["state"], "running");
    project.write(
        "proc.toml",
        "[project]\nname = \"shop\"\n[service.web]\ncommand = \"tr\n",
    );
    assert_eq!(project.status()["project"], "shop");
    project.ok(&["stop", "web"]);
    project.ok(&["down"]);
}

#[test]
fn a_broken_file_does_not_keep_a_supervisor_from_coming_back() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let service = project.pid("web");
    let supervisor = project.status()["supervisor"]["pid"].as_u64();
    let pid = i32::try_from(supervisor.expect("a pid")).expect("fits");
    project.write("proc.toml", "[service.web]\ncomand = \"true\"\n");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("ours");
    assert_eq!(project.pid("web"), service, "the service was not touched");
    let status = project.status();
    assert_ne!(status["supervisor"]["pid"].as_u64(), supervisor);
    let degraded = status["degraded"].to_string();
    let told = degraded.contains("comand") && degraded.contains("last applied");
    assert!(told, "{degraded}");
    project.write("proc.toml", WEB);
    project.ok(&["apply"]);
    assert_eq!(project.status()["degraded"].to_string(), "[]");
    assert_eq!(project.pid("web"), service, "nothing had changed");
}
