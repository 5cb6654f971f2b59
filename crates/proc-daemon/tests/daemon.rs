//! The life of a daemon, with real files, sockets and other processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proc_daemon::{
    Contents, DEFAULT_STOP_TIMEOUT, Daemon, HealthServer, PidFile, PidFileError, Registry, Running,
    Signal, StartError, terminated,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A daemon with every part, below `dir`.
fn whole(dir: &Path) -> Daemon {
    Daemon::new("worker")
        .pid_file(dir.join("worker.pid"))
        .health(socket(dir), HealthServer::new())
        .registry(dir.join("registry"))
}

/// A health address that nobody else on the machine can have.
fn socket(dir: &Path) -> String {
    format!("unix:{}/health.sock", dir.display())
}

fn connects(dir: &Path) -> bool {
    UnixStream::connect(dir.join("health.sock")).is_ok()
}

async fn get(address: &str, path: &str) -> String {
    match address.strip_prefix("unix:") {
        Some(socket) => ask(tokio::net::UnixStream::connect(socket).await.unwrap(), path).await,
        None => ask(tokio::net::TcpStream::connect(address).await.unwrap(), path).await,
    }
}

async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().last().unwrap().to_owned()
}

fn names(dir: &Path) -> Vec<String> {
    let listing = Registry::at(dir.join("registry")).list().unwrap();
    let names = listing.daemons.into_iter();
    names.map(|daemon| daemon.registration.name).collect()
}

/// Asserts that nothing of the daemon is left.
fn nothing_left(dir: &Path) {
    assert!(!dir.join("worker.pid").exists());
    assert!(!dir.join("worker.pid.lock").exists());
    assert!(!connects(dir) && !dir.join("health.sock").exists());
    assert!(names(dir).is_empty());
}

fn address(daemon: &Running) -> String {
    daemon.health_address().unwrap().to_owned()
}

#[tokio::test]
async fn started_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = whole(dir.path())
        .health("127.0.0.1:0", HealthServer::new())
        .describe(|entry| entry.version = Some("1.2.3".to_owned()))
        .start()
        .await
        .unwrap();
    let address = address(&daemon);
    assert!(!address.ends_with(":0"), "the chosen port is told");
    let entry = daemon.registration().unwrap().clone();
    assert_eq!(entry.identity.pid, std::process::id());
    assert_eq!(entry.health.as_deref(), Some(address.as_str()));
    assert_eq!(entry.version.as_deref(), Some("1.2.3"));
    assert!(entry.project.is_some() && entry.binary.is_some());
    assert_eq!(names(dir.path()), ["worker"]);
    let text = fs::read_to_string(daemon.pid_file().unwrap().path()).unwrap();
    assert_eq!(text, format!("{}\n", std::process::id()));

    assert_eq!(get(&address, "/health").await, "ok");
    assert_eq!(get(&address, "/ready").await, "not ready");
    daemon.set_ready(true);
    assert!(daemon.is_ready());
    assert_eq!(get(&address, "/ready").await, "ready");

    let stopped = daemon.stop(async {}).await;
    assert!(stopped.drained && stopped.problems.is_empty(), "{stopped}");
    nothing_left(dir.path());
}

#[tokio::test]
async fn double_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = whole(dir.path()).start().await.unwrap();
    let second = whole(dir.path()).start().await.unwrap_err();
    let text = second.to_string();
    let StartError::PidFile(PidFileError::Running { pid, .. }) = second else {
        panic!("{second:?}");
    };
    assert_eq!(pid, Some(std::process::id()));
    assert!(text.contains("another instance is running"), "{text}");
    assert_eq!(get(&address(&first), "/health").await, "ok");
    assert_eq!(names(dir.path()), ["worker"], "the first one's entry stays");
    drop(first);
    whole(dir.path())
        .start()
        .await
        .unwrap()
        .stop(async {})
        .await;
}

/// There is no run without a start: only a started daemon has [`Running::run`], which ends when it
/// is told to.
#[tokio::test]
async fn run_without_start() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = whole(dir.path()).start().await.unwrap();
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let address = address(&daemon);
    let ends = tokio::spawn(daemon.run(told, async {}));
    assert_eq!(get(&address, "/health").await, "ok", "it runs until told");
    tell.send(()).unwrap();
    assert!(ends.await.unwrap().drained);
    nothing_left(dir.path());
}

#[tokio::test]
async fn registry_failure_rolls_back_health_and_pid() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("registry"), "not a directory").unwrap();
    let error = whole(dir.path()).start().await.unwrap_err();
    assert!(matches!(error, StartError::RegistryDir(_)), "{error:?}");
    assert!(!connects(dir.path()) && !dir.path().join("health.sock").exists());
    assert!(!dir.path().join("worker.pid").exists());
    PidFile::acquire(dir.path().join("worker.pid")).unwrap();
}

