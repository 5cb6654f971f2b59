//! Probes that run beside a service.

use std::time::Duration;

use proc_probe::{
    Change, HttpProbe, NotifyFd, Pattern, Probe, ProbeContext, ProbeEvent, ProbeKind, ProbeTask,
    Role,
};
use tokio::sync::mpsc;

fn quick(role: Role, kind: ProbeKind) -> Probe {
    let interval = Duration::from_millis(5);
    Probe {
        interval,
        timeout: Duration::from_secs(20),
        ..Probe::new(role, kind)
    }
}

fn start(
    role: Role,
    probe: Probe,
    context: ProbeContext,
) -> (ProbeTask, mpsc::UnboundedReceiver<ProbeEvent>) {
    let (events, queue) = mpsc::unbounded_channel();
    let task = ProbeTask::start(role, probe, context, move |event| drop(events.send(event)));
    (task, queue)
}

async fn next(queue: &mut mpsc::UnboundedReceiver<ProbeEvent>) -> ProbeEvent {
    let event = tokio::time::timeout(Duration::from_secs(60), queue.recv()).await;
    event.expect("an event in time").expect("the task lives")
}

#[tokio::test]
async fn readiness_comes_goes_and_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let (file, context) = (
        dir.path().join("up"),
        ProbeContext {
            cwd: dir.path().into(),
            ..Default::default()
        },
    );
    let (task, mut events) = start(
        Role::Ready,
        quick(Role::Ready, ProbeKind::File("up".into())),
        context,
    );
    for _round in 0..3 {
        std::fs::write(&file, "").unwrap();
        assert_eq!(next(&mut events).await.change, Change::Ready);
        assert!(task.is_up());
        std::fs::remove_file(&file).unwrap();
        let lost = next(&mut events).await;
        assert_eq!(lost.change, Change::NotReady);
        assert_eq!(lost.evidence.to_string(), "file up: does not exist");
        assert_eq!(task.evidence().reason, "does not exist");
    }
}

#[tokio::test]
async fn liveness_fails_once_with_evidence() {
    let kind = ProbeKind::Exec("echo broken; exit 3".into());
    let context = ProbeContext {
        cwd: "/".into(),
        ..Default::default()
    };
    let (task, mut events) = start(Role::Alive, quick(Role::Alive, kind), context);
    let failed = next(&mut events).await;
    assert_eq!(failed.change, Change::Failed);
    assert!(
        failed
            .evidence
            .to_string()
            .ends_with("exited with code 3 (broken)")
    );
    drop(task);
    assert!(events.recv().await.is_none(), "nothing else came");
}

#[tokio::test]
async fn startup_succeeds_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("up"), "").unwrap();
    let context = ProbeContext {
        cwd: dir.path().into(),
        ..Default::default()
    };
    let probe = Probe {
        successes: 3,
        ..quick(Role::Startup, ProbeKind::File("up".into()))
    };
    let (task, mut events) = start(Role::Startup, probe, context);
    assert_eq!(next(&mut events).await.change, Change::Ready);
    drop(task);
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn a_line_that_matches_is_readiness() {
    let kind = ProbeKind::Log(Pattern::new("listening on [0-9]+").unwrap());
    let (task, mut events) = start(
        Role::Ready,
        quick(Role::Ready, kind),
        ProbeContext::default(),
    );
    task.feed_line(b"starting \xff\x00");
    assert!(!task.is_up());
    task.feed_line(b"\xfe listening on 8080");
    let ready = next(&mut events).await;
    assert_eq!(ready.change, Change::Ready);
    assert!(ready.evidence.detail.unwrap().contains("listening on 8080"));
    task.feed_line(b"listening on 8080");
    drop(task);
    assert!(events.recv().await.is_none(), "once");
}

#[tokio::test]
async fn a_statement_is_readiness() {
    let probe = quick(Role::Ready, ProbeKind::Notify);
    let (task, mut events) = start(Role::Ready, probe, ProbeContext::default());
    task.feed_statement(true, "READY=1");
    assert_eq!(next(&mut events).await.change, Change::Ready);
    task.feed_statement(false, "RELOADING=1");
    let lost = next(&mut events).await;
    assert_eq!(
        (lost.change, lost.evidence.reason.as_str()),
        (Change::NotReady, "RELOADING=1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_readiness_when_it_has_passed() {
    let begin = tokio::time::Instant::now();
    let delay = ProbeKind::Delay(Duration::from_secs(30));
    let (_task, mut events) = start(
        Role::Ready,
        quick(Role::Ready, delay),
        ProbeContext::default(),
    );
    let event = events.recv().await.unwrap();
    assert_eq!(event.change, Change::Ready);
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_probe_looks_soon_and_then_at_its_interval() {
    // Looks are counted by the lines a missing file leaves in the evidence: none; so by time.
    let dir = tempfile::tempdir().unwrap();
    let context = ProbeContext {
        cwd: dir.path().into(),
        ..Default::default()
    };
    let kind = ProbeKind::File("up".into());
    let probe = Probe {
        interval: Duration::from_secs(10),
        ..Probe::new(Role::Ready, kind)
    };
    let (_task, mut events) = start(Role::Ready, probe, context);
    tokio::time::sleep(Duration::from_millis(120)).await;
    std::fs::write(dir.path().join("up"), "").unwrap();
    let begin = tokio::time::Instant::now();
    assert_eq!(events.recv().await.unwrap().change, Change::Ready);
    assert!(
        begin.elapsed() < Duration::from_millis(400),
        "not only after ten seconds"
    );
    std::fs::remove_file(dir.path().join("up")).unwrap();
    let begin = tokio::time::Instant::now();
    assert_eq!(events.recv().await.unwrap().change, Change::NotReady);
    assert!(
        begin.elapsed() > Duration::from_secs(20),
        "three looks, ten seconds apart"
    );
}

#[tokio::test]
async fn a_newline_on_a_descriptor_is_readiness_and_its_end_is_not() {
    use std::io::Write;
    let (mut reader, writer) = NotifyFd::pipe().unwrap();
    let mut writer = std::fs::File::from(writer);
    writer.write_all(b"almost").unwrap();
    let ready = reader.ready();
    tokio::pin!(ready);
    tokio::select! {
        biased;
        answer = &mut ready => panic!("no newline yet: {answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    writer.write_all(b" there\n").unwrap();
    assert!(ready.await.unwrap());

    let (mut reader, writer) = NotifyFd::pipe().unwrap();
    drop(writer);
    assert!(!reader.ready().await.unwrap());
}

#[tokio::test]
async fn a_thousand_http_probes_are_cheap() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _gone = stream.read(&mut request).await;
                let _gone = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await;
            });
        }
    });
    let kind = ProbeKind::Http(HttpProbe::new(url.parse().unwrap()));
    let (events, mut queue) = mpsc::unbounded_channel();
    let tasks: Vec<ProbeTask> = (0..1000)
        .map(|_| {
            let (events, kind) = (events.clone(), kind.clone());
            let probe = Probe {
                timeout: Duration::from_secs(60),
                ..Probe::new(Role::Ready, kind)
            };
            ProbeTask::start(Role::Ready, probe, ProbeContext::default(), move |event| {
                drop(events.send(event));
            })
        })
        .collect();
    for _ in &tasks {
        assert_eq!(next(&mut queue).await.change, Change::Ready);
    }
}
