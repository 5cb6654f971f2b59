//! The health server, asked over real sockets.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test may"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use proc_probe::{HealthError, HealthServer, HttpProbe, Probe, ProbeContext, ProbeKind, Role};

async fn raw(address: &str, request: &str) -> String {
    let (address, request) = (address.to_owned(), request.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A server that refuses early may reset; what it said before counts.
        let _reset = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    })
    .await
    .unwrap()
}

async fn get(address: &str, target: &str) -> (u16, String) {
    let answer = raw(
        address,
        &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"),
    )
    .await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

#[tokio::test]
async fn health_and_ready() {
    let health = HealthServer::new()
        .check("cache", Duration::from_secs(20), || async { Ok(()) })
        .listen("127.0.0.1:0")
        .await
        .unwrap();
    let address = health.address().to_owned();
    assert!(!address.ends_with(":0"), "the chosen port is told");
    assert_eq!(get(&address, "/health").await, (200, "ok\n".into()));
    assert_eq!(get(&address, "/ready").await, (503, "not ready\n".into()));
    health.set_ready(true);
    assert_eq!(get(&address, "/ready").await, (200, "ready\n".into()));
    assert_eq!(get(&address, "/other").await.0, 404);
    assert!(
        raw(&address, "POST /health HTTP/1.1\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 405")
    );
    assert!(
        raw(&address, "HEAD /ready HTTP/1.1\r\n\r\n")
            .await
            .ends_with("\r\n\r\n")
    );
    let flood = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000));
    assert!(raw(&address, &flood).await.starts_with("HTTP/1.1 431"));

    let probe = |path| {
        let url = format!("http://{address}{path}").parse().unwrap();
        Probe::new(Role::Ready, ProbeKind::Http(HttpProbe::new(url)))
    };
    assert!(probe("/ready").check(&ProbeContext::default()).await.passed);
    health.stop(Duration::from_secs(20)).await;
    assert!(!probe("/ready").check(&ProbeContext::default()).await.passed);
}

#[tokio::test]
async fn one_hung_check_does_not_hang_the_answer() {
    let second = Duration::from_secs(20);
    let health = HealthServer::new()
        .check("disk", second, || async { Ok(()) })
        .check("db", Duration::from_millis(50), std::future::pending)
        .check("queue", second, || async { Err("full".to_owned()) })
        .listen("127.0.0.1:0")
        .await
        .unwrap();
    let (status, body) = get(health.address(), "/health").await;
    assert_eq!(
        (status, body.as_str()),
        (503, "unhealthy: db: no answer within 50ms\n")
    );
    let (status, body) = get(health.address(), "/health?format=json").await;
    assert_eq!(status, 503);
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(report["status"], "unhealthy");
    let seen: Vec<_> = report["checks"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&seen[0]["name"], &seen[0]["ok"]),
        (&"disk".into(), &true.into())
    );
    assert_eq!(seen[1]["error"], "no answer within 50ms");
    assert_eq!(seen[2]["error"], "full");
}

#[tokio::test]
async fn a_unix_socket_and_its_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("health.sock");
    let address = format!("unix:{}", path.display());
    let health = HealthServer::new().listen(&address).await.unwrap();
    let url = format!("{address}:/health").parse().unwrap();
    let probe = Probe::new(Role::Ready, ProbeKind::Http(HttpProbe::new(url)));
    assert!(probe.check(&ProbeContext::default()).await.passed);
    assert!(
        HealthServer::new().listen(&address).await.is_err(),
        "a live one is not replaced"
    );
    drop(health);
    assert!(!path.exists());

    let limit = Duration::from_secs(1);
    let twice = HealthServer::new()
        .check("a", limit, || async { Ok(()) })
        .check("a", limit, || async { Ok(()) });
    assert!(matches!(
        twice.listen("127.0.0.1:0").await,
        Err(HealthError::Duplicate(_))
    ));
}
