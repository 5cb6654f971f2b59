//! The supervisor's program is replaced while a web server is asked 20 times a second.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use proc_tests::{Project, bin, free_port, full};

use crate::killer::leader;

/// 20 a second.
const EVERY: Duration = Duration::from_millis(50);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn no_request_fails_and_the_process_is_the_same() {
    let project = Project::new();
    let port = free_port();
    let config = project.write("nginx.conf", nginx(project.dir(), port));
    project.write(
        "proc.toml",
        format!(
            "[service.web]\nargv = [\"nginx\", \"-c\", \"{}\"]\nready = {{ tcp = \"127.0.0.1:{port}\" }}\n\
             stop = {{ signal = \"QUIT\", grace = \"5s\" }}\n",
            config.display()
        ),
    );
    project.ok(&["up", "-d"]);
    let before = leader(&project, "web").expect("it runs");
    let (stop, stopped) = channel();
    let client = std::thread::spawn(move || ask(port, &stopped));
    let other = other_binary(&project);
    for round in 0..if full() { 20 } else { 3 } {
        let old = project.status()["supervisor"]["pid"].clone();
        let binary = if round % 2 == 0 { &other } else { &bin("proc") };
        project.ok(&[
            "daemon",
            "upgrade",
            "--binary",
            &binary.display().to_string(),
        ]);
        assert_ne!(project.status()["supervisor"]["pid"], old);
        assert_eq!(
            leader(&project, "web"),
            Some(before.clone()),
            "the same pid, the same start"
        );
        assert_eq!(project.pid("web"), before.pid.cast_signed());
    }
    stop.send(()).expect("the client waits for it");
    let (asked, failed) = client.join().expect("the client does not panic");
    assert!(asked > 0, "no request was made");
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    let log = project.ok(&["logs", "web", "--raw"]);
    let logged = log
        .lines()
        .filter(|line| line.contains("GET /chaos"))
        .count();
    assert_eq!(logged, asked, "every request is in the log once");
    for (number, event) in project.events().iter().enumerate() {
        assert_eq!(
            event["seq"],
            number as u64 + 1,
            "event numbers have a gap at {event}"
        );
    }
    assert_eq!(project.instance("web")["restarts"], 0);
    project.ok(&["down"]);
}

/// Asks until told to stop; returns how often, and what went wrong.
fn ask(port: u16, stopped: &Receiver<()>) -> (usize, Vec<String>) {
    let (mut asked, mut failed) = (0, Vec::new());
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        asked += 1;
        match get(port) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => {}
            Ok(answer) => failed.push(answer),
            Err(error) => failed.push(error.to_string()),
        }
    }
    (asked, failed)
}

fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /chaos HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn nginx(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {dir}/{name};"))
        .concat();
    format!(
        "daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr;\n\
         events {{}}\nhttp {{ access_log /dev/stdout; {temp}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }} }}\n"
    )
}

/// Puts the same program elsewhere, with its shim beside it.
fn other_binary(project: &Project) -> PathBuf {
    let dir = project.dir().join("other");
    std::fs::create_dir(&dir).expect("the scratch directory is writable");
    for name in ["proc", "proc-shim"] {
        std::fs::copy(bin(name), dir.join(name)).expect("a program can be copied");
    }
    dir.join("proc")
}
