//! Pipelines of real processes.

use std::path::Path;
use std::time::Duration;

use proc_run::{
    Pipeline, PipelineEvent, PipelineMode, PipelineOptions, PipelineOutcome, Signal, StopSequence,
    Task, TaskStatus,
};

async fn run(tasks: Vec<Task>, options: &PipelineOptions) -> PipelineOutcome {
    let pipeline = Pipeline::new(tasks).expect("a valid pipeline");
    let run = pipeline.run(options, std::future::pending(), |_| {});
    tokio::time::timeout(Duration::from_secs(120), run)
        .await
        .expect("it ends in time")
}

fn fates(outcome: &PipelineOutcome) -> String {
    let fate = |task: &proc_run::TaskOutcome| match task.status {
        TaskStatus::Passed => 'p',
        TaskStatus::Failed => 'f',
        TaskStatus::Skipped => 's',
    };
    outcome.tasks.iter().map(fate).collect()
}

fn log(dir: &Path, name: &str) -> Task {
    Task::shell(name, format!("echo {name} >>{}", dir.join("log").display()))
}

#[tokio::test]
async fn dependencies_order_and_input_order_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let tasks = vec![
        log(dir, "c").after(["b"]),
        log(dir, "b").after(["a"]),
        log(dir, "a"),
    ];
    let outcome = run(tasks, &PipelineOptions::default()).await;
    assert!(outcome.success);
    assert_eq!(
        std::fs::read_to_string(dir.join("log")).unwrap(),
        "a\nb\nc\n"
    );
    let names: Vec<&str> = outcome
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    assert_eq!(names, ["c", "b", "a"]);
}

#[tokio::test]
async fn failure_skips_two_descendants() {
    let tasks = vec![
        Task::shell("a", "echo broken; exit 3"),
        Task::shell("b", "true").after(["a"]),
        Task::shell("c", "true").after(["b"]),
    ];
    let outcome = run(tasks, &PipelineOptions::default()).await;
    assert_eq!((outcome.passed, outcome.failed, outcome.skipped), (0, 1, 2));
    assert!(!outcome.success);
    assert_eq!(outcome.tasks[0].exit_code, Some(3));
    assert_eq!(outcome.tasks[0].output.to_text(), "broken\n");
    let reasons: Vec<_> = outcome
        .tasks
        .iter()
        .map(|task| task.reason.clone().unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "exited with code 3",
            "skipped due to dependency failure: `a`",
            "skipped due to dependency failure: `b`"
        ]
    );
}

#[tokio::test]
async fn allow_failure() {
    let tasks = vec![
        Task::shell("a", "exit 1").allow_failure(true),
        Task::shell("b", "true").after(["a"]),
        Task::shell("c", "true").after(["b"]),
    ];
    let outcome = run(tasks, &PipelineOptions::default()).await;
    assert_eq!((outcome.passed, outcome.failed, outcome.skipped), (2, 1, 0));
    assert!(
        outcome.success,
        "an allowed failure is none of the pipeline"
    );
}

#[tokio::test]
async fn no_waves() {
    // `fast2` must not wait for `slow`, the sibling of what it comes after: `slow` ends only when
    // `fast2` has begun, so waves would wait for ever.
    let dir = tempfile::tempdir().unwrap();
    let sign = dir.path().join("sign");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&sign)
            .status()
            .unwrap()
            .success()
    );
    let tasks = vec![
        Task::shell("fast", "true"),
        Task::shell("slow", format!("cat {}", sign.display())),
        Task::shell("fast2", format!("echo go >{}", sign.display())).after(["fast"]),
    ];
    let outcome = run(tasks, &PipelineOptions::default()).await;
    assert_eq!(fates(&outcome), "ppp");
    assert_eq!(outcome.tasks[1].output.to_text(), "go\n");
}

#[tokio::test]
async fn sequential_and_parallel() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let sequential = PipelineOptions {
        mode: PipelineMode::Sequential,
        ..PipelineOptions::default()
    };
    let tasks = vec![
        log(dir, "a"),
        Task::shell("b", "exit 1").allow_failure(true),
        log(dir, "c"),
        Task::shell("d", "exit 1"),
        log(dir, "e"),
    ];
    let outcome = run(tasks.clone(), &sequential).await;
    assert_eq!(fates(&outcome), "pfpfs");
    assert_eq!(std::fs::read_to_string(dir.join("log")).unwrap(), "a\nc\n");
    assert_eq!(
        outcome.tasks[4].reason.as_deref(),
        Some("skipped after the failure of `d`")
    );

    let parallel = PipelineOptions {
        mode: PipelineMode::Parallel,
        ..PipelineOptions::default()
    };
    let mut tasks = tasks;
    tasks[0].after = vec!["d".into()];
    assert_eq!(
        fates(&run(tasks, &parallel).await),
        "pfpfp",
        "whatever they come after"
    );
}

