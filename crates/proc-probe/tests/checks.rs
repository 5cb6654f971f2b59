//! Single checks against real servers, files and commands.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test may"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use proc_probe::{
    Detector, Evidence, HttpProbe, Pattern, Probe, ProbeContext, ProbeKind, Role, wait_for,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

fn context(dir: &Path) -> ProbeContext {
    let env = BTreeMap::from([(OsString::from("PATH"), OsString::from("/usr/bin:/bin"))]);
    ProbeContext {
        cwd: dir.to_owned(),
        env,
    }
}

fn probe(kind: ProbeKind) -> Probe {
    Probe {
        timeout: Duration::from_secs(20),
        ..Probe::new(Role::Ready, kind)
    }
}

/// Answers every connection with `answer`, and returns the port and the requests that came.
async fn server(answer: &'static [u8]) -> (u16, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (requests, seen) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..count]).into_owned();
            let _full = requests.try_send(text);
            let _gone = stream.write_all(answer).await;
        }
    });
    (port, seen)
}

async fn ask(answer: &'static [u8], edit: impl FnOnce(&mut HttpProbe)) -> Evidence {
    let (port, _requests) = server(answer).await;
    let mut http = HttpProbe::new(
        format!("http://127.0.0.1:{port}/ready?x=1")
            .parse()
            .unwrap(),
    );
    edit(&mut http);
    probe(ProbeKind::Http(http))
        .check(&ProbeContext::default())
        .await
}

#[tokio::test]
async fn http_status_header_and_body_must_hold() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nX-App: web 7\r\nContent-Length: 5\r\n\r\nhello";
    const BUSY: &[u8] = b"HTTP/1.1 503 No\r\nContent-Length: 11\r\n\r\nwarming up\n";
    const TEAPOT: &[u8] = b"HTTP/1.1 418 T\r\n\r\n";
    let pattern = |text| Pattern::new(text).unwrap();

    let seen = ask(OK, |_| {}).await;
    assert!(seen.passed, "{seen}");
    let seen = ask(BUSY, |_| {}).await;
    assert!(!seen.passed);
    assert!(
        seen.to_string()
            .ends_with("status 503, expected 200 to 399 (warming up)"),
        "{seen}"
    );
    assert!(ask(TEAPOT, |http| http.status = Some(418)).await.passed);
    assert_eq!(
        ask(OK, |http| http.status = Some(204)).await.reason,
        "status 200, expected 204"
    );
    assert!(
        ask(OK, |http| http.body = Some(pattern("^h.*o$")))
            .await
            .passed
    );
    let seen = ask(OK, |http| http.body = Some(pattern("bye"))).await;
    assert_eq!(seen.reason, "status 200, but the body does not match `bye`");
    let header = |name: &str, value| BTreeMap::from([(name.to_owned(), pattern(value))]);
    assert!(
        ask(OK, |http| http.header = header("x-app", "^web"))
            .await
            .passed
    );
    let seen = ask(OK, |http| http.header = header("x-app", "db")).await;
    assert_eq!(seen.reason, "header `x-app` does not match `db`");
    let seen = ask(OK, |http| http.header = header("etag", "")).await;
    assert_eq!(seen.reason, "status 200, but header `etag` is missing");
}

#[tokio::test]
async fn http_bodies_of_every_length_kind() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab c\r\n1\r\nd\r\n0\r\n\r\n"[..],
        b"HTTP/1.0 200 OK\r\n\r\nab cd",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab cd and more",
    ] {
        let seen = ask(answer, |http| {
            http.body = Some(Pattern::new("^ab cd$").unwrap())
        })
        .await;
        assert!(seen.passed, "{seen}");
    }
}

