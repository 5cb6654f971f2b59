//! The detached supervisor is killed with -9 at random instants and comes back by itself.

use proc_tests::{Events, Random, full};
use rustix::process::{Pid, Signal, kill_process};

use crate::books::Workers;

#[test]
fn no_exit_no_line_no_count_is_lost() {
    let (mut random, seed) = Random::announced("chaos");
    let rounds = if full() { 300 } else { 12 };
    let workers = Workers::new(50, rounds, seed);
    let project = &workers.project;
    let mut up = project
        .command(&["up", "-d", "--wait-timeout", "600s"])
        .spawn()
        .expect("proc can be started");
    let mut seen = workers.first_event();
    for _ in 0..rounds {
        // A random number of transitions further, wherever the supervisor is then, it is killed.
        let skip = usize::try_from(random.below(20)).expect("small");
        match Events::after(project, seen).nth(skip) {
            Some(event) => seen = event["seq"].as_u64().expect("an event has a number"),
            None => continue,
        }
        kill_supervisor(&workers);
    }
    assert!(
        up.wait().expect("our own child").success(),
        "every worker became quiet"
    );
    workers.assert_balanced();
    project.ok(&["down"]);
}

fn kill_supervisor(workers: &Workers) {
    let status = workers.project.status();
    let pid = status["supervisor"]["pid"]
        .as_i64()
        .expect("verbs wait for the supervisor to come back");
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid fits")).expect("a pid is not 0");
    kill_process(pid, Signal::KILL).expect("the supervisor that just answered lives");
}
