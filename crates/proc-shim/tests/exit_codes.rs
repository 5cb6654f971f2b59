//! An exit is never lost, and counted once, whatever happens to the supervisor.

mod support;

use proc_core::{ProcessEnd, Signal};
use proc_shim::{ExitRecord, KEPT_EXITS, Request, Snapshot, Target};
use support::{Shim, command, sh};

#[test]
fn codes_and_signals_arrive() {
    let mut shim = Shim::new();
    for (script, end) in [
        ("exit 0", ProcessEnd::Exited(0)),
        ("exit 7", ProcessEnd::Exited(7)),
        (
            "kill -9 $$",
            ProcessEnd::Signaled {
                signal: Signal::KILL,
                core_dumped: false,
            },
        ),
        (
            "kill -15 $$",
            ProcessEnd::Signaled {
                signal: Signal::TERM,
                core_dumped: false,
            },
        ),
    ] {
        let running = shim.start(sh(script));
        let exited = shim.exited();
        assert_eq!(
            (exited.run, exited.end),
            (running.run, Some(end)),
            "{script}"
        );
        assert_eq!(shim.tree_empty(), running.run);
    }
}

#[test]
fn an_exit_without_a_supervisor_is_told_to_the_next_one() {
    let mut shim = Shim::new();
    let fifo = shim.home.path().join("go");
    support::make_fifo(&fifo);
    let running = shim.start(command(&[
        "/bin/sh",
        "-c",
        "read x < \"$0\"; exit 42",
        fifo.to_str().unwrap(),
    ]));
    shim.disconnect();
    std::fs::write(&fifo, "go\n").unwrap();
    support::wait_gone(&running.identity);
    let snapshot = loop {
        // The shim may not have reaped it yet when we come; then the notice tells.
        let snapshot = shim.reconnect();
        if snapshot.exited.is_some() {
            break snapshot;
        }
        let _exited = shim.exited();
        shim.disconnect();
    };
    let exited = snapshot.exited.unwrap();
    assert_eq!((exited.run, exited.end), (1, Some(ProcessEnd::Exited(42))));
    assert!(snapshot.tree_empty && snapshot.running.is_none() && !snapshot.acknowledged);

    shim.ask(&Request::Acknowledge { run: 1 });
    shim.disconnect();
    assert!(shim.reconnect().acknowledged);
}

#[test]
fn a_new_shim_knows_what_the_old_one_recorded() {
    let mut shim = Shim::new();
    shim.start(sh("exit 5"));
    shim.exited();
    shim.tree_empty();
    assert_eq!(shim.ask(&Request::Exit), proc_shim::Reply::Done);
    shim.child.wait().unwrap();
    let home = std::mem::replace(&mut shim.home, tempfile::tempdir().unwrap());
    let mut next = Shim::launch(home, shim.options.clone());
    let snapshot = next.status();
    assert_eq!(snapshot.last_run, 1);
    assert_eq!(snapshot.exited.unwrap().end, Some(ProcessEnd::Exited(5)));
    let running = next.start(sh("exit 0"));
    assert_eq!(running.run, 2, "run numbers only grow");
}

/// Runs services that end with 1, 2, …, `last`, and acknowledges nothing.
fn run_through(shim: &mut Shim, last: u64) {
    for code in 1..=last {
        shim.start(sh(&format!("exit {code}")));
        shim.exited();
        shim.tree_empty();
    }
}

/// Returns the runs and codes of the exits before the last one that a supervisor would be told.
fn told(snapshot: &Snapshot) -> Vec<(u64, Option<ProcessEnd>)> {
    let exits = snapshot.unstored.exits.iter();
    exits.map(|exited| (exited.run, exited.end)).collect()
}

fn codes(runs: std::ops::RangeInclusive<u64>) -> Vec<(u64, Option<ProcessEnd>)> {
    let end = |run| Some(ProcessEnd::Exited(i32::try_from(run).expect("few")));
    runs.map(|run| (run, end(run))).collect()
}