#[tokio::test]
async fn http_requests_are_what_was_asked_for() {
    let (port, mut requests) = server(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let mut http = HttpProbe::new(
        format!("http://localhost:{port}/ready?x=1")
            .parse()
            .unwrap(),
    );
    http.send.insert("host".into(), "example.org".into());
    http.send
        .insert("X-Token".into(), "a\r\nSmuggled: b".into());
    let seen = probe(ProbeKind::Http(http))
        .check(&ProbeContext::default())
        .await;
    assert!(seen.passed, "{seen}");
    let request = requests.recv().await.unwrap();
    let lines: Vec<&str> = request.split("\r\n").collect();
    assert_eq!(lines[0], "GET /ready?x=1 HTTP/1.1");
    assert!(lines.contains(&"host: example.org"), "{lines:?}");
    assert!(lines.contains(&"X-Token: a  Smuggled: b"), "{lines:?}");
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.to_lowercase().starts_with("host:"))
            .count(),
        1
    );
    assert!(lines.contains(&"Connection: close"));
}

#[tokio::test]
async fn http_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        assert!(request[..count].starts_with(b"GET /health HTTP/1.1\r\n"));
        stream
            .write_all(b"HTTP/1.1 204 Fine\r\n\r\n")
            .await
            .unwrap();
    });
    let url = format!("unix:{}:/health", path.display()).parse().unwrap();
    let seen = probe(ProbeKind::Http(HttpProbe::new(url)))
        .check(&context(dir.path()))
        .await;
    assert!(seen.passed, "{seen}");
}

#[tokio::test]
async fn http_answers_that_are_none() {
    for (answer, reason) in [
        (&b"SSH-2.0-OpenSSH_9\r\n"[..], "not HTTP/1"),
        (b"", "connection closed before an answer"),
    ] {
        let seen = ask(answer, |_| {}).await;
        assert!(!seen.passed && seen.reason.contains(reason), "{seen}");
    }
    let endless: &'static [u8] = Box::leak(vec![b'a'; 200_000].into_boxed_slice());
    let seen = ask(endless, |_| {}).await;
    assert!(seen.reason.contains("longer than"), "{seen}");
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let kind = ProbeKind::Http(HttpProbe::new(url.parse().unwrap()));
    let probe = Probe {
        timeout: Duration::from_millis(50),
        ..Probe::new(Role::Ready, kind)
    };
    let seen = probe.check(&ProbeContext::default()).await;
    assert_eq!(
        (seen.passed, seen.reason.as_str()),
        (false, "timed out after 50ms")
    );
}

#[tokio::test]
async fn tcp_connects_or_says_why_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tcp = probe(ProbeKind::Tcp(address.parse().unwrap()));
    assert!(tcp.check(&ProbeContext::default()).await.passed);
    drop(listener);
    let seen = tcp.check(&ProbeContext::default()).await;
    assert!(!seen.passed && seen.reason.contains("refused"), "{seen}");
}

#[tokio::test]
async fn file_exists_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = probe(ProbeKind::File("up".into()));
    assert_eq!(
        file.check(&context(dir.path())).await.reason,
        "does not exist"
    );
    std::fs::write(dir.path().join("up"), "").unwrap();
    assert!(file.check(&context(dir.path())).await.passed);
}

#[tokio::test]
async fn exec_ends_with_zero_or_says_how() {
    let dir = tempfile::tempdir().unwrap();
    let exec = |command: &str| probe(ProbeKind::Exec(command.into()));
    assert!(exec("test -d .").check(&context(dir.path())).await.passed);
    let seen = exec("echo no such host >&2; exit 2")
        .check(&context(dir.path()))
        .await;
    assert_eq!(seen.reason, "exited with code 2");
    assert_eq!(seen.detail.as_deref(), Some("no such host"));
    let seen = exec("kill -9 $$").check(&context(dir.path())).await;
    assert_eq!(seen.reason, "ended by signal KILL");
}