#[tokio::test]
async fn health_failure_rolls_back_pid() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let daemon = whole(dir.path()).health(address, HealthServer::new());
    let error = daemon.start().await.unwrap_err();
    assert!(matches!(error, StartError::Health(_)), "{error:?}");
    nothing_left(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn not_ready_before_drain_and_the_lock_last() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = whole(dir.path()).start().await.unwrap();
    daemon.set_ready(true);
    let health = address(&daemon);
    // It gets the lock the moment it is released, and looks at once.
    let lock = File::open(dir.path().join("worker.pid.lock")).unwrap();
    let next = std::thread::spawn({
        let dir = dir.path().to_owned();
        move || {
            lock.lock().unwrap();
            !connects(&dir)
        }
    });
    let drain = async {
        assert_eq!(get(&health, "/ready").await, "not ready");
        assert_eq!(get(&health, "/health").await, "ok");
        assert!(
            names(dir.path()).is_empty(),
            "unregistered before the drain"
        );
        let second = PidFile::acquire(dir.path().join("worker.pid"));
        assert!(matches!(second, Err(PidFileError::Running { .. })));
        assert!(!next.is_finished());
    };
    assert!(daemon.stop(drain).await.drained);
    assert!(
        next.join().unwrap(),
        "health is off before the lock is free"
    );
    nothing_left(dir.path());
}

#[tokio::test(start_paused = true)]
async fn thirty_seconds_by_default() {
    assert_eq!(DEFAULT_STOP_TIMEOUT, Duration::from_secs(30));
    let dir = tempfile::tempdir().unwrap();
    let daemon = whole(dir.path()).start().await.unwrap();
    let stopped = daemon.stop(std::future::pending()).await;
    assert!(!stopped.drained);
    assert!(stopped.took >= DEFAULT_STOP_TIMEOUT && stopped.took < DEFAULT_STOP_TIMEOUT * 2);
    nothing_left(dir.path());
}

#[tokio::test]
async fn dropped_without_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = whole(dir.path()).start().await.unwrap();
    drop(daemon);
    nothing_left(dir.path());
}

#[tokio::test]
async fn nothing_wanted_nothing_held() {
    let daemon = Daemon::new("bare").start().await.unwrap();
    assert!(daemon.health_address().is_none() && daemon.registration().is_none());
    daemon.set_ready(true);
    assert!(!daemon.is_ready());
    assert!(daemon.stop(async {}).await.drained);
}

#[tokio::test]
async fn three_lines_name_this_very_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("worker.pid");
    let contents = Contents::ThreeLines("worker".into());
    let daemon = Daemon::new("worker").pid_file_with(&path, contents);
    let daemon = daemon.start().await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    daemon.stop(async {}).await;
}

/// Helper of the tests below: a daemon in a process of its own, until it is told to end.
#[tokio::test]
#[ignore = "a helper of other tests"]
async fn helper() {
    let Some(dir) = std::env::var_os("PROC_DAEMON_HELPER") else {
        return;
    };
    let told_to_end = terminated().unwrap();
    let daemon = whole(Path::new(&dir)).start().await.unwrap();
    fs::write(Path::new(&dir).join("started"), "").unwrap();
    let signal = told_to_end.await;
    assert!(daemon.stop(async {}).await.drained);
    fs::write(Path::new(&dir).join("signal"), signal.name()).unwrap();
}

fn start_helper(dir: &Path) -> std::process::Child {
    let started = dir.join("started");
    make_fifo(&started);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper", "--ignored"])
        .env("PROC_DAEMON_HELPER", dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Ends when the helper has opened and closed the other end.
    fs::read(&started).unwrap();
    child
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[tokio::test]
async fn terminated_by_a_signal_it_ends_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = start_helper(dir.path());
        assert_eq!(names(dir.path()), ["worker"]);
        let pid = child.id();
        let handle = proc_core::Identity::of(pid).unwrap().open().unwrap();
        handle.signal(signal).unwrap();
        assert!(child.wait().unwrap().success());
        let told = fs::read_to_string(dir.path().join("signal")).unwrap();
        assert_eq!(told, signal.name());
        nothing_left(dir.path());
    }
}

#[tokio::test]
async fn a_killed_one_stands_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start_helper(dir.path());
    let refused = whole(dir.path()).start().await.unwrap_err();
    let StartError::PidFile(PidFileError::Running { pid, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(pid, Some(child.id()));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let begin = Instant::now();
    let daemon = whole(dir.path()).start().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(
        names(dir.path()),
        ["worker"],
        "the dead one's entry is replaced"
    );
    daemon.stop(async {}).await;
    nothing_left(dir.path());
}