#[test]
fn exits_that_nobody_has_stored_are_told_until_somebody_has() {
    let mut shim = Shim::new();
    run_through(&mut shim, 4);
    shim.disconnect();
    let snapshot = shim.reconnect();
    assert_eq!(told(&snapshot), codes(1..=3));
    assert_eq!(
        (snapshot.exited.unwrap().run, snapshot.acknowledged),
        (4, false)
    );

    shim.ask(&Request::Acknowledge { run: 2 });
    assert_eq!(told(&shim.status()), codes(3..=3));
    shim.ask(&Request::Acknowledge { run: 4 });
    let snapshot = shim.status();
    assert_eq!((told(&snapshot), snapshot.acknowledged), (vec![], true));

    // What is acknowledged is not kept when the next run ends.
    shim.start(sh("exit 5"));
    shim.exited();
    assert_eq!(told(&shim.status()), []);
}

#[test]
fn exits_that_nobody_has_stored_outlive_the_shim() {
    let mut shim = Shim::new();
    run_through(&mut shim, 3);
    shim.start(sh("kill -9 $$"));
    shim.exited();
    shim.tree_empty();
    shim.start(sh("exit 5"));
    shim.exited();
    shim.child.signal(Signal::KILL).unwrap();
    shim.child.wait().unwrap();
    let record = ExitRecord::read(&shim.options.dir).unwrap().unwrap();
    assert_eq!(record.exited.run, 5);
    let home = std::mem::replace(&mut shim.home, tempfile::tempdir().unwrap());
    let mut next = Shim::launch(home, shim.options.clone());
    let snapshot = next.status();
    assert_eq!(snapshot.unstored, record.unstored);
    assert_eq!(told(&snapshot)[..3], codes(1..=3));
    let killed = snapshot.unstored.exits[3].end.unwrap();
    assert_eq!(killed.signal(), Some(Signal::KILL));
}

#[test]
fn of_too_many_exits_the_oldest_are_counted() {
    let mut shim = Shim::new();
    let last = KEPT_EXITS as u64 + 6;
    run_through(&mut shim, last);
    let snapshot = shim.status();
    assert_eq!(told(&snapshot), codes(6..=last - 1));
    let unstored = &snapshot.unstored;
    assert_eq!((unstored.dropped, unstored.dropped_through), (5, 5));
    let record = ExitRecord::read(&shim.options.dir).unwrap().unwrap();
    assert_eq!(record.unstored, *unstored);
    // Who has stored any of the rest has heard that those are missing.
    shim.ask(&Request::Acknowledge { run: 6 });
    let unstored = shim.status().unstored;
    assert_eq!(
        (unstored.dropped, unstored.exits.len()),
        (0, KEPT_EXITS - 1)
    );
}

#[test]
fn the_number_of_a_run_is_above_the_supervisors_record() {
    let mut shim = Shim::new();
    let running = shim.start(proc_shim::StartSpec {
        last_run: 41,
        ..sh("exit 0")
    });
    assert_eq!(running.run, 42);
}

#[test]
fn signals_reach_leader_group_and_tree() {
    let mut shim = Shim::new();
    for target in [Target::Leader, Target::Group, Target::Tree] {
        let running = shim.start(sh("exec sleep 1000"));
        assert_eq!(
            shim.ask(&Request::Signal {
                signal: Signal::USR1,
                target
            }),
            proc_shim::Reply::Done
        );
        let exited = shim.exited();
        assert_eq!(exited.run, running.run);
        assert_eq!(exited.end.unwrap().signal(), Some(Signal::USR1));
        shim.tree_empty();
    }
    let reply = shim.ask(&Request::Signal {
        signal: Signal::TERM,
        target: Target::Leader,
    });
    assert!(matches!(reply, proc_shim::Reply::Failed(_)), "{reply:?}");
}

#[test]
fn two_runs_at_once_are_refused() {
    let mut shim = Shim::new();
    let running = shim.start(sh("exec sleep 1000"));
    let failure = shim.start_fails(sh("exit 0"));
    assert_eq!(failure.kind, proc_shim::FailureKind::StillRunning);
    assert_eq!(failure.value, running.identity.pid.to_string());
}

#[test]
fn a_second_shim_for_an_instance_is_refused() {
    let shim = Shim::new();
    let second = proc_shim::ShimProcess::launch(&support::program(), &shim.options).unwrap();
    assert_eq!(second.child.wait().unwrap(), ProcessEnd::Exited(125));
}
