//! Hooks as real processes. Whether a process is gone is seen by the end of a FIFO it held.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test may"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proc_hooks::{Hook, HookContext, HookEnd, Mode, OnFailure, Phase, Runner};

fn context(dir: &Path) -> HookContext {
    let env = BTreeMap::from([
        (
            OsString::from("PATH"),
            OsString::from("/usr/local/bin:/usr/bin:/bin"),
        ),
        (
            OsString::from("SERVICE_VARIABLE"),
            OsString::from("from service"),
        ),
    ]);
    HookContext {
        name: "web-1".into(),
        cwd: dir.to_owned(),
        env,
    }
}

fn hook(command: &str) -> Hook {
    Hook::new("it", command)
}

/// A FIFO whose end of file tells that everybody who held it is gone.
struct Held {
    path: PathBuf,
    reader: Option<std::thread::JoinHandle<Vec<u8>>>,
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

impl Held {
    fn new(dir: &Path) -> Self {
        let path = fifo(dir, "held");
        let opened = path.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::fs::File::open(opened)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        });
        Held {
            path,
            reader: Some(reader),
        }
    }

    async fn gone(&mut self) -> Vec<u8> {
        let reader = self.reader.take().expect("asked once");
        let joined = tokio::task::spawn_blocking(move || reader.join().unwrap());
        tokio::time::timeout(Duration::from_secs(30), joined)
            .await
            .expect("in time")
            .unwrap()
    }
}

#[tokio::test]
async fn pre_start_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (runner, _outcomes) = Runner::new();
    let hooks = [
        Hook::new("bad", "echo broken; exit 1"),
        Hook::new("never", "touch never"),
    ];
    let outcome = runner
        .run(Phase::PreStart, &hooks, &context(dir.path()))
        .await;
    assert!(!outcome.success());
    assert_eq!(
        outcome.to_string(),
        "pre_start hooks failed: `bad` exited with code 1"
    );
    assert_eq!(outcome.outcomes[0].output, b"broken\n");
    assert_eq!(outcome.outcomes.len(), 1);
    assert!(
        !dir.path().join("never").exists(),
        "the hook after the failed one does not run"
    );
}

#[tokio::test]
async fn hooks_run_in_order_and_ignore_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (runner, _outcomes) = Runner::new();
    let ignored = Hook {
        on_failure: OnFailure::Ignore,
        ..Hook::new("b", "echo b >>log; exit 3")
    };
    let hooks = [
        Hook::new("a", "echo a >>log"),
        ignored,
        Hook::new("c", "echo c >>log"),
    ];
    let outcome = runner
        .run(Phase::PostStart, &hooks, &context(dir.path()))
        .await;
    assert!(outcome.success(), "{outcome}");
    assert!(!outcome.outcomes[1].success());
    assert_eq!(
        std::fs::read_to_string(dir.path().join("log")).unwrap(),
        "a\nb\nc\n"
    );
}

#[tokio::test]
async fn the_environment_is_the_services_and_ours() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("below")).unwrap();
    let (runner, _outcomes) = Runner::new();
    let mut hook = Hook::new(
        "migrate",
        "echo $PROC_HOOK_NAME,$PROC_HOOK_PHASE,$PROC_NAME,$SERVICE_VARIABLE,$X,$CARGO,$(basename $(pwd))",
    );
    hook.env.insert("X".into(), "own".into());
    hook.cwd = Some("below".into());
    let outcome = runner
        .run(Phase::PreStop, &[hook], &context(dir.path()))
        .await;
    assert_eq!(
        String::from_utf8_lossy(&outcome.outcomes[0].output),
        "migrate,pre_stop,web-1,from service,own,,below\n"
    );
}

#[tokio::test]
async fn retry_counts_and_pauses() {
    let dir = tempfile::tempdir().unwrap();
    let (runner, _outcomes) = Runner::new();
    let retried = |command: &str, retries| Hook {
        on_failure: OnFailure::Retry,
        retries,
        retry_delay: Duration::from_millis(20),
        ..hook(command)
    };
    let third = retried("echo x >>runs; test $(wc -l <runs) = 3", 5);
    let outcome = runner
        .run(Phase::PreStart, &[third], &context(dir.path()))
        .await;
    assert!(outcome.success(), "{outcome}");
    assert_eq!(outcome.outcomes[0].attempts, 3);
    assert!(outcome.outcomes[0].duration >= Duration::from_millis(40));

    let never = retried("echo x >>tries; exit 4", 2);
    let outcome = runner
        .run(Phase::PreStart, &[never], &context(dir.path()))
        .await;
    assert!(!outcome.success());
    assert_eq!(outcome.outcomes[0].attempts, 3);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("tries")).unwrap(),
        "x\nx\nx\n"
    );
}

#[tokio::test]
async fn hook_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Held::new(dir.path());
    let (runner, _outcomes) = Runner::new();
    // A child, a child that ignores TERM and one in a session of its own: all hold the FIFO.
    let command =
        "exec 3>held; echo begun; (trap '' TERM; sleep 100) & setsid sleep 100 & sleep 100";
    let slow = Hook {
        timeout: Duration::from_millis(300),
        ..hook(command)
    };
    let begin = Instant::now();
    let outcome = runner
        .run(Phase::PreStart, &[slow], &context(dir.path()))
        .await;
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "it is ended, not waited for"
    );
    assert_eq!(outcome.outcomes[0].end, HookEnd::TimedOut);
    assert_eq!(
        outcome.to_string(),
        "pre_start hooks failed: `it` timed out"
    );
    assert_eq!(
        outcome.outcomes[0].output, b"begun\n",
        "what it printed is kept"
    );
    assert_eq!(held.gone().await, b"");
    assert!(held.path.exists());
}

