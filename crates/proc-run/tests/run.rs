//! One-shot commands: the scenarios of their predecessors, and what those got wrong.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test may"
)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use proc_run::{
    Cause, Command, Environment, FindError, Finished, Output, Program, Run, RunError, Script,
    Signal, StopSequence, Stream,
};

fn sh(line: &str) -> Run {
    Run::new(Command::shell(line))
}

async fn finish(run: Run) -> Finished {
    let finished = tokio::time::timeout(Duration::from_secs(60), run.run()).await;
    finished.expect("it ends in time").unwrap()
}

/// A FIFO whose end of file tells that everybody who held it is gone.
struct Held {
    path: PathBuf,
    reader: std::thread::JoinHandle<Vec<u8>>,
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
        Held { path, reader }
    }

    async fn gone(self) -> Vec<u8> {
        let joined = tokio::task::spawn_blocking(move || self.reader.join().unwrap());
        tokio::time::timeout(Duration::from_secs(60), joined)
            .await
            .expect("in time")
            .unwrap()
    }
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

#[tokio::test]
async fn combined_output_on_failure() {
    let finished = finish(sh("echo out; echo err >&2; echo out again; exit 255")).await;
    assert_eq!(
        finished.output.to_text(),
        "out\nerr\nout again\n",
        "in the order written"
    );
    assert_eq!((finished.success(), finished.exit_code()), (false, 255));
    assert_eq!(finished.to_string(), "exited with code 255");
    let json = serde_json::to_value(&finished).unwrap();
    assert_eq!(json["end"]["exited"], 255);
    assert_eq!(json["output"], "out\nerr\nout again\n");
}

#[tokio::test]
async fn exit_codes_are_exact() {
    for (line, code) in [
        ("exit 42", 42),
        ("no-such-command-here", 127),
        ("kill -9 $$", 137),
    ] {
        assert_eq!(finish(sh(line)).await.exit_code(), code, "{line}");
    }
    let missing = Run::new(Command::new("no-such-command-here"))
        .run()
        .await
        .unwrap_err();
    assert!(
        matches!(&missing, RunError::Spawn(error) if error.exit_code() == 127),
        "{missing}"
    );
    let denied = Run::new(Command::new("/etc/passwd"))
        .run()
        .await
        .unwrap_err();
    assert!(
        matches!(&denied, RunError::Spawn(error) if error.exit_code() == 126),
        "{denied}"
    );
}

#[tokio::test]
async fn cancel_with_output() {
    let dir = tempfile::tempdir().unwrap();
    let held = Held::new(dir.path());
    let (seen, mut came) = tokio::sync::mpsc::unbounded_channel();
    let line = format!("exec 3>{}; echo hello; sleep 60", held.path.display());
    let run = sh(&line).on_output(move |stream, bytes| {
        assert_eq!(stream, Stream::Stdout);
        drop(seen.send(bytes.to_vec()));
    });
    let begin = Instant::now();
    let finished = run
        .run_until(async { drop(came.recv().await) })
        .await
        .unwrap();
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "it returns promptly"
    );
    assert_eq!(
        (finished.cause, finished.output.to_text().as_str()),
        (Cause::Cancelled, "hello\n")
    );
    held.gone().await;
}

#[tokio::test]
async fn a_dropped_run_ends_its_tree() {
    let dir = tempfile::tempdir().unwrap();
    let held = Held::new(dir.path());
    let begun = fifo(dir.path(), "begun");
    let line = format!(
        "exec 3>{}; echo >{}; sleep 60",
        held.path.display(),
        begun.display()
    );
    let run = sh(&line);
    tokio::select! {
        finished = run.run() => panic!("ended: {finished:?}"),
        _ = tokio::task::spawn_blocking(move || std::fs::read(begun).unwrap()) => {}
    }
    held.gone().await;
}

#[tokio::test]
async fn timeout_and_grace() {
    // A handler of TERM is run, and what it prints is kept.
    let line = "trap 'echo bye; exit 3' TERM; echo up; sleep 60 & wait";
    let finished = finish(sh(line).timeout(Duration::from_millis(700))).await;
    assert_eq!(finished.output.to_text(), "up\nbye\n");
    assert_eq!((finished.exit_code(), finished.shell_code()), (124, 3));
    // Who ignores TERM is killed after the grace.
    let stop = StopSequence::graceful(Signal::TERM, Some(Duration::from_millis(100)));
    let stubborn = sh("trap '' TERM; sleep 60")
        .timeout(Duration::from_millis(700))
        .stop(stop);
    let finished = finish(stubborn).await;
    assert_eq!((finished.exit_code(), finished.timed_out()), (137, true));
    assert!(finished.stop.unwrap().escalated);
}

