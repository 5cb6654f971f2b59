//! `proc-shim init` as PID 1 of a pid namespace, and as an ordinary parent.

#![expect(clippy::print_stderr, reason = "a skip is loud")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

const INIT: &str = env!("CARGO_BIN_EXE_proc-shim");

fn init(options: &[&str], script: &str) -> Command {
    let mut command = Command::new(INIT);
    command
        .arg("init")
        .args(options)
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::piped());
    command
}

/// `init` as PID 1 of a new pid namespace with its own /proc; needs root.
fn init_as_pid_1(options: &[&str], script: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc", INIT, "init"])
        .args(options)
        .args(["--", "sh", "-c", script]);
    command.stdin(Stdio::piped());
    command
}

fn root() -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        eprintln!("SKIPPED: a pid namespace needs root");
    }
    root
}

/// A started `init` whose command has printed `ready`.
struct Running {
    init: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut init = command.stdout(Stdio::piped()).spawn().expect("init starts");
        let lines = BufReader::new(init.stdout.take().expect("stdout is a pipe"));
        let mut running = Self { init, lines };
        assert_eq!(running.line(), "ready");
        running
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines
            .read_line(&mut line)
            .expect("the pipe can be read");
        line.trim_end().to_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.init.id().cast_signed()).expect("a pid")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("init lives");
    }

    /// Waits until `init` suspended itself, and continues it: a CONT before its STOP would be lost, as in any shell.
    fn resume(&self) {
        waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED).expect("our own child");
        self.signal(Signal::CONT);
    }

    /// Lets a command go on that reads a line.
    fn go(&mut self) {
        let mut stdin = self.init.stdin.take().expect("stdin is a pipe");
        stdin.write_all(b"go\n").expect("the command reads");
    }

    /// Waits for the end and returns the code and what was still printed.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.lines
            .read_to_string(&mut rest)
            .expect("the pipe can be read");
        (self.init.wait().expect("our own child").code(), rest)
    }
}

fn output(mut command: Command) -> Output {
    command.output().expect("init starts")
}

#[test]
fn every_exit_code_and_signal_death_comes_through() {
    for code in (0..=255).step_by(5).chain([1, 2, 126, 127]) {
        assert_eq!(
            output(init(&[], &format!("exit {code}"))).status.code(),
            Some(code)
        );
    }
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139), ("USR1", 138)] {
        assert_eq!(
            output(init(&[], &format!("kill -{signal} $$")))
                .status
                .code(),
            Some(code),
            "{signal}"
        );
    }
}