#[tokio::test]
async fn async_hook() {
    // K18: it completes, is reaped, and its outcome comes; the caller does not wait.
    let dir = tempfile::tempdir().unwrap();
    let gate = Held::new(dir.path());
    let (runner, mut outcomes) = Runner::new();
    let beside = Hook {
        mode: Mode::Async,
        ..hook("read line <go; echo $line; echo >held; touch f")
    };
    fifo(dir.path(), "go");
    let outcome = runner
        .run(Phase::PostStart, &[beside], &context(dir.path()))
        .await;
    assert_eq!(outcome.started, ["it"]);
    assert_eq!(runner.running(), 1, "the phase is over, the hook is not");
    let go = dir.path().join("go");
    tokio::task::spawn_blocking(move || std::fs::write(go, "gone\n").unwrap())
        .await
        .unwrap();
    let outcome = outcomes.recv().await.expect("an outcome");
    assert!(outcome.success(), "{outcome}");
    assert_eq!(outcome.output, b"gone\n");
    assert!(dir.path().join("f").exists());
    runner.finish().await;
    drop(gate);
}

#[tokio::test]
async fn an_async_hook_has_its_own_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Held::new(dir.path());
    let (runner, mut outcomes) = Runner::new();
    let timeout = Duration::from_millis(100);
    let beside = Hook {
        mode: Mode::Async,
        timeout,
        ..hook("exec 3>held; sleep 100")
    };
    runner
        .run(Phase::PreStart, &[beside], &context(dir.path()))
        .await;
    assert_eq!(outcomes.recv().await.unwrap().end, HookEnd::TimedOut);
    held.gone().await;
}

#[tokio::test]
async fn cancel_ends_every_tree() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Held::new(dir.path());
    let begun = fifo(dir.path(), "begun");
    let (runner, mut outcomes) = Runner::new();
    let beside = Hook {
        mode: Mode::Async,
        ..hook("exec 3>held; echo >begun; sleep 100 & wait")
    };
    runner
        .run(Phase::PreStart, &[beside], &context(dir.path()))
        .await;
    tokio::task::spawn_blocking(move || std::fs::read(begun).unwrap())
        .await
        .unwrap();
    runner.cancel().await;
    assert_eq!(outcomes.recv().await.unwrap().end, HookEnd::Cancelled);
    held.gone().await;
}

#[tokio::test]
async fn a_dropped_phase_ends_its_hook() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Held::new(dir.path());
    let begun = fifo(dir.path(), "begun");
    let (runner, _outcomes) = Runner::new();
    let hooks = [hook("exec 3>held; echo >begun; sleep 100 & wait")];
    let context = context(dir.path());
    let reached = tokio::task::spawn_blocking(move || std::fs::read(begun).unwrap());
    tokio::select! {
        outcome = runner.run(Phase::PreStart, &hooks, &context) => panic!("ended: {outcome}"),
        _ = reached => {}
    }
    held.gone().await;
}

#[tokio::test]
async fn output_is_bounded_and_a_holder_of_the_pipe_delays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Held::new(dir.path());
    let (runner, _outcomes) = Runner::new();
    let flood = "head -c 1000000 /dev/zero; printf end; (exec 3>held; read x <quit) &";
    fifo(dir.path(), "quit");
    let outcome = runner
        .run(Phase::PostStop, &[hook(flood)], &context(dir.path()))
        .await;
    let outcome = &outcome.outcomes[0];
    assert!(outcome.success(), "{outcome}");
    assert_eq!(outcome.output.len(), proc_hooks::MAX_OUTPUT);
    assert!(outcome.output.ends_with(b"end"));
    assert_eq!(
        outcome.output.len() as u64 + outcome.dropped_bytes,
        1_000_003
    );
    let quit = dir.path().join("quit");
    tokio::task::spawn_blocking(move || std::fs::write(quit, "\n").unwrap())
        .await
        .unwrap();
    held.gone().await;
}

#[tokio::test]
async fn what_cannot_run_is_a_failure_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (runner, _outcomes) = Runner::new();
    let lost = Hook {
        cwd: Some("missing".into()),
        ..hook("true")
    };
    let outcome = runner
        .run(Phase::PreStart, &[lost], &context(dir.path()))
        .await;
    let text = outcome.to_string();
    assert!(
        text.contains("did not run") && text.contains("missing"),
        "{text}"
    );
    let unknown = runner
        .run(Phase::PreStart, &[hook("no-such-x")], &context(dir.path()))
        .await;
    assert_eq!(
        unknown.to_string(),
        "pre_start hooks failed: `it` exited with code 127"
    );
}

#[test]
fn a_slow_hook_never_blocks_its_caller() {
    // One thread does it all: were a hook to block, nothing else would run.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let (runner, _outcomes) = Runner::new();
        let hooks = [hook("sleep 100")];
        let context = context(dir.path());
        let mut turns = 0;
        tokio::select! {
            outcome = runner.run(Phase::PreStart, &hooks, &context) => panic!("ended: {outcome}"),
            () = async { for _ in 0..1000 { tokio::task::yield_now().await; turns += 1; } } => {}
        }
        assert_eq!(turns, 1000);
        runner.cancel().await;
    });
}
