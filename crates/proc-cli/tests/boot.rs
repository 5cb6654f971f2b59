//! What the supervisor says to the service manager that started it.

mod common;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use common::TestProject;

/// Reads messages until one has this line.
#[track_caller]
fn until(socket: &UnixDatagram, line: &str) {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).expect("it is said in time");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.lines().any(|said| said.starts_with(line)) {
            return;
        }
    }
}

#[test]
fn ready_watchdog_reloading_and_stopping_are_said() {
    let project =
        TestProject::new("[service.web]\ncommand = \"sleep 1000\"\nstart_seconds = \"100ms\"\n");
    let path = project.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a short path");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("not zero");
    let supervisor = project
        .command(&["__supervise", "--boot"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .spawn()
        .expect("it is built");
    until(&socket, "READY=1");
    assert_eq!(project.instance("web")["state"], "running");
    until(&socket, "WATCHDOG=1");
    project.write("proc.toml", "[service.web]\ncommand = \"sleep 1000\"\nstart_seconds = \"100ms\"\n[service.api]\ncommand = \"sleep 1000\"\nstart_seconds = \"100ms\"\n");
    common::signal(&supervisor, rustix::process::Signal::HUP);
    until(&socket, "RELOADING=1");
    until(&socket, "READY=1");
    assert_eq!(project.instance("api")["state"], "running");
    let environment = format!("/proc/{}/environ", project.pid("web"));
    let environment = std::fs::read_to_string(environment).expect("it is ours");
    assert!(
        !environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG"),
        "{environment}"
    );
    project.ok(&["down"]);
    until(&socket, "STOPPING=1");
    assert_eq!(common::wait(supervisor).code, 0);
}
