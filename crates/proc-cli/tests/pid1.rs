//! `proc up` as PID 1 of a container: reaps, forwards, and ends with the project's code.

#![expect(clippy::print_stderr, reason = "a skip is loud")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use common::TestProject;
use proc_core::{Identity, Signal};

/// `proc up` as PID 1 of a new pid namespace with its own /proc; needs root.
fn up_as_pid_1(project: &TestProject, args: &[&str]) -> Option<Command> {
    if !rustix::process::getuid().is_root() {
        eprintln!("SKIPPED: a pid namespace needs root");
        return None;
    }
    let up = project.command(args);
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(up.get_program())
        .args(up.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Some(command)
}

/// The process that is PID 1 inside, by its number outside.
fn pid_1(unshare: &Child) -> u32 {
    let pid = unshare.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children
        .expect("it runs")
        .trim()
        .parse()
        .expect("one child")
}

#[test]
fn up_as_pid_1_reaps_orphans_and_term_is_an_ordered_down() {
    let script = |name: &str| {
        format!(
            "[service.{name}]\nscript = '''trap 'echo {name} ends; exit 0' TERM; echo {name} runs\nwhile :; do sleep 1000 & wait $!; done'''\n"
        )
    };
    let config = format!("{}{}needs = [\"db\"]\n", script("db"), script("web"));
    let project = TestProject::new(&config);
    let Some(mut command) = up_as_pid_1(&project, &["up", "-q"]) else {
        return;
    };
    let mut unshare = command.spawn().expect("unshare starts");
    let mut lines = BufReader::new(unshare.stdout.take().expect("captured")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "db  | db runs");
    assert_eq!(next(), "web | web runs");
    // A thousand orphans whose parents no shim knows, as `docker exec` leaves them: all are adopted by PID 1.
    let init = pid_1(&unshare).to_string();
    let orphans = "i=0; while [ $i -lt 1000 ]; do (true & ); i=$((i+1)); done; \
                   i=0; while [ $i -lt 2000 ]; do cat /proc/[0-9]*/stat 2>/dev/null | grep -q ' Z 1 ' || exit 3; i=$((i+1)); done; exit 4";
    let enter = Command::new("nsenter")
        .args(["--target", &init, "--pid", "--mount", "sh", "-c", orphans])
        .stdin(Stdio::null())
        .status()
        .expect("nsenter starts");
    assert_eq!(enter.code(), Some(3), "a zombie was never reaped");

    let init = Identity::of(pid_1(&unshare)).expect("it runs");
    init.open()
        .expect("it runs")
        .signal(Signal::TERM)
        .expect("as root");
    assert_eq!(next(), "web | web ends", "who needs another one ends first");
    assert_eq!(next(), "db  | db ends");
    let done = unshare.wait_with_output().expect("our own child");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
}

#[test]
fn up_as_pid_1_ends_with_the_projects_code() {
    let project = TestProject::new(
        "[service.job]\ncommand = \"sh -c 'exit 7'\"\nrestart = \"never\"\n[service.web]\ncommand = \"sleep 1000\"\n",
    );
    let Some(mut command) = up_as_pid_1(&project, &["up", "-q", "--exit-with", "job"]) else {
        return;
    };
    let done = command.output().expect("unshare starts");
    assert_eq!(done.status.code(), Some(7), "{done:?}");
}
