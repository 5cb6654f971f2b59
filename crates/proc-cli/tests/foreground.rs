//! `proc up` in the foreground: output, signals, exit codes.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Child;

use common::{TestProject, signal, wait};
use rustix::process::Signal;

/// Waits until the project's stdout has a line with this text.
fn until_line(up: &mut Child, text: &str) -> impl Iterator<Item = String> + use<> {
    let out = BufReader::new(up.stdout.take().expect("captured"));
    let mut lines = out.lines().map(|line| line.expect("a line"));
    let found = lines.any(|line| line.contains(text));
    assert!(found, "`{text}` never came");
    lines
}

#[test]
fn output_goes_where_the_services_wrote_it() {
    let project = TestProject::new(
        "[project]\non_exit = \"stop\"\n[service.both]\n\
         command = \"sh -c 'echo to stdout; echo to stderr >&2'\"\noneshot = true\n",
    );
    let done = wait(project.spawn(&["up", "-q"]));
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout, "both | to stdout\n");
    assert_eq!(done.stderr, "both | to stderr\n");
}

#[test]
fn an_interrupt_stops_everything_with_code_0() {
    let project =
        TestProject::new("[service.web]\ncommand = \"sh -c 'echo hello; exec sleep 1000'\"\n");
    let mut up = project.spawn(&["up"]);
    let rest = until_line(&mut up, "hello");
    let service = project.pid("web");
    signal(&up, Signal::INT);
    assert_eq!(wait(up).code, 0);
    drop(rest);
    assert_eq!(
        project.proc(&["alive", "--pid", &service.to_string()]).code,
        3
    );
}

#[test]
fn under_nohup_a_closed_terminal_ends_nothing() {
    let project =
        TestProject::new("[service.web]\ncommand = \"sh -c 'echo up; exec sleep 1000'\"\n");
    let proc = project.command(&["up"]);
    let mut nohup = std::process::Command::new("nohup");
    nohup.arg(proc.get_program()).args(proc.get_args());
    nohup
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut up = nohup.spawn().expect("nohup starts");
    let rest = until_line(&mut up, "up");
    signal(&up, Signal::HUP);
    project.ok(&["status"]);
    signal(&up, Signal::INT);
    let done = wait(up);
    drop(rest);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!done.stderr.contains("SIGHUP"), "{done:?}");
    assert!(done.stderr.contains("SIGINT"), "{done:?}");
}

#[test]
fn the_third_interrupt_kills_what_ignores_the_others() {
    let project = TestProject::new(
        "[service.deaf]\nstop = { signal = \"TERM\", grace = \"none\" }\n\
         command = \"sh -c 'trap \\\"\\\" TERM INT; echo hello; while :; do sleep 1000; done'\"\n",
    );
    let mut up = project.spawn(&["up"]);
    let _rest = until_line(&mut up, "hello");
    for _ in 0..2 {
        signal(&up, Signal::INT);
        // The next is a signal of its own only once this one has been taken.
        project.ok(&["status", "-q"]);
    }
    assert!(
        up.try_wait().expect("ours").is_none(),
        "a grace of `none` never kills by itself"
    );
    signal(&up, Signal::INT);
    let done = wait(up);
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn the_services_end_with_a_killed_supervisor() {
    let project =
        TestProject::new("[service.web]\ncommand = \"sh -c 'echo hello; exec sleep 1000'\"\n");
    let mut up = project.spawn(&["up"]);
    let rest = until_line(&mut up, "hello");
    let pid = project.pid("web").to_string();
    up.kill().expect("ours");
    up.wait().expect("ends");
    drop(rest);
    // `down` returns only when nothing of the project is left; it was not what ended the service.
    project.ok(&["down"]);
    assert_eq!(project.proc(&["alive", "--pid", &pid]).code, 3);
}

#[test]
fn the_service_that_ends_the_project_gives_its_code() {
    let project = TestProject::new(
        "[service.web]\ncommand = \"sleep 1000\"\n\
         [service.test]\ncommand = \"sh -c 'exit 7'\"\nrestart = { mode = \"never\" }\n",
    );
    let done = wait(project.spawn(&["up", "--exit-with", "test"]));
    assert_eq!(done.code, 7, "{done:?}");
}

#[test]
fn a_procfile_ends_with_its_first_process() {
    let project = TestProject::empty();
    project.write(
        "Procfile",
        "web: sleep 1000\nworker: sh -c 'echo $PORT $PS; exit 5'\n",
    );
    let done = wait(project.spawn(&["up"]));
    assert_eq!(done.code, 5, "{done:?}");
    assert!(done.stdout.contains("5100 worker.1"), "{done:?}");
}

#[test]
fn an_unknown_name_starts_nothing() {
    let project = TestProject::new("[service.web]\ncommand = \"sleep 1000\"\n");
    for args in [
        &["up", "nobody"][..],
        &["up", "-d", "nobody"],
        &["up", "--exit-with", "nobody"],
    ] {
        let done = project.proc(args);
        assert_eq!(done.code, 4, "{args:?}: {done:?}");
    }
}

#[test]
fn output_is_copied_whatever_the_number_of_instances_was_before() {
    let config = |count: u32| {
        format!(
            "[project]\non_exit = \"stop\"\n[service.web]\ninstances = {count}\noneshot = true\n\
             argv = [\"sh\", \"-c\", \"echo from $PROC_INSTANCE of {count}\"]\n"
        )
    };
    let project = TestProject::empty();
    for count in [1, 2, 1] {
        project.write("proc.toml", &config(count));
        let done = wait(project.spawn(&["up", "-q"]));
        assert_eq!(done.code, 0, "{done:?}");
        let mut lines: Vec<_> = done.stdout.lines().collect();
        lines.sort_unstable();
        let expected = match count {
            1 => vec!["web | from 1 of 1"],
            _ => vec!["web-1 | from 1 of 2", "web-2 | from 2 of 2"],
        };
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_project_that_ends_with_its_services_has_the_code_of_the_last() {
    let job = |name: &str, script: &str, needs: &str| {
        let needs = if needs.is_empty() {
            String::new()
        } else {
            format!("needs = {{ {needs} = \"ended\" }}\n")
        };
        format!("[service.{name}]\nscript = \"{script}\"\nrestart = \"never\"\n{needs}")
    };
    for (expected, jobs) in [
        (7, job("a", "exit 7", "")),
        (7, job("a", "exit 3", "") + &job("b", "exit 7", "a")),
        (0, job("a", "exit 3", "") + &job("b", "exit 0", "a")),
        (143, job("a", "kill -TERM $$$$", "")),
    ] {
        let config = format!("[project]\non_exit = \"stop\"\n{jobs}");
        let done = TestProject::new(&config).proc(&["up"]);
        assert_eq!(done.code, expected, "{config}{done:?}");
        let said = match expected {
            143 => "exited: signal 15 after",
            _ => "exited: exit",
        };
        assert!(done.stderr.contains(said), "{done:?}");
        assert!(!done.stderr.contains("exit exit"), "{done:?}");
    }
}

#[test]
fn a_project_with_a_service_that_gave_up_ends_with_code_1() {
    let project = TestProject::new(
        r#"
        [project]
        on_exit = "stop"
        [service.bad]
        script = "exit 3"
        restart = { startup_max = 0 }
        [service.last]
        oneshot = true
        script = "exit 0"
        needs = { bad = "ended" }
        "#,
    );
    let done = project.proc(&["up"]);
    assert_eq!(done.code, 1, "{done:?}");
}