#[tokio::test]
async fn close_is_quick() {
    let begin = Instant::now();
    let finished = finish(sh("sleep 100 & echo done")).await;
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(finished.success(), "{finished}");
    assert_eq!(finished.output.to_text(), "done\n");
}

#[tokio::test]
async fn background_killed_by_default() {
    // K3: also one that ignores TERM, after its leader has ended.
    let dir = tempfile::tempdir().unwrap();
    let held = Held::new(dir.path());
    let line = format!(
        "exec 3>{}; (trap '' TERM; sleep 100) & exit 0",
        held.path.display()
    );
    let stop = StopSequence::graceful(Signal::TERM, Some(Duration::from_millis(200)));
    let finished = finish(sh(&line).stop(stop)).await;
    assert!(finished.success(), "{finished}");
    held.gone().await;
}

#[tokio::test]
async fn background_survives_when_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (go, marker) = (fifo(dir.path(), "go"), fifo(dir.path(), "marker"));
    let line = format!(
        "(read x <{}; echo survived >{}) >/dev/null 2>&1 & exit 0",
        go.display(),
        marker.display()
    );
    let finished = finish(sh(&line).allow_detached(true)).await;
    assert!(finished.success());
    let text = tokio::task::spawn_blocking(move || {
        std::fs::write(go, "\n").unwrap();
        std::fs::read_to_string(marker).unwrap()
    });
    assert_eq!(text.await.unwrap(), "survived\n");
}

#[tokio::test]
async fn background_survives_a_timeout_when_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (go, marker) = (fifo(dir.path(), "go"), fifo(dir.path(), "marker"));
    let line = format!(
        "setsid sh -c 'read x <{}; echo survived >{}' >/dev/null 2>&1 & exec sleep 1000",
        go.display(),
        marker.display()
    );
    let run = sh(&line).allow_detached(true);
    let finished = finish(run.timeout(Some(Duration::from_millis(600)))).await;
    assert_eq!(finished.cause, Cause::TimedOut, "{finished}");
    let text = tokio::task::spawn_blocking(move || {
        // Somebody reads it, or it cannot be opened without waiting.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        let go = rustix::fs::open(&go, flags, Mode::empty()).expect("it lives");
        rustix::io::write(go, b"\n").unwrap();
        std::fs::read_to_string(marker).unwrap()
    });
    assert_eq!(text.await.unwrap(), "survived\n");
}

