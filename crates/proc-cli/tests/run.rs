//! `proc run`: exit codes, timeouts, restarts, streams, and the tree that never stays behind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command, Output, Stdio};

use proc_core::{Identity, ProcessHandle, Signal};
use rustix::event::{PollFd, PollFlags};

/// What `--grace` is unless given.
const DEFAULT_GRACE: std::time::Duration = std::time::Duration::from_secs(5);

fn proc_run(options: &[&str], command: &[&str]) -> Command {
    let mut run = Command::new(env!("CARGO_BIN_EXE_proc"));
    run.arg("run")
        .args(options)
        .arg("--")
        .args(command)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    run
}

fn output(options: &[&str], command: &[&str]) -> Output {
    proc_run(options, command).output().expect("proc starts")
}

fn code(options: &[&str], command: &[&str]) -> Option<i32> {
    output(options, command).status.code()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Starts a run and reads the first line of its output.
fn started(
    options: &[&str],
    script: &str,
) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let mut run = proc_run(options, &["sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("proc starts");
    let mut lines = BufReader::new(run.stdout.take().expect("stdout is a pipe"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("the pipe can be read");
    (run, lines, line.trim().to_owned())
}

fn signal(run: &Child, signal: Signal) {
    let run = Identity::of(run.id()).expect("it runs");
    run.open()
        .expect("it runs")
        .signal(signal)
        .expect("our own child");
}

/// Waits until nobody holds the pipe: the whole tree is gone then.
fn until_closed(mut lines: BufReader<std::process::ChildStdout>) -> String {
    let mut rest = String::new();
    lines
        .read_to_string(&mut rest)
        .expect("the pipe can be read");
    rest
}

#[test]
fn the_commands_own_code_or_128_plus_its_signal() {
    for wanted in [0, 1, 7, 124, 255] {
        assert_eq!(
            code(&[], &["sh", "-c", &format!("exit {wanted}")]),
            Some(wanted)
        );
    }
    assert_eq!(code(&[], &["sh", "-c", "kill -KILL $$"]), Some(137));
    assert_eq!(code(&[], &["sh", "-c", "kill -USR1 $$"]), Some(138));
}

#[test]
fn what_never_ran_says_why() {
    for (options, command, wanted, names) in [
        (&[][..], "/no/such/program", 127, "/no/such/program"),
        (&[], "/tmp", 126, "/tmp"),
        (&["--user", "no-such-user"], "true", 125, "no-such-user"),
        (&["--cwd", "/no/such/dir"], "true", 125, "/no/such/dir"),
        (&["--limit", "bogus=1"], "true", 2, "bogus"),
        (&["--timeout", "-1"], "true", 2, "-1"),
        (&["--env-file", "/no/such/file"], "true", 2, "/no/such/file"),
        (&["--listen", "tcp:nowhere"], "true", 2, "nowhere"),
    ] {
        let out = output(options, &[command]);
        let stderr = text(&out.stderr);
        assert_eq!(out.status.code(), Some(wanted), "{options:?}: {stderr}");
        assert!(
            stderr.contains("error:") && stderr.contains(names),
            "{options:?}: {stderr}"
        );
    }
}

#[test]
fn restarts_are_counted_as_asked() {
    let runs = |options: &[&str]| {
        let out = output(options, &["sh", "-c", "echo run; exit 4"]);
        (out.status.code(), text(&out.stdout).lines().count())
    };
    assert_eq!(runs(&[]), (Some(4), 1));
    let fast = ["--delay", "10ms", "--no-jitter", "--max-delay", "20ms"];
    assert_eq!(
        runs(
            &[
                &["--restart", "on-failure", "--max-restarts", "6"],
                &fast[..]
            ]
            .concat()
        ),
        (Some(4), 7)
    );
    assert_eq!(runs(&[&["--retry", "2"], &fast[..]].concat()), (Some(4), 3));
}

#[test]
fn streams_are_the_callers_own() {
    let mut cat = proc_run(&[], &["cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("proc starts");
    let mut stdin = cat.stdin.take().expect("stdin is a pipe");
    stdin.write_all(b"through\0\xff").expect("cat reads");
    drop(stdin);
    assert_eq!(
        cat.wait_with_output().expect("our own child").stdout,
        b"through\0\xff"
    );
    let out = output(&[], &["sh", "-c", "echo one; echo two >&2"]);
    assert_eq!(
        (text(&out.stdout), text(&out.stderr)),
        ("one\n".into(), "two\n".into())
    );
}

#[test]
fn output_appends_and_prefix_names_each_line() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let file = dir.path().join("out");
    std::fs::write(&file, "before\n").expect("writable");
    let path = file.to_str().expect("a plain path");
    assert_eq!(
        code(&["--output", path], &["sh", "-c", "echo one; echo two >&2"]),
        Some(0)
    );
    assert_eq!(
        std::fs::read_to_string(&file).expect("readable"),
        "before\none\ntwo\n"
    );
    let out = output(
        &["--prefix", "--name", "job"],
        &["sh", "-c", "echo one; printf two"],
    );
    assert_eq!(text(&out.stdout), "job | one\njob | two\n");
}

#[test]
fn the_environment_is_what_the_flags_say() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let file = dir.path().join("env");
    std::fs::write(&file, "A=file\nB=file\n").expect("writable");
    let path = file.to_str().expect("a plain path");
    let mut run = proc_run(
        &["--env-file", path, "--env", "B=flag$HOME", "--clear-env"],
        &["env"],
    );
    let out = run
        .env("SECRET", "x")
        .env("NOTIFY_SOCKET", "/x")
        .output()
        .expect("proc starts");
    let lines = text(&out.stdout);
    assert!(
        lines.contains("A=file\n") && lines.contains("B=flag$HOME\n"),
        "{lines}"
    );
    assert!(
        !lines.contains("SECRET") && !lines.contains("NOTIFY_SOCKET"),
        "{lines}"
    );
}

#[test]
fn the_whole_tree_ends_with_the_command() {
    // The grandchild has a session of its own and ignores TERM.
    let script =
        "setsid sh -c 'trap \"\" TERM; echo up; sleep 1000; sleep 1000' & read -r _; exit 0";
    let mut run = proc_run(&["--grace", "100ms"], &["sh", "-c", script]);
    let mut run = run
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("proc starts");
    let mut lines = BufReader::new(run.stdout.take().expect("stdout is a pipe"));
    lines
        .read_line(&mut String::new())
        .expect("the pipe can be read");
    run.stdin
        .take()
        .expect("stdin is a pipe")
        .write_all(b"go\n")
        .expect("the command reads");
    until_closed(lines);
    assert_eq!(run.wait().expect("our own child").code(), Some(0));
}

#[test]
fn killed_with_9_it_takes_its_tree_along() {
    let (mut run, lines, line) = started(
        &["--grace", "100ms"],
        "setsid sleep 1000 & echo up; sleep 1000",
    );
    assert_eq!(line, "up");
    signal(&run, Signal::KILL);
    until_closed(lines);
    assert!(!run.wait().expect("our own child").success());
}

#[test]
fn killed_with_9_it_has_its_tree_stopped_as_asked() {
    // Ended by KILL, which the default grace would bring after the test has given up on it.
    let deaf = "trap '' TERM; echo up; while :; do sleep 1000; done";
    let (mut run, lines, _) = started(&["--grace", "100ms"], deaf);
    let begun = std::time::Instant::now();
    signal(&run, Signal::KILL);
    until_closed(lines);
    assert!(begun.elapsed() < DEFAULT_GRACE, "{:?}", begun.elapsed());
    run.wait().expect("our own child");

    // A shell acts on a signal when the program in front has ended: none that it started after it lasts.
    let script = "trap 'echo int; exit' INT; trap 'echo term; exit' TERM; echo up; while :; do sleep 0.1; done";
    let (mut run, lines, _) = started(&["--signal", "INT"], script);
    signal(&run, Signal::KILL);
    assert_eq!(until_closed(lines), "int\n");
    run.wait().expect("our own child");
}

#[test]
fn what_may_outlive_the_command_outlives_its_stop() {
    // Holds the pipe, in a session of its own, until it is told to go.
    let script = "setsid sh -c 'trap \"echo told; exit\" USR1; echo $$; while :; do sleep 0.1; done' & exec sleep 1000";
    for (options, by_hand, wanted) in [
        (&["--timeout", "600ms"][..], false, 124),
        (&[], true, 143),
        (&["--grace", "0"], true, 137),
    ] {
        let options = [&["--detach-allowed"], options].concat();
        let (mut run, lines, pid) = started(&options, script);
        if by_hand {
            signal(&run, Signal::TERM);
        }
        assert_eq!(
            run.wait().expect("ours").code(),
            Some(wanted),
            "{options:?}"
        );
        let left = Identity::of(pid.parse().expect("a pid")).expect("it outlived the run");
        left.open()
            .expect("it outlived the run")
            .signal(Signal::USR1)
            .expect("ours");
        assert_eq!(until_closed(lines), "told\n", "{options:?}");
    }
}

#[test]
fn a_command_that_a_hook_keeps_from_running_never_ran() {
    for (options, wanted, names) in [
        (&["--hook", "pre_start=exit 3"][..], 125, "pre_start hook"),
        (
            &["--hook", "pre_start=sleep 1000", "--timeout", "100ms"],
            124,
            "timed out before",
        ),
    ] {
        let out = output(options, &["echo", "ran"]);
        assert_eq!(out.status.code(), Some(wanted), "{options:?}: {out:?}");
        assert!(text(&out.stderr).contains(names), "{options:?}: {out:?}");
        assert_eq!(text(&out.stdout), "", "{options:?}");
    }
}

#[test]
fn without_descriptors_it_never_ran() {
    let run = "ulimit -n 8; exec \"$0\" run -- true";
    let out = Command::new("sh")
        .args(["-c", run, env!("CARGO_BIN_EXE_proc")])
        .output()
        .expect("sh starts");
    assert_eq!(out.status.code(), Some(125), "{out:?}");
    assert!(text(&out.stderr).contains("open files"), "{out:?}");
}

#[test]
fn a_line_of_the_output_makes_it_ready() {
    // It ends when it is ready: a run that never is would be stopped by its timeout.
    let script = "echo up; printf odd >&2; read -r _";
    let options = ["--json", "--ready-log", "^up$", "--timeout", "60s"];
    let mut run = proc_run(&options, &["sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("proc starts");
    let mut events = BufReader::new(run.stderr.take().expect("stderr is a pipe")).lines();
    let ready = events.find(|line| {
        let line = line.as_deref().expect("the pipe can be read");
        line.contains("\"ready\":true")
    });
    assert!(ready.is_some(), "never ready");
    drop(run.stdin.take());
    let rest: Vec<String> = events.map_while(Result::ok).collect();
    let done = run.wait_with_output().expect("ours");
    assert_eq!(text(&done.stdout), "up\n", "{rest:?}");
    assert_eq!(done.status.code(), Some(1), "{rest:?}");
    let both = ["--ready-log", "up", "--output", "/dev/null"];
    assert_eq!(code(&both, &["true"]), Some(2));
}

#[test]
fn the_pid_file_is_there_while_the_command_runs() {
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("pid");
    let path = file.to_str().expect("a plain path");
    // Of no process: pids are not that high.
    std::fs::write(&file, "999999999\n").expect("write");
    let script = "until test -s \"$0\"; do :; done; cat \"$0\"; echo $$";
    let out = output(&["--pid-file", path], &["sh", "-c", script, path]);
    let stdout = text(&out.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0] == lines[1], "{out:?}");
    assert!(!file.exists(), "it stays behind");
}

#[test]
fn a_pid_file_that_cannot_be_written_is_refused_before_anything_runs() {
    let dir = tempfile::tempdir().expect("temp dir");
    for place in [dir.path().join("missing/pid"), dir.path().to_owned()] {
        let path = place.to_str().expect("a plain path");
        let out = output(&["--pid-file", path], &["echo", "ran"]);
        assert_eq!(out.status.code(), Some(125), "{out:?}");
        assert!(text(&out.stderr).contains(path), "{out:?}");
        assert_eq!(text(&out.stdout), "");
    }
}

/// Waits until a process has ended.
fn until_ended(process: &ProcessHandle) {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    rustix::event::poll(&mut fds, None).expect("a pidfd can be polled");
}

#[test]
fn killed_with_9_it_leaves_no_shim_and_no_directory() {
    for options in [&["--detach-allowed"][..], &[]] {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut run = proc_run(options, &["sh", "-c", "echo $PPID; read -r _"])
            .env("TMPDIR", dir.path())
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("proc starts");
        let mut shim = String::new();
        let mut lines = BufReader::new(run.stdout.take().expect("stdout is a pipe"));
        lines.read_line(&mut shim).expect("the pipe can be read");
        let shim = ProcessHandle::of(shim.trim().parse().expect("a pid")).expect("it runs");
        let stdin = run.stdin.take();
        signal(&run, Signal::KILL);
        run.wait().expect("our own child");
        drop(stdin);
        until_ended(&shim);
        let left: Vec<_> = std::fs::read_dir(dir.path()).expect("readable").collect();
        assert!(left.is_empty(), "{options:?}: {left:?}");
    }
}

#[test]
fn signals_reach_the_command_and_end_it_by_its_own_code() {
    let script = "trap 'echo usr1' USR1; trap 'exit 9' TERM; echo up; while :; do sleep 1000 & wait $!; done";
    let (mut run, mut lines, _) = started(&["--grace", "5s"], script);
    signal(&run, Signal::USR1);
    let mut line = String::new();
    lines.read_line(&mut line).expect("the pipe can be read");
    assert_eq!(line, "usr1\n");
    signal(&run, Signal::TERM);
    until_closed(lines);
    assert_eq!(run.wait().expect("our own child").code(), Some(9));
}

#[test]
fn an_unknown_flag_is_no_command() {
    for verb in ["run", "init"] {
        let done = Command::new(env!("CARGO_BIN_EXE_proc"))
            .args([verb, "--timeot", "5", "--", "true"])
            .output()
            .expect("proc starts");
        assert_eq!(done.status.code(), Some(2), "{done:?}");
        assert!(text(&done.stderr).contains("--timeot"), "{done:?}");
    }
    // Behind the command everything is the command's.
    let done = Command::new(env!("CARGO_BIN_EXE_proc"))
        .args(["run", "echo", "--timeout", "-1"])
        .output()
        .expect("proc starts");
    assert_eq!(text(&done.stdout), "--timeout -1\n", "{done:?}");
}

#[test]
fn bytes_that_are_no_text_reach_the_command() {
    let odd = std::ffi::OsStr::from_bytes(b"a\xff$x");
    let done = proc_run(&[], &["sh", "-c", "printf %s \"$0$V\""])
        .arg(odd)
        .env("V", odd)
        .output()
        .expect("proc starts");
    assert_eq!(done.stdout, b"a\xff$xa\xff$x", "{done:?}");
}

#[test]
fn a_wrong_environment_file_is_named_with_its_line() {
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("odd.env");
    std::fs::write(&file, "A=1\nB=\"x\n").expect("write");
    let done = output(&["--env-file", &file.to_string_lossy()], &["true"]);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    let place = format!("{}:2:3: unterminated", file.display());
    assert!(text(&done.stderr).contains(&place), "{done:?}");
}

#[test]
fn prefixed_output_that_nobody_reads_ends_the_command() {
    let (mut run, lines, first) = started(&["--prefix"], "while echo line; do :; done");
    assert_eq!(first, "sh | line");
    drop(lines);
    assert_eq!(run.wait().expect("ours").code(), Some(128 + 13));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    for flag in ["--prefix", "--timestamps"] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let out = proc_run(&[flag], &["echo", "hi"])
            .stdout(full.expect("/dev/full"))
            .output()
            .expect("proc starts");
        assert_eq!(out.status.code(), Some(1), "{flag}: {out:?}");
        let stderr = text(&out.stderr);
        assert!(
            stderr.contains("cannot write the output"),
            "{flag}: {out:?}"
        );
    }
}

#[test]
fn a_caller_that_ignores_sigchld_changes_nothing() {
    let dir = tempfile::tempdir().expect("temp dir");
    let script = dir.path().join("script");
    std::fs::write(&script, "exit 6\n").expect("write");
    let done = Command::new("env")
        .args(["--ignore-signal=CHLD", env!("CARGO_BIN_EXE_proc"), "script"])
        .arg(&script)
        .output()
        .expect("env starts");
    assert_eq!(done.status.code(), Some(6), "{done:?}");
}
