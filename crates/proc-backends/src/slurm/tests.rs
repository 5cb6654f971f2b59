//! Whatever is wrong with Slurm's programs is said clearly, and nothing waits for ever.

use std::error::Error;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use proc_core::{Attributes, ProcessEnd, StopSequence};
use proc_output::LogOptions;
use tempfile::TempDir;

use super::{SlurmBackend, SlurmOptions};
use crate::backend::Backend as _;
use crate::event::{BackendEventKind, BackendEvents};
use crate::spec::{InstanceSpec, StdinMode};
use crate::status::RunState;

/// Programs that stand for Slurm's.
struct Fake(TempDir);

/// What squeue prints of a job: its state, what wait(2) said, restarts and node; the name is the one submitted.
const ROW: &str = "row() { echo \"7;$1;100;110;120;$2;$3;$4;None;$(cat \"$D/name\");\"; }";
/// Takes a job and remembers its name.
const SBATCH: &str =
    r#"for a; do case $a in --job-name=*) echo "${a#*=}" > "$D/name";; esac; done; echo 7"#;

impl Fake {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn program(&self, name: &str, script: &str) -> &Self {
        let path = self.0.path().join(name);
        let dir = self.0.path().display();
        std::fs::write(&path, format!("#!/bin/sh\nD='{dir}'\n{ROW}\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn options(&self) -> SlurmOptions {
        let at = |name: &str| self.0.path().join(name).display().to_string();
        let path = ("PATH".to_owned(), "/usr/bin:/bin".to_owned());
        SlurmOptions {
            sbatch: at("sbatch"),
            squeue: at("squeue"),
            scancel: at("scancel"),
            sinfo: at("sinfo"),
            busy: Duration::from_millis(10),
            settled: Duration::from_millis(10),
            ..SlurmOptions::new(self.0.path().join("state"), [path].into())
        }
    }

    fn backend(&self) -> (SlurmBackend, BackendEvents) {
        let backend = SlurmBackend::new(self.options());
        let events = backend.events().unwrap();
        (backend, events)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
    }
}

fn spec(instance: &str) -> InstanceSpec {
    InstanceSpec {
        project: "shop".into(),
        service: instance.into(),
        instance: instance.into(),
        index: 1,
        argv: vec!["/bin/true".into()],
        env: vec![("SECRET".into(), "hunter2".into())],
        cwd: "/".into(),
        attributes: Attributes::default(),
        stdin: StdinMode::Null,
        log: LogOptions::default(),
        listen: Vec::new(),
        notify_fd: None,
        detached: false,
        die_with_supervisor: false,
        stop: StopSequence::default(),
        last_run: 0,
        foreign: Vec::new(),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text.push_str(": ");
        text.push_str(&next.to_string());
        source = next.source();
    }
    text
}

async fn exit(events: &mut BackendEvents) -> (crate::status::Exit, Vec<BackendEventKind>) {
    let mut before = Vec::new();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
        match event.unwrap().unwrap().kind {
            BackendEventKind::Exited(exit) => return (exit, before),
            other => before.push(other),
        }
    }
}

#[tokio::test]
async fn each_failure_has_a_text_of_its_own() {
    let down = "echo 'x: error: Batch job submission failed: Unable to contact slurm controller (connect failure)' >&2; exit 1";
    for (sbatch, says) in [
        (
            down,
            "no service manager to talk to: Batch job submission failed: Unable to contact",
        ),
        (
            "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1",
            "invalid partition specified: x",
        ),
        (
            "echo 'sbatch: error: Access/permission denied' >&2; exit 1",
            "not allowed",
        ),
        ("head -c 100000 /dev/urandom", "makes no sense"),
        ("exit 0", "makes no sense"),
        ("kill -9 $$", "code 137"),
        (
            "echo 'sbatch: error: Batch job submission failed: Protocol authentication error' >&2; exit 1",
            "no service manager",
        ),
    ] {
        let fake = Fake::new();
        fake.program("sbatch", sbatch).program("scancel", "");
        let error = fake.backend().0.start(spec("web")).await.unwrap_err();
        let text = chain(&error);
        assert!(
            text.contains(says) && !text.contains('\n'),
            "{sbatch}: {text}"
        );
    }
    let fake = Fake::new();
    let error = fake.backend().0.start(spec("web")).await.unwrap_err();
    assert!(
        chain(&error).contains("sbatch` not found"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_hanging_submission_is_bounded_and_taken_back_by_name() {
    let fake = Fake::new();
    fake.program("sbatch", "sleep 1000")
        .program("scancel", r#"echo "$@" >> "$D/cancelled""#);
    let options = SlurmOptions {
        timeout: Duration::from_millis(500),
        ..fake.options()
    };
    let begun = Instant::now();
    let error = SlurmBackend::new(options)
        .start(spec("web"))
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("did not answer within 0.5s"),
        "{}",
        chain(&error)
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
    let cancelled = fake.read("cancelled");
    assert!(cancelled.contains("--name=web.shop.1."), "{cancelled}");
}

#[tokio::test]
async fn names_that_would_be_something_else_are_refused() {
    let fake = Fake::new();
    fake.program("sbatch", SBATCH).program("scancel", "");
    for name in ["--wrap=reboot", "a\nb", "../x"] {
        let mut bad = spec("x");
        bad.instance = name.into();
        let error = fake.backend().0.start(bad).await.unwrap_err();
        let why = error.source().unwrap().to_string();
        assert!(
            why.contains("not valid") && !why.contains('\n'),
            "{name:?}: {why}"
        );
    }
    for (key, value, says) in [
        ("unit", "x", "unit is not possible"),
        ("slurm.partition", "a\nb", "control character"),
    ] {
        let mut bad = spec("x");
        bad.foreign = vec![(key.into(), value.into())];
        let text = chain(&fake.backend().0.start(bad).await.unwrap_err());
        assert!(text.contains(says), "{text}");
    }
    assert_eq!(fake.read("name"), "", "nothing was submitted");
}

#[tokio::test]
async fn nothing_secret_is_on_a_command_line_and_nothing_of_the_environment_stays() {
    let fake = Fake::new();
    let script = r#"tr '\0' '\n' < /proc/$$/cmdline > "$D/line"
for a; do case $a in --job-name=*) echo "${a#*=}" > "$D/name";; --export-file=*) cat "${a#*=}" > "$D/exported";; esac; done
env > "$D/sees"; echo 7"#;
    fake.program("sbatch", script)
        .program("squeue", "row COMPLETED 0 0 n1");
    let mut options = fake.options();
    options
        .env
        .insert("SBATCH_PARTITION".into(), "elsewhere".into());
    options.env.insert("SLURM_CONF".into(), "/x".into());
    let backend = SlurmBackend::new(options);
    let mut events = backend.events().unwrap();
    backend.start(spec("web")).await.unwrap();
    assert_eq!(exit(&mut events).await.0.end, Some(ProcessEnd::Exited(0)));
    assert_eq!(fake.read("exported"), "SECRET=hunter2\0");
    assert!(
        !fake.read("line").contains("hunter2"),
        "{}",
        fake.read("line")
    );
    let sees = fake.read("sees");
    assert!(
        sees.contains("SLURM_CONF=/x") && !sees.contains("SBATCH_PARTITION"),
        "{sees}"
    );
    let records = fake.0.path().join("state/slurm/web");
    let left: Vec<_> = std::fs::read_dir(records)
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(left, ["record.json"]);
}

#[tokio::test]
async fn a_requeue_is_told_with_its_cause_and_silence_is_no_end() {
    let fake = Fake::new();
    // Each question finds the job one step on; twice Slurm says nothing that makes sense.
    let squeue = r#"n=$(cat "$D/asked" 2>/dev/null || echo 0); echo $((n+1)) > "$D/asked"
case $n in 0) row PENDING 0 0 n/a;; 1) row RUNNING 0 0 n1;; 2) echo nonsense;; 3) exit 1;; 4) row RUNNING 0 0 n1;;
5) row COMPLETING 0 1 n1;; 6) row PENDING 0 1 n/a;; 7|8|9) row RUNNING 0 1 n2;; *) row FAILED 1792 1 n2;; esac"#;
    fake.program("sbatch", SBATCH)
        .program("squeue", squeue)
        .program("sinfo", "echo 'down*;Not responding'");
    let (backend, mut events) = fake.backend();
    let started = backend.start(spec("web")).await.unwrap();
    assert_eq!((started.pid, started.identity.pid), (0, 7));
    let (exit, before) = exit(&mut events).await;
    assert_eq!(exit.end, Some(ProcessEnd::Exited(7)));
    let cause = "job 7 was requeued by Slurm (restart 1): node n1 is down and does not answer (Not responding)";
    let lost: Vec<_> = before
        .iter()
        .filter(|kind| matches!(kind, BackendEventKind::Lost { .. }))
        .collect();
    assert_eq!(
        lost,
        [&BackendEventKind::Lost {
            cause: cause.into()
        }]
    );
    let recovered = |kind: &&BackendEventKind| matches!(kind, BackendEventKind::Recovered { .. });
    assert_eq!(before.iter().filter(recovered).count(), 1, "{before:?}");
    let told = |text: &str| before.iter().any(|kind| format!("{kind:?}").contains(text));
    assert!(
        told("makes no sense") && told("job 7 runs on n2"),
        "{before:?}"
    );
}

