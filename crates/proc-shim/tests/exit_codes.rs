//! An exit is never lost, and counted once, whatever happens to the supervisor.

mod support;

use proc_core::{ProcessEnd, Signal};
use proc_shim::{Request, Target};
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
