//! The detached supervisor is killed with -9 at random instants and comes back by itself.

use proc_tests::{Project, Random, full};

use crate::books::Workers;
use crate::killer::{Killer, leader, pause};

#[test]
fn no_exit_no_line_no_count_is_lost() {
    let (mut random, seed) = Random::announced("chaos");
    let (rounds, runs) = if full() { (300, 150) } else { (40, 15) };
    let workers = Workers::new(50, runs, seed);
    let project = &workers.project;
    project.ok(&["up", "-d", "anchor"]);
    let mut killer = Killer::new(project);
    workers.start();
    for _ in 0..rounds {
        if random.below(2) == 0 {
            // Half of the blows fall on one that is at work, however long its start takes; the others anywhere.
            project.status();
        }
        pause(random.below(400));
        killer.kill_supervisor();
    }
    workers.run_out();
    assert_eq!(
        killer.respawns(),
        rounds,
        "each time it came back by itself"
    );
    workers.assert_balanced();
    project.ok(&["down"]);
}

#[test]
fn what_shall_die_with_it_does_and_its_comeback_is_told() {
    let project = Project::with(
        "[defaults]\nargv = [\"sleep\", \"infinity\"]\nstart_seconds = 0\n\
         [service.web]\n[service.leash]\ndie_with_supervisor = true\nrestart = \"always\"\n",
    );
    project.ok(&["up", "-d"]);
    let (web, leash) = (leader(&project, "web"), leader(&project, "leash"));
    let since = project.last_seq();
    Killer::new(&project).kill_supervisor();
    let leash = leash.expect("it runs");
    if let Ok(process) = leash.open() {
        process.wait(None).expect("a pidfd can be waited for");
    }
    project.ok(&["wait", "leash", "--timeout", "60s"]);
    assert_eq!(
        leader(&project, "web"),
        web,
        "the other one was not touched"
    );
    assert_ne!(leader(&project, "leash"), Some(leash), "it came back");
    let events = project.events();
    let news = &events[usize::try_from(since).expect("few")..];
    let told = |what: &str| {
        let told = news.iter().filter(|event| {
            let detail = event["cause"]["detail"].as_str().unwrap_or_default();
            event["cause"]["kind"] == "supervisor" && detail.contains(what)
        });
        told.count()
    };
    assert_eq!(told("resume"), 1, "{news:#?}");
    assert_eq!(told("the one before ended by signal KILL"), 1, "{news:#?}");
    let name = project.status()["project"]
        .as_str()
        .expect("a name")
        .to_owned();
    let info = project.ok(&["daemon", "info", &name]);
    assert!(info.contains("respawns: 1"), "{info}");
    project.ok(&["down"]);
}