#[tokio::test]
async fn what_makes_no_sense_of_one_job_says_nothing_about_the_others() {
    let fake = Fake::new();
    fake.program(
        "squeue",
        "row RUNNING 0 0 n1; echo '8;RUNNING;when;110;120;0;0;n1;None;x;'",
    );
    std::fs::write(fake.0.path().join("name"), "web").unwrap();
    let tool = super::tool::Tool::new(fake.options());
    let jobs = tool.look(&[7, 8, 9]).await.unwrap();
    let node = jobs[&7].clone().unwrap().unwrap().node;
    assert_eq!((node.as_str(), &jobs[&9]), ("n1", &Ok(None)));
    let told = jobs[&8].clone().unwrap_err();
    assert!(told.contains("makes no sense"), "{told}");
}

#[tokio::test]
async fn a_job_that_vanished_or_whose_number_is_used_again_has_no_guessed_end() {
    for vanished in [
        "true",
        "echo '7;COMPLETED;900;910;920;0;0;n1;None;somebody-elses;'",
    ] {
        let fake = Fake::new();
        let squeue =
            format!(r#"if [ -e "$D/gone" ]; then {vanished}; else row RUNNING 0 0 n1; fi"#);
        fake.program("sbatch", SBATCH).program("squeue", &squeue);
        let (backend, mut events) = fake.backend();
        backend.start(spec("web")).await.unwrap();
        std::fs::write(fake.0.path().join("gone"), "").unwrap();
        let (exit, _) = exit(&mut events).await;
        assert_eq!(exit.end, None);
        let why = exit.unknown.unwrap();
        assert!(why.contains("no longer knows job 7"), "{why}");
    }
}

#[tokio::test]
async fn a_start_in_the_queue_can_be_called_off() {
    let fake = Fake::new();
    fake.program("sbatch", SBATCH)
        .program(
            "squeue",
            r#"if [ -e "$D/off" ]; then row CANCELLED 0 0 n/a; else row PENDING 0 0 n/a; fi"#,
        )
        .program("scancel", r#"echo "$@" > "$D/off""#);
    let (backend, mut events) = fake.backend();
    let starting = backend.start(spec("web"));
    let calling = async {
        // Once it is told that it waits, it is in the queue.
        while !matches!(
            events.next().await.unwrap().kind,
            BackendEventKind::Trouble { .. }
        ) {}
        backend.call_off("web").await;
    };
    let (started, ()) = tokio::join!(starting, calling);
    let text = chain(&started.unwrap_err());
    assert!(
        text.contains("job 7") && text.contains("called off"),
        "{text}"
    );
    assert_eq!(fake.read("off"), "7\n");
    let status = backend.status("web").await.unwrap();
    assert_eq!(status.state, RunState::Idle);
}

#[tokio::test]
async fn a_submission_whose_answer_was_lost_is_found_by_its_name() {
    let fake = Fake::new();
    fake.program("sbatch", SBATCH)
        .program("squeue", "row RUNNING 0 0 n1");
    let (backend, _events) = fake.backend();
    backend.start(spec("web")).await.unwrap();
    drop(backend);
    let path = fake.0.path().join("state/slurm/web/record.json");
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let text = record.to_string();
    assert!(text.contains(r#""job":{"#), "{text}");
    record["job"] = serde_json::Value::Null;
    record["started"] = serde_json::Value::Null;
    std::fs::write(&path, record.to_string()).unwrap();
    let (next, _events) = fake.backend();
    let adopted = next.adopt("web").await.unwrap().unwrap();
    assert!(
        matches!(&adopted.status.state, RunState::Running(started) if started.identity.pid == 7),
        "{adopted:?}"
    );
}

#[tokio::test]
async fn without_an_answer_a_job_on_record_is_taken_to_run() {
    let fake = Fake::new();
    fake.program("sbatch", SBATCH)
        .program("squeue", "row RUNNING 0 0 n1");
    let (backend, _events) = fake.backend();
    backend.start(spec("web")).await.unwrap();
    drop(backend);
    fake.program("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1");
    let (next, mut events) = fake.backend();
    let adopted = next.adopt("web").await.unwrap().unwrap();
    assert!(
        matches!(adopted.status.state, RunState::Running(_)),
        "{adopted:?}"
    );
    assert!(
        adopted.status.degraded[0].contains("Unable to contact"),
        "{adopted:?}"
    );
    // A second copy must not come to be.
    assert!(next.start(spec("web")).await.is_err());
    fake.program("squeue", "row FAILED 768 0 n1");
    assert_eq!(exit(&mut events).await.0.end, Some(ProcessEnd::Exited(3)));
}