#[tokio::test]
async fn a_grandchild_that_holds_the_output_delays_nothing() {
    // K7
    let dir = tempfile::tempdir().unwrap();
    let go = fifo(dir.path(), "go");
    let line = format!("(read x <{}) & echo out", go.display());
    let finished = finish(sh(&line).allow_detached(true)).await;
    assert_eq!(finished.output.to_text(), "out\n");
    tokio::task::spawn_blocking(move || std::fs::write(go, "\n").unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_last_64_kib_before_the_exit_are_complete() {
    // K8
    for _ in 0..50 {
        let finished = finish(sh("head -c 65536 /dev/zero; echo end")).await;
        assert_eq!(finished.output.len(), 65_540);
        assert!(finished.output.to_bytes().ends_with(b"\0end\n"));
    }
}

#[tokio::test]
async fn two_streams_heavy() {
    // K6
    let line = "head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero; echo end";
    let finished = finish(sh(line).output(Output::Separate { limit: 2_000_000 })).await;
    assert_eq!(
        (finished.output.len(), finished.stderr.len()),
        (1_000_004, 1_000_000)
    );
}

#[tokio::test]
async fn bytes_are_bytes_and_memory_is_bounded() {
    // K5
    let line = "head -c 10000000 /dev/zero | tr '\\0' x; printf '\\377\\0\\376no newline'";
    let finished = finish(sh(line).output(Output::Combined { limit: 20_000_000 })).await;
    assert_eq!(finished.output.len(), 10_000_013);
    assert!(
        finished
            .output
            .to_bytes()
            .ends_with(b"xx\xff\0\xfeno newline")
    );
    let finished = finish(sh(line).output(Output::Combined { limit: 100 })).await;
    assert_eq!(
        (finished.output.len(), finished.output.dropped()),
        (100, 9_999_913)
    );
}

#[tokio::test]
async fn a_callers_file_is_never_closed() {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    let shared = std::sync::Arc::new(file.try_clone().unwrap());
    let run = sh("echo one; echo two >&2").output(Output::File(shared));
    assert!(finish(run.clone()).await.success());
    assert!(finish(run).await.success());
    file.write_all(b"mine\n").unwrap();
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\none\ntwo\nmine\n");
}

#[tokio::test]
async fn restarts() {
    let dir = tempfile::tempdir().unwrap();
    let policy = Run::on_error(Some(3), Duration::from_millis(10));
    let mut codes = Vec::new();
    let run = sh(&format!(
        "echo x >>{}; exit 1",
        dir.path().join("runs").display()
    ));
    let repeated = run
        .run_repeatedly(&policy, std::future::pending(), |_, last| {
            codes.push(last.exit_code())
        })
        .await
        .unwrap();
    assert_eq!(
        (repeated.runs, codes),
        (4, vec![1; 4]),
        "1 + 3 runs, each error seen"
    );
    assert_eq!(
        std::fs::read_to_string(dir.path().join("runs")).unwrap(),
        "x\n".repeat(4)
    );

    let third = format!(
        "cd {}; echo x >>tries; test $(wc -l <tries) = 3",
        dir.path().display()
    );
    let policy = Run::on_error(None, Duration::from_millis(1));
    let repeated = sh(&third)
        .run_repeatedly(&policy, std::future::pending(), |_, _| {})
        .await
        .unwrap();
    assert_eq!((repeated.runs, repeated.last.success()), (3, true));

    let endless = Run::on_error(None, Duration::from_secs(1000));
    let (ended, mut once) = tokio::sync::mpsc::unbounded_channel();
    let cancelled = async {
        let _ended = once.recv().await;
    };
    let repeated = sh("exit 1")
        .run_repeatedly(&endless, cancelled, |_, _| {
            let _nobody = ended.send(());
        })
        .await
        .unwrap();
    assert_eq!(repeated.reason, "cancelled", "also between two runs");
}

#[tokio::test]
async fn the_environment_is_inherited_or_replaced() {
    let line = "echo $A,${PATH:+path}";
    let own = Environment::inherited().with(["A=1"]).unwrap();
    let finished = finish(Run::new(Command::shell(line).environment(own))).await;
    assert_eq!(finished.output.to_text(), "1,path\n");
    let replaced = Environment::empty().with(["A=2"]).unwrap();
    let env = Command::new("/usr/bin/env").environment(replaced);
    assert_eq!(finish(Run::new(env)).await.output.to_text(), "A=2\n");
}

#[tokio::test]
async fn programs_are_found_or_said_not_to_be() {
    let echo = Program::find("echo").unwrap();
    assert!(echo.path().is_absolute());
    assert_eq!(echo.run(["a  b"]).await.unwrap().output.to_text(), "a  b\n");
    let pwd = Program::find("pwd").unwrap();
    assert_eq!(
        pwd.run_in("/usr", ["-P"]).await.unwrap().output.to_text(),
        "/usr\n"
    );
    let error = Program::find("no-such-program").unwrap_err();
    assert!(matches!(&error, FindError::NotInPath { name, .. } if name == "no-such-program"));
    let message = Program::find("/no/such/program").unwrap_err().to_string();
    assert_eq!(message, "program `/no/such/program` not found");
    assert!(matches!(
        Program::find("/etc/passwd"),
        Err(FindError::NotExecutable(_))
    ));
    assert!(pwd.run_in("/no/such/dir", [""; 0]).await.is_err());
}

#[tokio::test]
async fn parallel_tail_cleanup() {
    let dir = tempfile::tempdir().unwrap();
    let held = Held::new(dir.path());
    for name in ["a", "b"] {
        std::fs::write(dir.path().join(name), "text\n").unwrap();
    }
    let text = "exec 3>held; tail -f a & tail -f b & wait";
    let prepared = Script::text(text).cwd(dir.path()).prepare().unwrap();
    let (seen, mut came) = tokio::sync::mpsc::unbounded_channel();
    let run = prepared.to_run().on_output(move |_, bytes| {
        let _nobody = seen.send(bytes.len());
    });
    let both = async {
        let mut total = 0;
        while total < 10 {
            total += came.recv().await.unwrap();
        }
    };
    let finished = run.run_until(both).await.unwrap();
    assert_eq!(finished.output.to_text(), "text\ntext\n");
    held.gone().await;
}
