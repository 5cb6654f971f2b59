//! The whole program: `proc up` over a cluster, its policy, and a supervisor that is killed.

use std::time::Instant;

use proc_tests::{Project, full};

use crate::bed::Bed;

fn project(bed: &Bed, config: &str) -> Project {
    let mut project = Project::with(config);
    for (key, value) in bed.env() {
        project.env(&key, value);
    }
    project.env("PROC_SLURM_POLL", "1s");
    project
}

#[test]
fn what_fails_is_restarted_by_policy_and_a_killed_supervisor_finds_its_job() {
    let Some(bed) = Bed::up() else { return };
    let project = project(
        &bed,
        r#"
[service.web]
command = "sh -c 'echo up; exec sleep 1000'"
backend = "slurm"
slurm = { cpus = 1, time = "1h" }

[service.fails]
command = "sh -c 'echo try; exit 3'"
backend = "slurm"
restart = { mode = "on-failure", max = 2, initial_delay = "100ms" }
"#,
    );
    project.ok(&["check"]);
    // It says that `fails` gave up.
    assert_eq!(project.run(&["up", "-d"]).code, 1);
    let fails = project.instance("fails");
    assert_eq!(
        (&fails["state"], &fails["restarts"]),
        (&"failed".into(), &2.into()),
        "{fails}"
    );
    assert_eq!(fails["last_exit"]["code"], 3);
    assert_eq!(project.ok(&["logs", "fails"]).matches("try").count(), 3);

    let before = project.instance("web");
    assert_eq!(
        (&before["state"], &before["pid"]),
        (&"running".into(), &serde_json::Value::Null)
    );
    let pid = project.status()["supervisor"]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // Verbs wait for the next one, which comes by itself.
    let after = project.instance("web");
    assert_eq!(
        (&after["identity"], &after["restarts"]),
        (&before["identity"], &before["restarts"]),
        "{after}"
    );
    assert_eq!(after["state"], "running");
    let why = project.ok(&["why", "web"]);
    assert!(why.contains("runs on n"), "{why}");
    assert_eq!(bed.queue().lines().count(), 1, "one copy: {}", bed.queue());
    project.ok(&["stop", "web"]);
    assert_eq!(project.instance("web")["last_exit"]["signal"], 15);
    bed.until_empty();
}

#[test]
fn a_stop_takes_a_service_out_of_the_queue() {
    let Some(bed) = Bed::up() else { return };
    let config = "[service.first]\ncommand = 'sleep 1000'\nbackend = 'slurm'\n[service.wide]\ncommand = 'true'\nbackend = 'slurm'\nslurm = { nodes = 2, exclusive = true }\n";
    let project = project(&bed, config);
    project.ok(&["up", "-d", "first"]);
    let mut starting = project.command(&["start", "wide"]).spawn().unwrap();
    while !bed.queue().contains("PENDING") {
        assert!(
            starting.try_wait().unwrap().is_none(),
            "it ended: {}",
            bed.queue()
        );
    }
    assert_eq!(project.instance("wide")["state"], "starting");
    project.ok(&["stop", "wide"]);
    starting.wait().unwrap();
    assert_eq!(project.instance("wide")["state"], "stopped");
    assert_eq!(bed.queue().lines().count(), 1, "{}", bed.queue());
    project.ok(&["down"]);
    bed.until_empty();
}

#[test]
fn many_jobs_of_one_supervisor() {
    let count = if full() { 200 } else { 20 };
    let Some(bed) = Bed::with_cpus(count) else {
        return;
    };
    let config = format!(
        "[service.many]\ncommand = \"sh -c 'echo up; exec sleep 1000'\"\nbackend = 'slurm'\ninstances = {count}\n"
    );
    let project = project(&bed, &config);
    let begun = Instant::now();
    project.ok(&["up", "-d"]);
    eprintln!("{count} jobs run after {:?}", begun.elapsed());
    let running = bed
        .queue()
        .lines()
        .filter(|line| line.contains("RUNNING"))
        .count();
    assert_eq!(running, count as usize);
    let begun = Instant::now();
    project.ok(&["down"]);
    eprintln!("{count} jobs are gone after {:?}", begun.elapsed());
    bed.until_empty();
}
