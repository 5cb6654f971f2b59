//! `proc run --timeout` beside timeout(1), in every case that its manual names.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

/// A program that ignores TERM; the time must be long enough for it to get that far.
const STUBBORN: &str = "trap '' TERM; while :; do sleep 1000; done";
/// One that ends with 3 when told to.
const OBEDIENT: &str = "trap 'exit 3' TERM; while :; do sleep 1000 & wait $!; done";
const TRAP_TIME: &str = "2";

/// The code as a shell sees it: timeout(1) dies of the signal that its command died of.
fn code(program: &str, args: &[&str]) -> Option<i32> {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = command.status().expect("it starts");
    status.code().or(status.signal().map(|number| 128 + number))
}

fn proc_run(options: &[&str], command: &[&str]) -> Option<i32> {
    let args = [&["run"], options, &["--"], command].concat();
    code(env!("CARGO_BIN_EXE_proc"), &args)
}

/// A case: the options of timeout(1), the duration, ours beside `--timeout`, the command, the code.
type Case = (
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    i32,
);

const SLEEP: &[&str] = &["sleep", "1000"];

/// What both do.
const BOTH: &[Case] = &[
    // It takes too long.
    (&[], "0.1", &[], SLEEP, 124),
    (&[], "0.1s", &[], SLEEP, 124),
    (&[], "0.001m", &[], SLEEP, 124),
    (&[], "0.00002h", &[], SLEEP, 124),
    (&[], "0.000001d", &[], SLEEP, 124),
    (&[], ".1", &[], SLEEP, 124),
    (&[], "0.000000001", &[], SLEEP, 124),
    (&["-s", "INT"], "0.1", &["--signal", "INT"], SLEEP, 124),
    (
        &["-s", "SIGHUP"],
        "0.1",
        &["--signal", "SIGHUP"],
        SLEEP,
        124,
    ),
    (&["-s", "2"], "0.1", &["--signal", "2"], SLEEP, 124),
    // KILL is told by its own code.
    (&["-s", "KILL"], "0.1", &["--signal", "KILL"], SLEEP, 137),
    (
        &["-k", "0.1"],
        TRAP_TIME,
        &["--grace", "0.1"],
        &["sh", "-c", STUBBORN],
        137,
    ),
    // One that obeys within the grace is not killed.
    (&["-k", "60"], "0.1", &["--grace", "60"], SLEEP, 124),
    // The command's own code, when asked for.
    (
        &["--preserve-status"],
        "0.1",
        &["--preserve-status"],
        SLEEP,
        143,
    ),
    (
        &["--preserve-status"],
        TRAP_TIME,
        &["--preserve-status"],
        &["sh", "-c", OBEDIENT],
        3,
    ),
    (&[], TRAP_TIME, &[], &["sh", "-c", OBEDIENT], 124),
    (
        &["--preserve-status", "-s", "KILL"],
        "0.1",
        &["--preserve-status", "--signal", "KILL"],
        SLEEP,
        137,
    ),
    // A stopped command is continued, so that it can end.
    (
        &[],
        TRAP_TIME,
        &[],
        &["sh", "-c", "kill -STOP $$; sleep 1000"],
        124,
    ),
    // Signal 0 sends nothing; that time was up is told all the same.
    (
        &["-s", "0"],
        "0.1",
        &["--signal", "0"],
        &["sleep", "1"],
        124,
    ),
    // In time.
    (&[], "60", &[], &["true"], 0),
    (&[], "60", &[], &["sh", "-c", "exit 7"], 7),
    (&[], "60", &[], &["sh", "-c", "exit 124"], 124),
    (&[], "60", &[], &["sh", "-c", "kill -USR1 $$"], 138),
    // No limit, and limits beyond any clock.
    (&[], "0", &[], &["sh", "-c", "exit 5"], 5),
    (&[], "0.0", &[], &["sh", "-c", "exit 5"], 5),
    (&[], "0s", &[], &["sh", "-c", "exit 5"], 5),
    (&[], "infinity", &[], &["sh", "-c", "exit 5"], 5),
    (
        &[],
        "99999999999999999999d",
        &[],
        &["sh", "-c", "exit 5"],
        5,
    ),
    (&[], "1e300", &[], &["sh", "-c", "exit 5"], 5),
    // It never ran.
    (&[], "60", &[], &["/no/such/program"], 127),
    (&[], "60", &[], &["no-such-program-on-path"], 127),
    (&[], "60", &[], &["/etc/passwd"], 126),
    (&[], "60", &[], &["/tmp"], 126),
    // In the caller's group.
    (&["--foreground"], "0.1", &["--foreground"], SLEEP, 124),
    (
        &["--foreground"],
        "60",
        &["--foreground"],
        &["sh", "-c", "exit 9"],
        9,
    ),
];

#[test]
fn as_timeout_in_every_documented_case() {
    let verdicts: Vec<Option<String>> = std::thread::scope(|scope| {
        let run = |case: &'static Case| {
            let (theirs, time, ours, command, wanted) = *case;
            let reference = code("timeout", &[theirs, &[time], command].concat());
            let options = [&["--timeout", time], ours].concat();
            let answer = proc_run(&options, command);
            let is_right = answer == Some(wanted) && reference == Some(wanted);
            (!is_right).then(|| format!("{case:?}: proc {answer:?}, timeout {reference:?}"))
        };
        let threads: Vec<_> = BOTH
            .iter()
            .map(|case| scope.spawn(move || run(case)))
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        joined.collect()
    });
    let wrong: Vec<String> = verdicts.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// timeout(1) says 125 to what our contract calls a usage error.
#[test]
fn what_is_no_duration_or_signal_is_code_2() {
    for time in ["-1", "-0.5s", "NaN", "1x", "", "1 2", "--"] {
        assert_eq!(
            proc_run(&[&format!("--timeout={time}")], &["true"]),
            Some(2),
            "{time:?}"
        );
    }
    assert_eq!(proc_run(&["--signal", "NOSUCH"], &["true"]), Some(2));
    assert_eq!(proc_run(&["--timeout", "none"], &["true"]), Some(0));
}

/// Whatever the caller blocks or ignores: the time is kept, and the command starts with default
/// dispositions and an empty mask.
#[test]
fn signals_blocked_or_ignored_by_the_caller_change_nothing() {
    let look = "grep -E 'Sig(Blk|Ign)' /proc/self/status; exec sleep 1000";
    let check = |how: &str, signal: &str| {
        let out = Command::new("env")
            .arg(format!("--{how}-signal={signal}"))
            .args([
                env!("CARGO_BIN_EXE_proc"),
                "run",
                "--timeout",
                TRAP_TIME,
                "--",
            ])
            .args(["sh", "-c", look])
            .stdin(Stdio::null())
            .output()
            .expect("env is there");
        let masks = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(out.status.code(), Some(124), "{how} {signal}: {masks}");
        assert_eq!(masks.lines().count(), 2, "{masks}");
        for line in masks.lines() {
            assert!(
                line.ends_with("0000000000000000"),
                "{how} {signal}: {masks}"
            );
        }
    };
    std::thread::scope(|scope| {
        for signal in ["CHLD", "TERM", "CHLD,TERM,INT,HUP,CONT,ALRM"] {
            for how in ["block", "ignore"] {
                scope.spawn(move || check(how, signal));
            }
        }
    });
}
