//! The control socket: its mode, its routes, and the bounds on what it takes.

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use common::TestProject;

const WEB: &str = "[service.web]\ncommand = \"sleep 1000\"\nstart_seconds = \"0\"\n";

/// Sends bytes and returns the status line and everything after it.
fn exchange(project: &TestProject, request: &[u8]) -> String {
    let path = project.state().join("run/control.sock");
    let mut stream = UnixStream::connect(path).expect("connects");
    // A server that refuses early need not read all of it.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "Host: proc\r\nConnection: close\r\nContent-Type: application/json";
    format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[test]
fn the_socket_is_private() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let socket = project.state().join("run/control.sock");
    let mode = std::fs::metadata(socket)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn curl_gets_the_same_status() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let answer = exchange(
        &project,
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let status: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(status["services"][0]["name"], "web");
}

#[test]
fn what_goes_beyond_the_bounds_is_a_4xx() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let long_header = format!(
        "GET /v1/status HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let big_body = post("/v1/stop", &" ".repeat((1 << 20) + 1));
    for (request, expected) in [
        (long_header.into_bytes(), "HTTP/1.1 431"),
        (big_body, "HTTP/1.1 413"),
        (b"nonsense\r\n\r\n".to_vec(), "HTTP/1.1 400"),
        (post("/v1/stop", "{"), "HTTP/1.1 400"),
        (post("/v1/stop", "{\"names\":[\"nobody\"]}"), "HTTP/1.1 404"),
        (post("/v1/nonsense", "{}"), "HTTP/1.1 404"),
        (
            b"DELETE /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
            "HTTP/1.1 405",
        ),
    ] {
        let answer = exchange(&project, &request);
        assert!(
            answer.starts_with(expected),
            "expected {expected}: {answer}"
        );
    }
    assert_eq!(
        project.instance("web")["state"],
        "running",
        "nothing of that had an effect"
    );
}

#[test]
fn no_more_than_1024_connections() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let path = project.state().join("run/control.sock");
    let mut held: Vec<UnixStream> = Vec::new();
    let refused = loop {
        let mut stream = UnixStream::connect(&path).expect("connects");
        if held.len() < 1024 {
            held.push(stream);
            continue;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        break answer;
    };
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    drop(held);
    project.ok(&["status"]);
}

#[test]
fn more_instances_than_anybody_can_mean_are_refused() {
    let project = TestProject::new(WEB);
    project.ok(&["up", "-d"]);
    let answer = exchange(
        &project,
        &post("/v1/scale", r#"{"counts":[["web",99999999]]}"#),
    );
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("more than 10000"), "{answer}");
    assert_eq!(project.proc(&["scale", "web=99999999"]).code, 2);
    assert_eq!(project.proc(&["is", "web", "running"]).code, 0);
}
