//! What counts as healthy running, after which earlier restarts are forgotten.

use super::table::{T0, at, exit, gone, rules, secs};
use super::{Event, Phase, Rules, Timer};

#[test]
fn only_ready_running_counts_as_healthy_where_a_probe_tells() {
    let readiness = || Rules {
        readiness: true,
        start_timeout: None,
        ..rules()
    };
    // ready at, not ready at, the restart in a row after an exit at 100 s; the first was at 0 s
    let table = [
        (None, None, 2),
        (Some(10), None, 1),
        (Some(10), Some(99), 2),
        (Some(50), None, 2),
    ];
    for (ready, not_ready, attempt) in table {
        let mut machine = at(Phase::Backoff, readiness());
        machine.step(Event::Due(Timer::Retry), T0 + secs(1));
        machine.step(Event::Gate, T0 + secs(1));
        machine.step(Event::Spawned { run: 2 }, T0 + secs(1));
        machine.step(Event::Due(Timer::StartSeconds), T0 + secs(2));
        if let Some(ready) = ready {
            machine.step(Event::Ready { evidence: None }, T0 + secs(ready));
        }
        if let Some(not_ready) = not_ready {
            let evidence = "no".to_owned();
            machine.step(Event::NotReady { evidence }, T0 + secs(not_ready));
        }
        // The counters are left alone, as a supervisor that is busy would: the exit alone decides.
        let exit = exit(1, secs(99));
        machine.step(Event::Exited { run: 2, exit }, T0 + secs(100));
        machine.step(gone(), T0 + secs(100));
        assert_eq!(machine.attempt(), attempt, "{ready:?} {not_ready:?}");
    }
}

#[test]
fn healthy_running_begins_anew_with_each_time_it_becomes_ready() {
    let mut machine = at(
        Phase::Up,
        Rules {
            readiness: true,
            ..rules()
        },
    );
    machine.step(
        Event::NotReady {
            evidence: "no".to_owned(),
        },
        T0 + secs(5),
    );
    assert_eq!(machine.deadline(Timer::Healthy), None);
    machine.step(Event::Ready { evidence: None }, T0 + secs(9));
    assert_eq!(machine.deadline(Timer::Healthy), Some(T0 + secs(69)));
}