#[tokio::test]
async fn jobs_bound_how_many_run_at_once() {
    let tasks: Vec<Task> = (0..12)
        .map(|i| Task::shell(format!("t{i}"), "sleep 0.05"))
        .collect();
    let pipeline = Pipeline::new(tasks).unwrap();
    for jobs in [1, 3] {
        let options = PipelineOptions {
            jobs,
            ..PipelineOptions::default()
        };
        let (mut now, mut most) = (0, 0);
        let outcome = pipeline
            .run(&options, std::future::pending(), |event| {
                match event {
                    PipelineEvent::Started { .. } => now += 1,
                    PipelineEvent::Settled { .. } => now -= 1,
                }
                most = most.max(now);
            })
            .await;
        assert!(outcome.success);
        assert_eq!(most, jobs);
    }
}

#[tokio::test]
async fn fail_fast_ends_the_others() {
    let options = PipelineOptions {
        fail_fast: true,
        ..PipelineOptions::default()
    };
    let tasks = vec![
        Task::shell("slow", "sleep 100"),
        Task::shell("bad", "exit 7"),
        Task::shell("later", "true").after(["slow"]),
        Task::shell("child", "true").after(["bad"]),
    ];
    let outcome = run(tasks, &options).await;
    assert_eq!(fates(&outcome), "ffss");
    assert_eq!(outcome.tasks[0].reason.as_deref(), Some("cancelled"));
    assert!(
        outcome.tasks[2]
            .reason
            .as_deref()
            .unwrap()
            .contains("fails fast")
    );
    assert!(!outcome.success && !outcome.cancelled);
}

#[tokio::test]
async fn cancelled() {
    let (started, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let tasks = vec![
        Task::shell("slow", "sleep 100"),
        Task::shell("b", "true").after(["slow"]),
    ];
    let pipeline = Pipeline::new(tasks).unwrap();
    let cancel = async {
        let _slow = begun.recv().await;
    };
    let outcome = pipeline
        .run(&PipelineOptions::default(), cancel, |event| {
            if let PipelineEvent::Started { position, .. } = event {
                let _nobody = started.send(position);
            }
        })
        .await;
    assert_eq!(
        (fates(&outcome).as_str(), outcome.cancelled, outcome.success),
        ("fs", true, false)
    );
    assert_eq!(
        outcome.tasks[1].reason.as_deref(),
        Some("the pipeline was cancelled")
    );
}

#[tokio::test]
async fn a_task_has_its_own_timeout_and_what_cannot_run_fails() {
    let stop = StopSequence::graceful(Signal::TERM, Some(Duration::from_millis(100)));
    let options = PipelineOptions {
        stop,
        ..PipelineOptions::default()
    };
    let tasks = vec![
        Task::shell("slow", "sleep 100").timeout(Duration::from_millis(100)),
        Task::argv("missing", ["no-such-program"]),
        Task::argv("denied", ["/etc/passwd"]),
        Task {
            cwd: Some("/no/such/dir".into()),
            ..Task::argv("lost", ["true"])
        },
        Task {
            env: [("A".into(), "1".into())].into(),
            ..Task::shell("env", "test $A = 1")
        },
        Task::shell("signal", "kill -USR1 $$"),
    ];
    let outcome = run(tasks, &options).await;
    assert_eq!(fates(&outcome), "ffffpf");
    let codes: Vec<_> = outcome
        .tasks
        .iter()
        .map(|task| task.exit_code.unwrap())
        .collect();
    assert_eq!(codes, [124, 127, 126, 125, 0, 138]);
    assert!(outcome.tasks[0].timed_out);
    assert_eq!(outcome.tasks[5].signal, Some(10));
}

#[tokio::test]
async fn the_outcome_is_json() {
    let tasks = vec![Task::shell("a", "echo hi"), Task::shell("b", "exit 2")];
    let outcome = run(tasks, &PipelineOptions::default()).await;
    let json = serde_json::to_value(&outcome).unwrap();
    assert_eq!(json["success"], false);
    assert_eq!(
        (json["passed"].as_u64(), json["failed"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(json["tasks"][0]["name"], "a");
    assert_eq!(json["tasks"][0]["status"], "passed");
    assert_eq!(json["tasks"][0]["output"], "hi\n");
    assert_eq!(json["tasks"][1]["exit_code"], 2);
    assert!(json["tasks"][1]["duration_ms"].is_u64());
}

#[tokio::test]
async fn two_thousand_tasks_in_a_random_graph() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let tasks = (0..2000)
        .map(|i: usize| {
            let after: Vec<String> = (0..i.min(2)).map(|_| format!("t{}", random(i))).collect();
            Task::argv(format!("t{i}"), ["true"]).after(after)
        })
        .collect();
    let outcome = run(tasks, &PipelineOptions::default()).await;
    let wrong = outcome.tasks.iter().find(|task| task.reason.is_some());
    assert_eq!(outcome.passed, 2000, "{wrong:?}");
}
