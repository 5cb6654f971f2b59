//! Managed processes: start, watch, feed, end.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test may"
)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proc_run::{
    Command, Event, Id, Info, Manager, ManagerError, ManagerOptions, Signal, StartOptions, Status,
    Stream,
};
use tokio::sync::broadcast;

fn sh(line: &str) -> StartOptions {
    StartOptions::new(Command::shell(line))
}

fn manager() -> Manager {
    Manager::new(ManagerOptions::default())
}

async fn ended(manager: &Manager, id: Id) -> Info {
    let wait = tokio::time::timeout(Duration::from_secs(60), manager.wait(id));
    wait.await.expect("it ends in time").unwrap()
}

async fn next(events: &mut broadcast::Receiver<Event>) -> String {
    let event = tokio::time::timeout(Duration::from_secs(60), events.recv()).await;
    match event.expect("an event in time").expect("none was missed") {
        Event::Started(info) => format!("started {}", info.id),
        Event::Output { stream, line, .. } => {
            let mark = if line.complete { "" } else { " (cut)" };
            format!("{stream:?} {}{mark}", String::from_utf8_lossy(&line.bytes))
        }
        Event::Killed { signal, .. } => format!("killed {signal}"),
        Event::Exited(info) => format!("exited {:?} {:?}", info.status, info.exit_code),
    }
}

/// Waits for the line by which a process says that it is up.
async fn up(events: &mut broadcast::Receiver<Event>) {
    while next(events).await != "Stdout up" {}
}

fn fifo(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path
}

/// Reads a FIFO until everybody who held it is gone.
fn held(path: &Path) -> tokio::task::JoinHandle<()> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        std::fs::File::open(path)
            .unwrap()
            .read_to_end(&mut Vec::new())
            .unwrap();
    })
}

#[tokio::test]
async fn events() {
    let manager = manager();
    let mut events = manager.subscribe();
    manager.start(sh("echo one; printf two")).unwrap();
    for wanted in [
        "started 1",
        "Stdout one",
        "Stdout two (cut)",
        "exited Exited Some(0)",
    ] {
        assert_eq!(next(&mut events).await, wanted);
    }
    manager.start(sh("echo no >&2; exit 3")).unwrap();
    for wanted in ["started 2", "Stderr no", "exited Exited Some(3)"] {
        assert_eq!(next(&mut events).await, wanted);
    }
    let id = manager.start(sh("sleep 100")).unwrap();
    assert_eq!(next(&mut events).await, "started 3");
    manager.kill(id).await.unwrap();
    assert_eq!(next(&mut events).await, "killed 9");
    assert_eq!(next(&mut events).await, "exited Killed None");
    let error = manager
        .start(StartOptions::new(Command::new("no-such-program")))
        .unwrap_err();
    assert!(matches!(error, ManagerError::Start { .. }), "{error}");
    assert_eq!(next(&mut events).await, "exited Failed Some(127)");
    let statuses: Vec<Status> = manager.list().iter().map(|info| info.status).collect();
    assert_eq!(
        statuses,
        [
            Status::Exited,
            Status::Exited,
            Status::Killed,
            Status::Failed
        ]
    );
}

#[tokio::test]
async fn list_get_remove_clear_and_output() {
    let manager = manager();
    let done = manager.start(sh("echo out; echo err >&2")).unwrap();
    let runs = manager.start(sh("sleep 100")).unwrap();
    let info = ended(&manager, done).await;
    assert_eq!(
        (info.status, info.exit_code, info.shell_code()),
        (Status::Exited, Some(0), Some(0))
    );
    assert_eq!(manager.output(done).unwrap().len(), 8);
    assert_eq!(
        manager
            .running()
            .iter()
            .map(|info| info.id)
            .collect::<Vec<_>>(),
        [runs]
    );
    assert!(matches!(
        manager.remove(runs),
        Err(ManagerError::StillRunning(_))
    ));
    manager.remove(done).unwrap();
    assert!(matches!(manager.get(done), Err(ManagerError::NotFound(_))));
    manager.clear();
    assert_eq!(manager.list().len(), 1, "what runs is not forgotten");
    assert_eq!(manager.kill(runs).await.unwrap().signal, Some(9));
    manager.clear();
    assert!(manager.list().is_empty());
}