#[test]
fn a_missing_command_is_127_and_a_directory_126() {
    let run = |program: &str| {
        Command::new(INIT)
            .args(["init", "--", program])
            .output()
            .expect("init starts")
    };
    let missing = run("/no/such/program");
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/program"));
    assert_eq!(run("/tmp").status.code(), Some(126));
    assert_eq!(
        Command::new(INIT)
            .args(["init", "--bogus"])
            .output()
            .expect("init starts")
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn remap_makes_a_code_success() {
    assert_eq!(
        output(init(&["--remap", "143"], "kill -TERM $$"))
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        output(init(&["--remap", "143"], "exit 3")).status.code(),
        Some(3)
    );
}

#[test]
fn each_catchable_signal_reaches_the_command() {
    let names = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("PIPE", Signal::PIPE),
        ("ALRM", Signal::ALARM),
        ("TERM", Signal::TERM),
        ("CONT", Signal::CONT),
        ("TSTP", Signal::TSTP),
        ("TTIN", Signal::TTIN),
        ("TTOU", Signal::TTOU),
        ("URG", Signal::URG),
        ("XCPU", Signal::XCPU),
        ("XFSZ", Signal::XFSZ),
        ("VTALRM", Signal::VTALARM),
        ("PROF", Signal::PROF),
        ("WINCH", Signal::WINCH),
        ("IO", Signal::IO),
        ("SYS", Signal::SYS),
        ("PWR", Signal::POWER),
        ("ABRT", Signal::ABORT),
        ("TRAP", Signal::TRAP),
        ("BUS", Signal::BUS),
        ("FPE", Signal::FPE),
    ];
    for (name, signal) in names {
        // The wait is interrupted by the trap; the fifo is never written.
        let script = format!(
            "trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 1000 & wait $!; done"
        );
        let mut running = Running::start(init(&[], &script));
        running.signal(signal);
        assert_eq!(running.line(), format!("got {name}"));
        if matches!(name, "TSTP" | "TTIN" | "TTOU") {
            running.resume();
        }
        assert_eq!(running.end().0, Some(9), "{name}");
    }
}

#[test]
fn rewrite_changes_a_signal_and_0_drops_it() {
    let script = "trap 'echo int; exit 5' INT; trap 'echo hup; exit 6' HUP; echo ready; while :; do sleep 1000 & wait $!; done";
    let running = Running::start(init(
        &["--rewrite", "HUP:0", "--rewrite", "TERM:INT"],
        script,
    ));
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    assert_eq!(running.end(), (Some(5), "int\n".into()));
}

#[test]
fn what_is_left_behind_gets_term_and_its_time() {
    let script = "sh -c 'trap \"echo cleaned; exit\" TERM; echo ready; while :; do sleep 1000 & wait $!; done' & read -r _; exit 4";
    let mut running = Running::start(init(&[], script));
    running.go();
    let (code, rest) = running.end();
    assert_eq!(code, Some(4));
    assert!(rest.contains("cleaned"), "{rest:?}");
}

#[test]
fn what_ignores_term_is_killed_after_the_grace() {
    let script =
        "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 1000; done' & read -r _; exit 4";
    let mut running = Running::start(init(&["--grace", "50ms"], script));
    running.go();
    // The pipe ends only when nobody holds it any more.
    assert_eq!(running.end().0, Some(4));
}

#[test]
fn a_zombie_that_another_one_does_not_reap_holds_nothing_up() {
    // The zombie is in the command's group; its parent is a `sleep`, in a session of its own.
    let script =
        "{ true & exec setsid sh -c 'echo ready; echo $$; exec sleep 1000'; } & read -r _; exit 4";
    let mut running = Running::start(init(&["--grace", "none"], script));
    let parent = Pid::from_raw(running.line().parse().expect("a pid")).expect("a pid");
    running.go();
    let code = end_in_time(&mut running.init);
    kill_process(parent, Signal::KILL).expect("the one that does not reap lives");
    assert_eq!(code, Some(4));
}

/// Waits for a child's end, and kills one that does not end.
fn end_in_time(child: &mut Child) -> Option<i32> {
    let handle = proc_core::Identity::of(child.id())
        .expect("it was not reaped")
        .open()
        .expect("it was not reaped");
    let ended = handle.wait(Some(std::time::Duration::from_secs(20)));
    if !ended.expect("a pidfd can be waited for") {
        child.kill().expect("our own child");
    }
    child.wait().expect("our own child").code()
}

#[test]
fn single_signals_nothing_when_the_command_ends() {
    let script = "sh -c 'echo $$; exec sleep 1000' & exit 0";
    let mut command = init(&["--single"], script);
    let mut started = command.stdout(Stdio::piped()).spawn().expect("init starts");
    let mut line = String::new();
    let mut lines = BufReader::new(started.stdout.take().expect("stdout is a pipe"));
    lines.read_line(&mut line).expect("the pipe can be read");
    assert!(started.wait().expect("our own child").success());
    let left = Pid::from_raw(line.trim().parse().expect("a pid")).expect("a pid");
    kill_process(left, Signal::KILL).expect("the background child was left alone");
}

#[test]
fn as_pid_1_ten_thousand_orphans_leave_no_zombie() {
    if !root() {
        return;
    }
    // Each orphan is born by a parent that ends first; the command then counts the zombies.
    let script = "i=0; while [ $i -lt 10000 ]; do (true & ); i=$((i+1)); done; echo ready; \
                  i=0; while [ $i -lt 2000 ]; do cat /proc/[0-9]*/stat 2>/dev/null | grep -q ' Z 1 ' || exit 3; i=$((i+1)); done; exit 4";
    assert_eq!(
        Running::start(init_as_pid_1(&[], script)).end().0,
        Some(3),
        "a zombie of ours was never reaped"
    );
}

#[test]
fn as_pid_1_the_rest_of_the_namespace_ends_too() {
    if !root() {
        return;
    }
    let script = "setsid sh -c 'trap \"echo bye; exit\" TERM; echo ready; while :; do sleep 1000 & wait $!; done' & \
                  read -r _; exit 7";
    let mut running = Running::start(init_as_pid_1(&[], script));
    running.go();
    assert_eq!(
        running.end(),
        (Some(7), "bye\n".into()),
        "a session of its own does not escape"
    );
}

#[test]
fn verbose_names_the_orphans_and_warns_without_a_way_to_reap() {
    let warned = output(init(&["-v"], "true"));
    assert!(
        String::from_utf8_lossy(&warned.stderr).contains("subreaper"),
        "{warned:?}"
    );
    let reaped = output(init(&["-v", "--subreaper"], "(sh -c 'exit 5' &)"));
    let stderr = String::from_utf8_lossy(&reaped.stderr).into_owned();
    assert!(stderr.contains("reaped orphan"), "{stderr}");
}

#[test]
fn the_controlling_terminal_is_handed_to_the_command() {
    for options in [&[][..], &["--single"]] {
        let (master, slave) = terminal();
        // The command sees itself as the terminal's foreground group, and Ctrl-C reaches it, not init.
        let script = "trap 'echo got int; exit 5' INT; set -- $(cat /proc/$$/stat); [ $5 = $8 ] && echo ready; read -r _; exit 6";
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait", INIT, "init"])
            .args(options)
            .args(["--", "sh", "-c", script]);
        let stdio = || Stdio::from(slave.try_clone().expect("a descriptor can be copied"));
        let mut session = command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("setsid starts");
        drop((command, slave));
        let mut screen = BufReader::new(std::fs::File::from(master));
        read_until(&mut screen, "ready");
        rustix::io::write(screen.get_ref(), b"\x03").expect("the terminal takes a key");
        read_until(&mut screen, "got int");
        assert_eq!(
            session.wait().expect("our own child").code(),
            Some(5),
            "{options:?}"
        );
    }
}

/// Opens a pseudo-terminal: our side, and the command's.
fn terminal() -> (std::os::fd::OwnedFd, std::os::fd::OwnedFd) {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .expect("a terminal can be made");
    grantpt(&master).expect("our own terminal");
    unlockpt(&master).expect("our own terminal");
    let name = ptsname(&master, Vec::new()).expect("a terminal has a name");
    let slave = open(
        name,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .expect("the other side opens");
    (master, slave)
}

fn read_until(screen: &mut BufReader<std::fs::File>, wanted: &str) {
    let mut line = String::new();
    while !line.contains(wanted) {
        line.clear();
        assert_ne!(
            screen
                .read_line(&mut line)
                .expect("the terminal can be read"),
            0,
            "the terminal closed before `{wanted}`"
        );
    }
}
