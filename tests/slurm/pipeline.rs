//! `proc pipeline --backend slurm`, against the same file on this machine where that says the same.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use proc_tests::{Outcome, Project, full};
use serde_json::Value;

use crate::bed::Bed;

fn project(bed: &Bed, tasks: &str) -> Project {
    let mut project = Project::new();
    project.write("tasks.toml", tasks);
    for (key, value) in bed.env() {
        project.env(&key, value);
    }
    project
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"))
}

/// What of each task does not depend on where it was run.
fn fates(outcome: &Value) -> Vec<String> {
    let tasks = outcome["tasks"].as_array().unwrap().iter();
    let keys = [
        "name",
        "status",
        "exit_code",
        "signal",
        "timed_out",
        "reason",
        "output",
    ];
    tasks
        .map(|task| keys.map(|key| task[key].to_string()).join(" "))
        .collect()
}

const MIXED: &str = r#"
[[task]]
name = "fetch"
command = "echo fetched $WHAT"
env = { WHAT = "it's" }
[[task]]
name = "lint"
command = "echo bad; exit 3"
allow_failure = true
after = ["fetch"]
[[task]]
name = "build"
command = "exit 7"
after = ["fetch", "lint"]
slurm = { cpus = 1, memory = "10MiB" }
[[task]]
name = "may"
command = "true"
allow_failure = true
after = ["build"]
[[task]]
name = "never"
command = "echo never"
after = ["may"]
[[task]]
name = "slow"
command = "exec sleep 1000"
timeout = "1s"
"#;

#[test]
fn the_result_is_what_the_local_runner_tells() {
    let Some(bed) = Bed::up() else { return };
    let project = project(&bed, MIXED);
    let cluster = project.run(&[
        "--json",
        "pipeline",
        "--backend",
        "slurm",
        "--slurm",
        "time=10m",
        "tasks.toml",
    ]);
    let local = MIXED.replace("slurm = {", "env = {");
    project.write("local.toml", local);
    let local = project.run(&["--json", "pipeline", "local.toml"]);
    assert_eq!((cluster.code, local.code), (1, 1), "{cluster:?}");
    let (cluster, local) = (json(&cluster), json(&local));
    let told = fates(&cluster);
    for (here, there) in fates(&local).iter().zip(&told) {
        // How long it took until the time was over differs; that it was over does not.
        let same =
            here == there || here.contains("timed out after") && there.contains("timed out after");
        assert!(same, "{here}\n{there}");
    }
    for key in ["success", "cancelled", "passed", "failed", "skipped"] {
        assert_eq!(cluster[key], local[key], "{key}");
    }
    bed.until_empty();
    let left: Vec<_> = std::fs::read_dir(project.dir())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with(".proc-pipeline")),
        "{left:?}"
    );
}

#[test]
fn a_failure_fails_fast_and_ctrl_c_takes_everything_back() {
    let Some(bed) = Bed::up() else { return };
    let tasks = "[[task]]\nname='long'\ncommand='echo up; test ! -p begun || echo >begun; exec sleep 1000'\n[[task]]\nname='bad'\ncommand='sleep 2; exit 1'\n[[task]]\nname='last'\nafter=['long']\ncommand='true'\n";
    let project = project(&bed, tasks);
    let fast = [
        "--json",
        "pipeline",
        "--backend",
        "slurm",
        "--fail-fast",
        "tasks.toml",
    ];
    let outcome = project.run(&fast);
    let told = json(&outcome);
    assert_eq!(
        (outcome.code, &told["cancelled"]),
        (1, &false.into()),
        "{told}"
    );
    assert_eq!(told["tasks"][0]["reason"], "cancelled");
    let skipped = told["tasks"][2]["reason"].as_str().unwrap();
    assert_eq!(
        skipped,
        "skipped because `bad` failed and the pipeline fails fast"
    );
    bed.until_empty();

    let begun = project.fifo("begun");
    let mut command = project.command(&[
        "pipeline",
        "--backend",
        "slurm",
        "--output-dir",
        "out",
        "tasks.toml",
    ]);
    let mut running = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(
        told.any(|line| line.unwrap() == "start long"),
        "it is told that it runs"
    );
    std::fs::read(begun).unwrap();
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let rest: Vec<String> = told.map(|line| line.unwrap()).collect();
    assert!(
        rest.iter()
            .any(|line| line.starts_with("failed long") && line.ends_with("cancelled")),
        "{rest:?}"
    );
    assert_eq!(Outcome::from(running.wait_with_output().unwrap()).code, 130);
    bed.until_empty();
    let kept = std::fs::read_to_string(project.dir().join("out/0000-long.log")).unwrap();
    assert!(kept.starts_with("up\n"), "{kept}");
}

#[test]
fn bad_input_is_refused_before_anything_is_submitted() {
    let project = Project::new();
    project.write(
        "tasks.toml",
        "[[task]]\nname='a'\ncommand='true'\nslurm={partion='x'}\n",
    );
    let refused = |args: &[&str]| {
        let outcome = project.run(args);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        outcome.stderr
    };
    let told = refused(&["pipeline", "--backend", "slurm", "tasks.toml"]);
    assert!(
        told.contains("tasks.toml:4:8: slurm: `partion`")
            && told.contains("did you mean `partition`?"),
        "{told}"
    );
    project.write(
        "tasks.toml",
        "[[task]]\nname='a'\ncommand='true'\nslurm={partition='x'}\n",
    );
    let told = refused(&["pipeline", "tasks.toml"]);
    assert!(told.contains("--backend slurm"), "{told}");
    let told = refused(&[
        "pipeline",
        "--backend",
        "slurm",
        "--jobs",
        "3",
        "tasks.toml",
    ]);
    assert!(told.contains("decided by Slurm"), "{told}");
    let told = refused(&[
        "pipeline",
        "--backend",
        "slurm",
        "--slurm",
        "output=/x",
        "tasks.toml",
    ]);
    assert!(told.contains("cannot be set"), "{told}");
    let mut missing = project.command(&["pipeline", "--backend", "slurm", "tasks.toml"]);
    missing.env("PROC_SBATCH", "/nonexistent/sbatch");
    let outcome = Outcome::from(missing.output().unwrap());
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.stderr.contains("/nonexistent/sbatch` not found"),
        "{outcome:?}"
    );
}

#[test]
fn a_wide_and_deep_pipeline() {
    let count = if full() { 100 } else { 20 };
    let Some(bed) = Bed::with_cpus(count) else {
        return;
    };
    let mut tasks = String::new();
    for number in 0..count {
        let _infallible = writeln!(
            tasks,
            "[[task]]\nname = 't{number}'\ncommand = 'echo {number} >> order'"
        );
        // Four chains, each task after the one four before it.
        if let Some(before) = number.checked_sub(4) {
            let _infallible = writeln!(tasks, "after = ['t{before}']");
        }
    }
    let project = project(&bed, &tasks);
    let outcome = project.run(&["--json", "pipeline", "--backend", "slurm", "tasks.toml"]);
    let told = json(&outcome);
    assert_eq!(
        (outcome.code, told["passed"].as_u64()),
        (0, Some(count.into())),
        "{told}"
    );
    eprintln!("{count} tasks in {} ms", told["duration_ms"]);
    let order = std::fs::read_to_string(project.dir().join("order")).unwrap();
    let order: Vec<u32> = order.lines().map(|line| line.parse().unwrap()).collect();
    let place = |number: u32| order.iter().position(|at| *at == number).unwrap();
    for number in 4..count {
        assert!(place(number - 4) < place(number), "{order:?}");
    }
    bed.until_empty();
}