#[tokio::test]
async fn finished_ones_are_bounded_in_number_and_bytes() {
    let options = ManagerOptions {
        max_finished: 5,
        max_finished_bytes: 250,
        output_limit: 100,
        ..ManagerOptions::default()
    };
    let manager = Manager::new(options);
    for _ in 0..10 {
        let id = manager.start(sh("true")).unwrap();
        ended(&manager, id).await;
    }
    assert!(manager.list().len() <= 6, "the last may not be counted yet");
    for _ in 0..10 {
        let id = manager.start(sh("head -c 1000 /dev/zero")).unwrap();
        ended(&manager, id).await;
        assert_eq!(manager.output(id).map_or(100, |output| output.len()), 100);
    }
    assert!(
        manager.list().len() <= 3,
        "two of 100 bytes, and perhaps the last"
    );
}

#[tokio::test]
async fn stdin() {
    let manager = manager();
    let id = manager
        .start(StartOptions::new(Command::new("cat")).stdin(true))
        .unwrap();
    manager.send(id, b"one\n").await.unwrap();
    manager.send(id, b"two\n").await.unwrap();
    manager.close_stdin(id).await.unwrap();
    manager.close_stdin(id).await.unwrap();
    assert_eq!(ended(&manager, id).await.exit_code, Some(0));
    assert_eq!(manager.output(id).unwrap().to_text(), "one\ntwo\n");
    assert!(matches!(
        manager.send(id, b"x").await,
        Err(ManagerError::NotRunning(_))
    ));
    let without = manager.start(sh("sleep 100")).unwrap();
    assert!(matches!(
        manager.send(without, b"x").await,
        Err(ManagerError::NoStdin(_))
    ));
    manager.kill(without).await.unwrap();
}

#[tokio::test]
async fn stdin_full_then_kill() {
    // K12
    let manager = manager();
    let id = manager.start(sh("sleep 100").stdin(true)).unwrap();
    let writer = manager.clone();
    let writing = tokio::spawn(async move { writer.send(id, &vec![b'x'; 10_000_000]).await });
    tokio::task::yield_now().await;
    let begin = Instant::now();
    let info = manager.kill(id).await.unwrap();
    assert_eq!(info.status, Status::Killed);
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "not after the write"
    );
    assert!(writing.await.unwrap().is_err(), "the write ends too");
}

#[tokio::test]
async fn kill_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path(), "held");
    let gone = held(&path);
    let (manager, line) = (
        manager(),
        format!("exec 3>{}; sleep 60 & echo up; wait", path.display()),
    );
    let mut events = manager.subscribe();
    let id = manager.start(sh(&line)).unwrap();
    up(&mut events).await;
    manager.kill(id).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), gone)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn sighup_and_usr1_to_a_group_do_not_kill_it() {
    // K16
    let manager = manager();
    let mut events = manager.subscribe();
    let line =
        "trap 'echo hup' HUP; trap 'echo usr1' USR1; echo up; while :; do read x && break; done";
    let id = manager
        .start(sh(&format!("exec 2>/dev/null; {line}")).stdin(true))
        .unwrap();
    up(&mut events).await;
    manager.signal(id, Signal::HUP).unwrap();
    while next(&mut events).await != "Stdout hup" {}
    manager.signal(id, Signal::USR1).unwrap();
    while next(&mut events).await != "Stdout usr1" {}
    assert!(matches!(
        manager.signal(id, Signal::KILL),
        Err(ManagerError::Uncatchable(_))
    ));
    assert!(matches!(
        manager.signal(id, Signal::STOP),
        Err(ManagerError::Uncatchable(_))
    ));
    manager.kill(id).await.unwrap();
    assert!(matches!(
        manager.signal(id, Signal::HUP),
        Err(ManagerError::NotRunning(_))
    ));
}

#[tokio::test]
async fn signal_0_to_group() {
    let manager = manager();
    let mut events = manager.subscribe();
    let id = manager
        .start(sh("echo up; read x; echo $x").stdin(true))
        .unwrap();
    up(&mut events).await;
    manager.signal(id, Signal::PROBE).unwrap();
    assert!(manager.get(id).unwrap().is_running(), "it only asks");
    manager.send(id, b"still here\n").await.unwrap();
    while next(&mut events).await != "Stdout still here" {}
    assert_eq!(ended(&manager, id).await.exit_code, Some(0));
    assert!(matches!(
        manager.signal(id, Signal::PROBE),
        Err(ManagerError::NotRunning(_))
    ));
}

