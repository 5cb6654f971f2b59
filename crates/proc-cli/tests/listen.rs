//! Sockets that are opened for a service: where they are told, and that they outlive whoever opened them.

mod common;

use std::net::TcpStream;

use common::TestProject;
use serde_json::Value;

const WEB: &str = "[service.web]\ncommand = \"sleep 1000\"\ninstances = 2\nstart_seconds = \"0\"\n\
    listen = [\"web=tcp:127.0.0.1:0\", \"unix:@proc-test-PLACE\"]\n";

fn project() -> TestProject {
    let project = TestProject::empty();
    let unique = project
        .path()
        .file_name()
        .expect("a name")
        .to_string_lossy();
    project.write("proc.toml", &WEB.replace("PLACE", &unique));
    project.ok(&["up", "-d"]);
    project
}

fn sockets(project: &TestProject) -> Value {
    project.instance("web-1")["listen"].clone()
}

#[test]
fn sockets_are_told_in_the_order_of_their_descriptors() {
    let project = project();
    let told = sockets(&project);
    let port = told[0].as_str().expect("an address");
    assert!(port.starts_with("127.0.0.1:"), "{told}");
    assert!(
        told[1].as_str().expect("an address").starts_with('@'),
        "{told}"
    );
    let environment = project.pid("web-2");
    let environment = std::fs::read(format!("/proc/{environment}/environ")).expect("ours");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(
        environment.contains(&format!("PROC_LISTEN_WEB={port}\0")),
        "{environment:?}"
    );
}

#[test]
fn sockets_stay_open_when_the_supervisor_is_killed() {
    let project = project();
    let before = sockets(&project);
    let supervisor = project.status()["supervisor"]["pid"]
        .as_i64()
        .expect("a pid");
    let supervisor = rustix::process::Pid::from_raw(i32::try_from(supervisor).expect("a pid fits"));
    rustix::process::kill_process(supervisor.expect("a pid"), rustix::process::Signal::KILL)
        .expect("ours");
    project.ok(&["is", "web", "running"]);
    assert_eq!(sockets(&project), before);
    // The other instance still has the sockets: opening them again would fail.
    project.ok(&["restart", "web-1"]);
    assert_eq!(sockets(&project), before);
    TcpStream::connect(before[0].as_str().expect("an address")).expect("somebody listens");
}

#[test]
fn a_sockets_path_is_the_services_wherever_the_supervisor_was_started() {
    let project = TestProject::new(
        "[service.web]\ncommand = \"sleep 1000\"\nstart_seconds = \"0\"\nlisten = \"unix:web.sock\"\n",
    );
    let below = project.path().join("below");
    std::fs::create_dir(&below).expect("a directory");
    let up = std::process::Command::new(env!("CARGO_BIN_EXE_proc"))
        .arg("--state-dir")
        .arg(project.state())
        .args(["up", "-d"])
        .current_dir(&below)
        .output()
        .expect("proc runs");
    assert!(up.status.success(), "{up:?}");
    let socket = project.path().join("web.sock");
    std::os::unix::net::UnixStream::connect(&socket).expect("somebody listens");
    project.ok(&["down"]);
    assert!(!socket.exists(), "a socket file goes with its socket");
}
