//! The cluster itself fails: a node is lost, the controller dies.

use proc_backends::{Backend as _, BackendEventKind, RunState};
use proc_core::{ProcessEnd, StopSequence};

use crate::bed::{Bed, event, exit, spec};
use crate::run;

/// Both take Slurm half a minute to notice: side by side, each with a cluster of its own.
#[test]
fn services_outlive_a_lost_node_and_a_controller_that_dies() {
    std::thread::scope(|both| {
        both.spawn(a_lost_node_is_told_with_its_cause_and_the_run_goes_on_on_the_other);
        both.spawn(a_controller_that_dies_is_told_and_ends_nothing);
    });
}

fn a_lost_node_is_told_with_its_cause_and_the_run_goes_on_on_the_other() {
    let Some(bed) = Bed::up() else { return };
    run(async {
        let (backend, mut events) = bed.backend();
        let script = "echo on $SLURMD_NODENAME; exec sleep 1000";
        let started = backend
            .start(spec(&bed.path(""), "web", script))
            .await
            .unwrap();
        let queue = bed.queue();
        let node = queue.split_whitespace().last().unwrap().to_owned();
        bed.kill(&format!("slurmd-{node}"));
        let cause = loop {
            if let BackendEventKind::Lost { cause } = event(&mut events).await.kind {
                break cause;
            }
        };
        let silent = cause.contains("does not answer") || cause.contains("is down");
        assert!(
            silent && cause.contains(&format!("node {node} is")),
            "{cause}"
        );
        let again = loop {
            match event(&mut events).await.kind {
                BackendEventKind::Recovered { started } => break started,
                BackendEventKind::Exited(exit) => panic!("it ended: {exit:?}"),
                _ => {}
            }
        };
        assert_eq!(
            (again.run, again.identity.pid),
            (started.run, started.identity.pid)
        );
        assert_ne!(
            again.identity.start_ticks, started.identity.start_ticks,
            "a requeue is a new submission"
        );
        let other = if node == "n1" { "n2" } else { "n1" };
        assert!(bed.queue().ends_with(other), "{}", bed.queue());
        let report = backend.stop("web", StopSequence::default()).await.unwrap();
        assert!(report.survivors.is_empty(), "{report:?}");
        exit(&mut events).await;
        let log = bed.log("web");
        assert!(
            log.contains(&format!("on {node}\n")) && log.contains(&format!("on {other}\n")),
            "appended: {log}"
        );
    });
}

fn a_controller_that_dies_is_told_and_ends_nothing() {
    let Some(bed) = Bed::up() else { return };
    run(async {
        let (backend, mut events) = bed.backend();
        let started = backend
            .start(spec(&bed.path(""), "web", "exec sleep 1000"))
            .await
            .unwrap();
        bed.until_saved(started.identity.pid);
        bed.kill("slurmctld");
        loop {
            match event(&mut events).await.kind {
                BackendEventKind::Trouble { error, .. } if error.contains("contact") => break,
                BackendEventKind::Exited(exit) => panic!("it ended: {exit:?}"),
                _ => {}
            }
        }
        let status = backend.status("web").await.unwrap();
        assert!(matches!(status.state, RunState::Running(_)), "{status:?}");
        // A supervisor that begins now finds its job all the same.
        let (next, _events) = bed.backend();
        let adopted = next.adopt("web").await.unwrap().unwrap();
        assert!(
            matches!(adopted.status.state, RunState::Running(_)),
            "{adopted:?}"
        );
        drop(next);
        bed.start("slurmctld");
        while !matches!(
            event(&mut events).await.kind,
            BackendEventKind::Healed { .. }
        ) {}
        let report = backend.stop("web", StopSequence::default()).await.unwrap();
        assert!(report.survivors.is_empty(), "{report:?}");
        let end = exit(&mut events).await.0.end;
        assert!(
            end.is_some_and(|end| end != ProcessEnd::Exited(0)),
            "{end:?}"
        );
    });
}
