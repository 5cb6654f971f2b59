//! The detached supervisor is killed with -9 at random instants and comes back by itself.

use proc_tests::{Random, full};

use crate::books::Workers;
use crate::killer::{Killer, pause};

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
