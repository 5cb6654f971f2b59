//! Servers that were built with sd_notify: Redis and PostgreSQL, as Debian ships them.

use proc_tests::{Project, free_port, is_root, postgres_bin};

#[test]
fn redis_says_when_it_is_ready() {
    let project = Project::new();
    let port = free_port();
    project.write(
        "proc.toml",
        format!(
            "[service.redis]\nargv = [\"redis-server\", \"--supervised\", \"systemd\", \"--port\", \"{port}\", \
             \"--bind\", \"127.0.0.1\", \"--save\", \"\"]\nready = {{ notify = \"socket\" }}\n"
        ),
    );
    project.ok(&["up", "-d"]);
    let redis = project.instance("redis");
    assert_eq!(redis["status_text"], "Ready to accept connections");
    // What it says is true.
    std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    project.ok(&["down"]);
}

#[test]
fn postgres_says_when_it_is_ready() {
    let project = Project::new();
    let (port, data) = (free_port(), project.dir().join("data"));
    let bin = postgres_bin();
    std::fs::create_dir(&data).expect("the scratch directory is writable");
    let user = if is_root() {
        let mut chown = std::process::Command::new("chown");
        let chown = chown.arg("postgres").arg(&data).status();
        assert!(chown.expect("chown is there").success());
        "user = \"postgres\""
    } else {
        ""
    };
    let (bin, data) = (bin.display(), data.display());
    project.write(
        "proc.toml",
        format!(
            r#"
            [defaults]
            {user}
            [service.init]
            argv = ["{bin}/initdb", "-D", "{data}", "--no-sync", "-A", "trust", "-U", "postgres"]
            oneshot = true
            [service.db]
            argv = ["{bin}/postgres", "-D", "{data}", "-h", "127.0.0.1", "-p", "{port}", "-k", "{data}"]
            needs = {{ init = "completed" }}
            ready = {{ notify = "socket" }}
            stop = {{ signal = "INT", grace = "20s" }}
            "#
        ),
    );
    project.ok(&["up", "-d"]);
    let mut ready = std::process::Command::new(format!("{bin}/pg_isready"));
    let ready = ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
    assert!(
        ready.status().expect("it is there").success(),
        "what it says is true"
    );
    let why = project.ok(&["why", "db"]);
    assert!(why.contains("notify socket"), "{why}");
    project.ok(&["down"]);
    assert_eq!(project.instance("db")["last_exit"]["code"], 0);
}