#[tokio::test]
async fn exec_that_hangs_is_ended_with_its_tree() {
    let dir = tempfile::tempdir().unwrap();
    let held = dir.path().join("held");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&held)
            .status()
            .unwrap()
            .success()
    );
    let reader = tokio::task::spawn_blocking(move || {
        std::fs::File::open(held)
            .unwrap()
            .read_to_end(&mut Vec::new())
            .unwrap()
    });
    let kind = ProbeKind::Exec("exec 3>held; setsid sleep 100 & sleep 100".into());
    let hangs = Probe {
        timeout: Duration::from_millis(300),
        ..Probe::new(Role::Ready, kind)
    };
    let begin = Instant::now();
    let seen = hangs.check(&context(dir.path())).await;
    assert_eq!(
        (seen.passed, seen.reason.as_str()),
        (false, "timed out after 300ms")
    );
    assert!(begin.elapsed() < Duration::from_secs(30));
    let gone = tokio::time::timeout(Duration::from_secs(30), reader).await;
    gone.expect("nobody holds the FIFO any more").unwrap();
}

#[tokio::test]
async fn wait_for_returns_the_last_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = probe(ProbeKind::File("up".into()));
    let seen = wait_for(&file, &context(dir.path()), Duration::ZERO).await;
    assert_eq!(
        (seen.passed, seen.reason.as_str()),
        (false, "does not exist"),
        "one look at least"
    );
    let seen = wait_for(&file, &context(dir.path()), Duration::from_millis(250)).await;
    assert_eq!(
        (seen.passed, seen.reason.as_str()),
        (false, "does not exist")
    );
    let path = dir.path().to_owned();
    let context = context(dir.path());
    let (seen, ()) = tokio::join!(
        wait_for(&file, &context, Duration::from_secs(60)),
        async move {
            std::fs::write(path.join("up"), "").unwrap();
        }
    );
    assert!(seen.passed);
}

#[tokio::test]
async fn detectors_say_what_they_saw() {
    let dir = tempfile::tempdir().unwrap();
    let (context, limit) = (context(dir.path()), Duration::from_secs(20));
    let own = std::process::id();
    let found = Detector::Pid { pid: own }.detect(&context, limit).await;
    assert_eq!((found.alive, found.pid), (true, Some(own)), "{found:?}");
    assert_eq!(found.detector, format!("pid:{own}"));

    let file = Detector::PidFile {
        path: "x.pid".into(),
    };
    assert!(
        file.detect(&context, limit)
            .await
            .reason
            .contains("cannot read")
    );
    for (text, alive) in [
        (format!("{own}\n"), true),
        ("nonsense".into(), false),
        ("0".into(), false),
    ] {
        std::fs::write(dir.path().join("x.pid"), &text).unwrap();
        assert_eq!(file.detect(&context, limit).await.alive, alive, "{text:?}");
    }
    let identity = proc_core::Identity::current().unwrap();
    let record = serde_json::to_string(&identity).unwrap();
    std::fs::write(dir.path().join("x.pid"), format!("{own}\n{record}\n")).unwrap();
    assert!(file.detect(&context, limit).await.alive);
    let other = proc_core::Identity {
        start_ticks: 1,
        pidfs_ino: None,
        handle: None,
        ..identity
    };
    let record = serde_json::to_string(&other).unwrap();
    std::fs::write(dir.path().join("x.pid"), format!("{own}\n{record}\n")).unwrap();
    let found = file.detect(&context, limit).await;
    assert!(
        !found.alive,
        "the number was given to another process: {found:?}"
    );

    let command = |line: &str| Detector::Command {
        command: line.into(),
    };
    assert!(command("true").detect(&context, limit).await.alive);
    assert_eq!(
        command("exit 4").detect(&context, limit).await.reason,
        "exited with code 4"
    );
    let slow = command("sleep 100")
        .detect(&context, Duration::from_millis(50))
        .await;
    assert_eq!(
        (slow.alive, slow.reason.as_str()),
        (false, "timed out after 50ms")
    );
}

#[tokio::test]
async fn a_zombie_is_not_alive() {
    // K13
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let handle = proc_core::ProcessHandle::of(child.id());
    if let Ok(handle) = handle {
        handle.wait(None).unwrap();
    }
    let detector = Detector::Pid { pid: child.id() };
    let found = detector
        .detect(&ProbeContext::default(), Duration::ZERO)
        .await;
    assert!(!found.alive, "{found:?}");
    child.wait().unwrap();
}