#[tokio::test]
async fn timeout_and_grace() {
    let manager = manager();
    let line = "trap 'echo handled; exit 5' TERM; sleep 100 & wait";
    let id = manager
        .start(sh(line).timeout(Duration::from_millis(500)))
        .unwrap();
    let info = ended(&manager, id).await;
    assert_eq!(
        (info.timed_out, info.exit_code),
        (true, Some(5)),
        "its handler runs"
    );
    let stubborn = sh("trap '' TERM; sleep 100").grace(Duration::from_millis(100));
    let id = manager
        .start(stubborn.timeout(Duration::from_millis(500)))
        .unwrap();
    let info = ended(&manager, id).await;
    assert_eq!((info.timed_out, info.status), (true, Status::Killed));
}

#[tokio::test]
async fn stop_reaches_a_grandchild_that_ignores_term() {
    // K3
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path(), "held");
    let gone = held(&path);
    let manager = manager();
    let mut events = manager.subscribe();
    let line = format!(
        "exec 3>{}; (trap '' TERM; echo up; sleep 100) & wait",
        path.display()
    );
    let id = manager.start(sh(&line)).unwrap();
    up(&mut events).await;
    let info = manager.stop(id, Duration::from_millis(200)).await.unwrap();
    assert_eq!(info.signal, Some(15));
    tokio::time::timeout(Duration::from_secs(60), gone)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn detach_survives_cancel() {
    let dir = tempfile::tempdir().unwrap();
    let (go, log) = (fifo(dir.path(), "go"), dir.path().join("log"));
    let done = fifo(dir.path(), "done");
    let manager = manager();
    let line = format!(
        "read x <{}; echo out; echo err >&2; echo >{}",
        go.display(),
        done.display()
    );
    let id = manager.start(sh(&line).detach(&log)).unwrap();
    assert!(
        manager.shutdown(Duration::ZERO).await.is_empty(),
        "a shutdown leaves it alone"
    );
    assert!(manager.get(id).unwrap().is_running());
    drop(manager);
    let text = tokio::task::spawn_blocking(move || {
        std::fs::write(go, "\n").unwrap();
        std::fs::read(done).unwrap();
        std::fs::read_to_string(log).unwrap()
    });
    assert_eq!(text.await.unwrap(), "out\nerr\n");
}

#[tokio::test]
async fn shutdown_service() {
    let manager = manager();
    let mut events = manager.subscribe();
    for _ in 0..3 {
        manager
            .start(sh("trap '' TERM; echo up; sleep 100"))
            .unwrap();
        up(&mut events).await;
    }
    manager
        .start(sh("trap 'exit 4' TERM; echo up; sleep 100 & wait"))
        .unwrap();
    up(&mut events).await;
    let begin = Instant::now();
    let ended = manager.shutdown(Duration::from_millis(300)).await;
    assert!(begin.elapsed() < Duration::from_secs(20), "all at once");
    assert_eq!(ended.len(), 4);
    assert!(ended[..3].iter().all(|info| info.signal == Some(9)));
    assert_eq!(
        ended[3].exit_code,
        Some(4),
        "who handles TERM ends in its own way"
    );
}

#[tokio::test]
async fn a_dropped_manager_kills() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path(), "held");
    let gone = held(&path);
    let manager = manager();
    let mut events = manager.subscribe();
    manager
        .start(sh(&format!(
            "exec 3>{}; echo up; sleep 100",
            path.display()
        )))
        .unwrap();
    up(&mut events).await;
    drop(manager);
    tokio::time::timeout(Duration::from_secs(60), gone)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn output_is_bytes_in_bounded_lines() {
    // K5
    let options = ManagerOptions {
        line_limit: 4,
        output_limit: 1000,
        ..ManagerOptions::default()
    };
    let manager = Manager::new(options);
    let mut events = manager.subscribe();
    let id = manager
        .start(sh("printf 'abcdefgh\\n\\377\\0x\\nend'"))
        .unwrap();
    let mut lines = Vec::new();
    loop {
        match events.recv().await.unwrap() {
            Event::Output { stream, line, .. } => {
                assert_eq!(stream, Stream::Stdout);
                lines.push((line.bytes.to_vec(), line.complete));
            }
            Event::Exited(_) => break,
            _ => {}
        }
    }
    let whole: Vec<u8> = lines.concat_lines();
    assert_eq!(whole, b"abcdefgh\n\xff\0x\nend");
    assert!(lines.iter().all(|(bytes, _)| bytes.len() <= 4));
    assert_eq!(manager.output(id).unwrap().to_bytes(), whole);
}

trait ConcatLines {
    fn concat_lines(&self) -> Vec<u8>;
}

impl ConcatLines for Vec<(Vec<u8>, bool)> {
    fn concat_lines(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        for (bytes, complete) in self {
            whole.extend_from_slice(bytes);
            if *complete {
                whole.push(b'\n');
            }
        }
        whole
    }
}
