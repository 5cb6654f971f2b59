//! What is left besides living processes: zombies, open pipes, and children out of reach.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proc_core::{Mechanism, ProcessEnd, list};
use proc_shim::{Reply, Request};

use crate::stage::{LONG, Stage, User};

const USERS: [User; 2] = [User::Root, User::Nobody];

#[test]
fn the_shim_reaps_what_others_leave_behind() {
    for user in USERS {
        let Some(mut stage) = Stage::new(user, Mechanism::Subreaper) else {
            continue;
        };
        let (running, mut witness) = stage.start(&["litter", "100"], 1);
        // Every answer comes from a loop that has looked at its signals, so this ends as soon as they arrived.
        let begun = Instant::now();
        let leader = BTreeSet::from([running.identity.pid]);
        while children(&stage) != leader {
            assert!(
                begun.elapsed() < LONG,
                "zombies stay: {:?}",
                children(&stage)
            );
            stage.ask(&Request::Status);
        }
        let report = stage.stop("TERM/60s, KILL");
        assert!(
            report.survivors.is_empty() && !report.escalated,
            "{report:?}"
        );
        assert!(witness.nobody_left(Duration::ZERO));
        assert!(children(&stage).is_empty(), "{:?}", children(&stage));
    }
}

#[test]
fn a_pipe_that_a_grandchild_holds_delays_no_exit() {
    for user in USERS {
        let Some(mut stage) = Stage::new(user, Mechanism::Subreaper) else {
            continue;
        };
        let (_, mut witness) = stage.start(&["holder"], 1);
        let begun = Instant::now();
        let exited = loop {
            assert!(begun.elapsed() < LONG, "the exit was never told");
            let Reply::Snapshot(snapshot) = stage.ask(&Request::Status) else {
                panic!("no snapshot");
            };
            if let Some(exited) = &snapshot.exited {
                assert!(!snapshot.tree_empty, "{snapshot:?}");
                break exited.clone();
            }
        };
        assert_eq!(exited.end, Some(ProcessEnd::Exited(0)));
        assert!(
            !witness.nobody_left(Duration::ZERO),
            "the grandchild was to live on"
        );
        let report = stage.stop("TERM/50ms, KILL");
        assert!(report.survivors.is_empty(), "{report:?}");
        assert!(witness.nobody_left(Duration::ZERO));
    }
}

#[test]
fn who_may_not_be_signalled_is_reported_and_nobody_else() {
    for tier in [
        Mechanism::Cgroup,
        Mechanism::Subreaper,
        Mechanism::GroupWalk,
    ] {
        let Some(mut stage) = Stage::new(User::Nobody, tier) else {
            continue;
        };
        let Some(copy) = stage.copy_of_root() else {
            continue; // not root ourselves, so nothing can be made that belongs to another user
        };
        let copy = copy.to_str().expect("a temp dir in ASCII");
        let (running, mut witness) = stage.start(&["other-user", copy], 2);
        let report = stage.stop("TERM/50ms, KILL/300ms");
        assert_eq!(report.mechanism, tier);
        let reported: BTreeSet<u32> = report.survivors.iter().map(|one| one.pid).collect();
        assert_eq!(reported, stage.alive(), "{report:?}");
        if tier == Mechanism::Cgroup {
            // The kernel asks who may write to the cgroup, not whose its processes are.
            assert!(
                reported.is_empty() && witness.nobody_left(Duration::ZERO),
                "{report:?}"
            );
            continue;
        }
        assert!(!reported.contains(&running.identity.pid), "{report:?}");
        let [survivor] = report.survivors.as_slice() else {
            panic!("{report:?}");
        };
        assert!(survivor.reason.contains("permission"), "{survivor}");
        stage.clear(&mut witness);
    }
}

/// The shim's children, zombies too.
fn children(stage: &Stage) -> BTreeSet<u32> {
    let children = list::children(stage.shim_pid()).expect("the shim lives");
    children.iter().map(|info| info.pid).collect()
}
