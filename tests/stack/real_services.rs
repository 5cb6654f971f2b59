//! Redis, PostgreSQL and nginx under `up -d`: ready in order, back after a kill, down in reverse.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use proc_tests::{Events, Project, alive, free_port, is_root, postgres_bin, root};

/// The example stack with private data and free ports.
struct Stack {
    project: Project,
    postgres_bin: PathBuf,
    redis: u16,
    postgres: u16,
    http: u16,
}

impl Stack {
    fn prepare() -> Self {
        let mut project = Project::new();
        let postgres_bin = postgres_bin();
        let (redis, postgres, http) = (free_port(), free_port(), free_port());
        let data = project.dir().join("data");
        project
            .env("REDIS_PORT", redis)
            .env("POSTGRES_PORT", postgres)
            .env("HTTP_PORT", http);
        project
            .env("POSTGRES_BIN", postgres_bin.display())
            .env("STACK_DATA", data.display());
        let example = root().join("examples/stack");
        let mut prepare = Command::new(example.join("prepare.sh"));
        prepare
            .env("HTTP_PORT", http.to_string())
            .env("POSTGRES_BIN", &postgres_bin)
            .env("STACK_DATA", &data);
        assert!(
            prepare.status().expect("sh is there").success(),
            "the data directories were made"
        );
        project.file(example.join("proc.toml"));
        if is_root() {
            project.file(example.join("root.toml"));
        }
        Self {
            project,
            postgres_bin,
            redis,
            postgres,
            http,
        }
    }

    fn assert_answers(&self) {
        assert_eq!(ask(self.redis, b"PING\r\n", 7), "+PONG\r\n");
        let page = ask(self.http, b"GET / HTTP/1.0\r\n\r\n", 4096);
        assert!(
            page.starts_with("HTTP/1.1 200") && page.contains("the stack answers"),
            "{page}"
        );
        let mut ready = Command::new(self.postgres_bin.join("pg_isready"));
        let ready = ready
            .args(["-q", "-h", "127.0.0.1", "-p"])
            .arg(self.postgres.to_string())
            .status();
        assert!(
            ready.expect("pg_isready is there").success(),
            "PostgreSQL accepts connections"
        );
    }
}

/// Sends a request and reads the answer up to `limit` bytes or the end.
fn ask(port: u16, request: &[u8], limit: u64) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("the service listens");
    socket.write_all(request).expect("the service reads");
    let mut answer = String::new();
    socket
        .take(limit)
        .read_to_string(&mut answer)
        .expect("the service answers");
    answer
}

#[test]
fn the_stack_runs_recovers_and_ends_in_order() {
    let stack = Stack::prepare();
    let project = &stack.project;
    project.ok(&["up", "-d"]);
    stack.assert_answers();
    let pids = ["redis", "postgres", "nginx"].map(|name| project.pid(name));

    kill_and_wait_for_recovery(project);
    stack.assert_answers();
    for (name, line) in [
        ("redis", "Ready to accept connections"),
        ("postgres", "ready to accept connections"),
        ("nginx", "GET / HTTP/1.0"),
    ] {
        let logs = project.ok(&["logs", name]);
        assert!(
            logs.contains(line),
            "the log of {name} lacks `{line}`:\n{logs}"
        );
    }

    let redis = project.pid("redis");
    project.ok(&["down"]);
    assert_reverse_order(project);
    let log = project.ok(&["logs", "postgres"]);
    assert!(
        log.contains("database system is shut down"),
        "PostgreSQL shut down cleanly:\n{log}"
    );
    for pid in pids.into_iter().chain([redis]) {
        assert!(!alive(pid), "{pid} outlived `down`");
    }
}

/// Kills Redis with -9 and waits until the supervisor has it back.
fn kill_and_wait_for_recovery(project: &Project) {
    let old = project.pid("redis");
    let identity = project.ok(&["identity", &old.to_string()]);
    let seen = project.last_seq();
    project.ok(&[
        "kill",
        "--single",
        "--signal",
        "KILL",
        "--identity",
        identity.trim(),
    ]);
    let back = Events::after(project, seen)
        .find(|event| event["service"] == "redis" && event["to"] == "running");
    assert!(
        back.is_some(),
        "the event stream ended before redis was back"
    );
    project.ok(&["wait", "redis", "--for", "ready", "--timeout", "30s"]);
    let redis = project.instance("redis");
    assert_ne!(redis["pid"], old, "{redis:#}");
    assert_eq!(redis["restarts"], 1, "{redis:#}");
    assert_eq!(redis["last_exit"]["signal"], 9, "{redis:#}");
}

/// Reads from the journal that nginx was gone before either service it needs began to stop.
fn assert_reverse_order(project: &Project) {
    let events = project.events();
    let seq = |service: &str, to: &str| {
        let event = events
            .iter()
            .rfind(|e| e["service"] == service && e["to"] == to);
        event
            .and_then(|e| e["seq"].as_u64())
            .unwrap_or_else(|| panic!("{service} never became {to}: {events:#?}"))
    };
    for need in ["redis", "postgres"] {
        assert!(
            seq("nginx", "stopped") < seq(need, "stopping"),
            "nginx ends before {need}: {events:#?}"
        );
    }
}
