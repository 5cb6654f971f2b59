//! A disk that is full and descriptors that have run out, under the whole program.

use std::path::Path;
use std::process::Command;

use proc_tests::{Events, Project, is_root};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;

use crate::killer::{Killer, kill, leader};

const CONFIG: &str = "[service.web]\nargv = [\"sleep\", \"infinity\"]\nstart_seconds = 0\nlog = { dir = \"logs\" }\n\
    restart = { mode = \"always\", initial_delay = \"10ms\", max_delay = \"100ms\", startup_max = \"none\", crash_loop = \"none\" }\n";

/// A file system of 4 MiB, while it lives.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("the scratch directory is writable");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m,mode=700", "proc-test"])
            .arg(at);
        mount
            .status()
            .is_ok_and(|status| status.success())
            .then_some(Self(at))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        // What still uses it keeps it until it ends.
        _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_stops_nothing_and_loses_no_exit() {
    let project = Project::with(CONFIG);
    let state = project.state();
    let Some(_small) = is_root().then(|| Small::mount(&state)).flatten() else {
        eprintln!("SKIP a full disk: we cannot mount one");
        return;
    };
    project.ok(&["up", "-d"]);
    let (before, since) = (
        leader(&project, "web").expect("it runs"),
        project.last_seq(),
    );
    let filler = state.join("filler");
    let full = std::fs::write(&filler, vec![0; 5 << 20]);
    assert!(full.is_err(), "5 MiB do not fit into 4");
    assert!(kill(&before));
    project.ok(&["wait", "web", "--timeout", "60s"]);
    let told = |verb: &[&str]| project.ok(verb).contains("ENOSPC");
    assert!(told(&["status"]), "{}", project.ok(&["status"]));
    assert!(told(&["doctor"]), "{}", project.ok(&["doctor"]));
    let pid = project.pid("web");
    assert_ne!(
        pid,
        before.pid.cast_signed(),
        "it was started again all the same"
    );
    std::fs::remove_file(&filler).expect("it is ours");
    assert_recovered(&project, since, pid);
    project.ok(&["down"]);
}

#[test]
fn a_supervisor_killed_while_its_disk_is_full_loses_no_exit() {
    let project = Project::with(CONFIG);
    let state = project.state();
    let Some(_small) = is_root().then(|| Small::mount(&state)).flatten() else {
        eprintln!("SKIP a full disk: we cannot mount one");
        return;
    };
    project.ok(&["up", "-d"]);
    let mut killer = Killer::new(&project);
    let since = project.last_seq();
    let filler = state.join("filler");
    std::fs::write(&filler, vec![0; 5 << 20]).expect_err("5 MiB do not fit into 4");
    const RUNS: u64 = 6;
    for _ in 0..RUNS {
        let before = leader(&project, "web").expect("it runs");
        assert!(kill(&before));
        // It is started again all the same.
        while project.instance("web")["pid"]
            .as_u64()
            .is_none_or(|pid| pid == u64::from(before.pid))
        {
            crate::killer::pause(20);
        }
    }
    let pid = project.pid("web");
    killer.kill_supervisor();
    std::fs::remove_file(&filler).expect("it is ours");
    let exits = |events: &[Value]| {
        let exits = events.iter().map(|event| &event["exit"]);
        let killed = exits.filter(|exit| exit["signal"] == 9);
        killed
            .filter_map(|exit| exit["run"].as_u64())
            .collect::<Vec<_>>()
    };
    let last = |event: &Value| event["exit"]["run"] == RUNS;
    assert!(
        Events::after(&project, since).any(|event| last(&event)),
        "the event stream ended before the last exit was told"
    );
    assert_eq!(project.pid("web"), pid, "the service was not touched");
    assert_eq!(project.instance("web")["restarts"], RUNS);
    let events = project.events();
    assert_eq!(exits(&events), (1..=RUNS).collect::<Vec<_>>());
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], number as u64 + 1, "a gap at {event}");
    }
    assert_heals(&project);
    project.ok(&["down"]);
}

#[test]
fn a_supervisor_without_descriptors_recovers_and_its_services_never_know() {
    let project = Project::with(CONFIG);
    project.ok(&["up", "-d"]);
    let (before, since) = (
        leader(&project, "web").expect("it runs"),
        project.last_seq(),
    );
    let pid = project.status()["supervisor"]["pid"]
        .as_i64()
        .expect("a pid");
    let supervisor = Pid::from_raw(i32::try_from(pid).expect("it fits"));
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| {
        let limit = Rlimit {
            current: Some(current),
            maximum,
        };
        prlimit(supervisor, Resource::Nofile, limit).expect("the supervisor is ours")
    };
    let usual = limit(3).current.expect("there is a limit");
    assert!(kill(&before));
    // Nobody can even ask it now; the one who does waits.
    let asked = project
        .command(&["wait", "web", "--timeout", "60s"])
        .spawn();
    crate::killer::pause(300);
    limit(usual);
    let asked = asked.expect("proc can be started").wait();
    assert!(
        asked.expect("our own child").success(),
        "it is asked and answers again"
    );
    let now = project.status()["supervisor"]["pid"].as_i64();
    assert_eq!(now, Some(pid), "the supervisor is the same");
    assert_eq!(
        project.instance("web")["restarts"],
        1,
        "one life, one start"
    );
    assert_recovered(&project, since, project.pid("web"));
    project.ok(&["down"]);
}

/// Waits until the exit by KILL is in the journal, and looks that nothing else is missing.
fn assert_recovered(project: &Project, since: u64, pid: i32) {
    let exit = |event: &Value| event["exit"]["signal"] == 9;
    let found = Events::after(project, since).find(exit);
    assert!(
        found.is_some(),
        "the event stream ended before the exit was told"
    );
    let events = project.events();
    assert_eq!(events.iter().filter(|event| exit(event)).count(), 1);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(
            event["seq"],
            number as u64 + 1,
            "event numbers have a gap at {event}"
        );
    }
    assert_eq!(project.pid("web"), pid, "the service was not touched again");
    assert_heals(project);
}

/// What failed is tried again within seconds.
fn assert_heals(project: &Project) {
    let healed = || !project.ok(&["status"]).contains("degraded");
    let in_time = (0..300).any(|_| {
        crate::killer::pause(100);
        healed()
    });
    assert!(in_time, "{}", project.ok(&["status"]));
}
