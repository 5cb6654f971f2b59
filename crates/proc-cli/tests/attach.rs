//! `proc attach`: input and output of a service joined to a pipe and to a terminal.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use common::{TestProject, wait};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

const ECHO: &str = r#"while read -r line; do echo "got $line"; done; echo over; exit 7"#;

fn echoing(stdin: &str) -> TestProject {
    TestProject::new(&format!(
        "[service.echo]\nargv = ['sh', '-c', '''{ECHO}''']\nstdin = '{stdin}'\n\
         restart = {{ mode = 'never' }}\nstart_seconds = '0'\n"
    ))
}

/// Reads until a text has come.
fn until(from: &mut impl Read, text: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let count = from.read(&mut byte).expect("readable");
        assert_ne!(count, 0, "ended with {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn lines_go_in_and_output_comes_out_until_the_service_ends() {
    let project = echoing("pipe");
    project.ok(&["up", "-d"]);
    let mut command = project.command(&["attach", "echo"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut attached = command.spawn().expect("proc starts");
    let mut input = attached.stdin.take().expect("a pipe");
    let mut output = BufReader::new(attached.stdout.take().expect("a pipe"));

    input.write_all("grüße\n".as_bytes()).expect("it reads");
    let mut line = String::new();
    output.read_line(&mut line).expect("readable");
    assert_eq!(line, "got grüße\n");

    project.ok(&["send", "echo", "--close", "last"]);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("readable");
    assert_eq!(rest, "got last\nover\n");
    assert_eq!(wait(attached).code, 7, "the service's own code");
    drop(input);
}

#[test]
fn the_end_of_the_input_detaches_and_the_service_runs_on() {
    let project = echoing("pipe");
    project.ok(&["up", "-d"]);
    let mut command = project.command(&["attach", "echo"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut attached = command.spawn().expect("proc starts");
    let mut input = attached.stdin.take().expect("a pipe");
    input.write_all(b"kept\n").expect("it reads");
    drop(input);
    assert_eq!(wait(attached).code, 0);
    project.ok(&["is", "echo", "running"]);
    let mut logs = project.spawn(&["logs", "-f", "--raw", "echo"]);
    until(logs.stdout.as_mut().expect("a pipe"), "got kept");
    logs.kill().expect("ours");
    wait(logs);
}

/// A terminal of our own, and a `proc` on it.
struct Console {
    keys: File,
    screen: File,
    /// Kept so that the terminal lives on when `proc` has ended.
    line: OwnedFd,
    proc: Child,
}

impl Console {
    fn attach(project: &TestProject) -> Console {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keys).expect("ours");
        unlockpt(&keys).expect("ours");
        let name = ptsname(&keys, Vec::new()).expect("it has a name");
        let name = name.into_string().expect("text");
        let line = File::options().read(true).write(true).open(name);
        let line: OwnedFd = line.expect("the other side").into();
        resize(&keys, 33, 101);
        let side = || Stdio::from(line.try_clone().expect("a descriptor"));
        let mut command = project.command(&["attach", "term"]);
        command.stdin(side()).stdout(side()).stderr(side());
        let proc = command.spawn().expect("proc starts");
        let keys = File::from(keys);
        Console {
            screen: keys.try_clone().expect("a descriptor"),
            keys,
            line,
            proc,
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("a terminal");
    }
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("a terminal");
}

#[test]
fn a_terminal_is_joined_to_a_terminal() {
    let script = r#"trap "echo interrupted" INT; printf "prompt> "
        while :; do if read -r line; then echo "$line: $(stty size)"; fi; done"#;
    let project = TestProject::new(&format!(
        "[service.term]\nargv = ['bash', '-c', '''{script}''']\nstdin = 'pty'\nstart_seconds = '0'\n"
    ));
    project.ok(&["up", "-d"]);
    let mut console = Console::attach(&project);
    until(&mut console.screen, "Ctrl-P Ctrl-Q detaches");
    console.press(b"size\r");
    until(&mut console.screen, "size: 33 101");
    // Raw: Ctrl-C is a key for the service, not a signal for us.
    console.press(b"\x03");
    until(&mut console.screen, "interrupted");
    assert!(!local_modes(&console.line).contains(LocalModes::ICANON));

    console.press(b"\x10\x11");
    let Console { line, mut proc, .. } = console;
    assert_eq!(proc.wait().expect("ours").code(), Some(0));
    assert!(
        local_modes(&line).contains(LocalModes::ICANON | LocalModes::ECHO),
        "the terminal is as it was"
    );
    project.ok(&["is", "term", "running"]);
}

fn local_modes(terminal: &OwnedFd) -> LocalModes {
    tcgetattr(terminal).expect("a terminal").local_modes
}

#[test]
fn what_does_not_run_or_is_not_one_cannot_be_attached_to() {
    let project = TestProject::new(
        "[service.off]\ncommand = 'sleep 1000'\nautostart = false\n\
         [service.two]\ncommand = 'sleep 1000'\ninstances = 2\nstart_seconds = '0'\n",
    );
    assert_eq!(project.proc(&["attach", "two"]).code, 5, "no supervisor");
    project.ok(&["up", "-d"]);
    for (name, code, told) in [
        ("off", 1, "`off` is stopped"),
        ("two", 1, "name one of them"),
        ("none", 4, "none"),
    ] {
        let done = project.proc(&["attach", name]);
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.stderr.contains(told), "{done:?}");
    }
}
