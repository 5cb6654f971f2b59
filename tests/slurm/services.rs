//! Services as jobs, by the backend alone.

use std::time::Duration;

use proc_backends::{Backend as _, BackendEventKind, RunState, SignalTarget};
use proc_core::{Limit, ProcessEnd, Resource, Signal, StopSequence};
use proc_output::read::{LogReader, Query};

use crate::bed::{Bed, PATIENCE, event, exit, spec};
use crate::run;

async fn wait_for_line(bed: &Bed, instance: &str, line: &str) {
    let mut reader = LogReader::new();
    reader.add(&bed.path("state/log"), instance).unwrap();
    let mut follow = reader.follow(&Query::default()).unwrap();
    let found = async { while follow.next_entry().await.unwrap().text() != line.as_bytes() {} };
    tokio::time::timeout(PATIENCE, found)
        .await
        .expect("the line comes");
}

#[test]
fn a_spec_arrives_as_written_and_ends_as_it_ended() {
    let Some(bed) = Bed::up() else { return };
    run(async {
        let (backend, mut events) = bed.backend();
        let script = r#"printf '%s\n' "$SECRET"; pwd; umask; echo "$SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE"; exit 7"#;
        let mut odd = spec(&bed.path("spool"), "odd", script);
        odd.env
            .push(("SECRET".into(), "50% of \"$HOME\" \\ ü\nsecond line".into()));
        odd.attributes.umask = Some(0o27);
        odd.attributes.limits = vec![Limit::both(Resource::Memory, Some(100 << 20))];
        odd.foreign = vec![("slurm.cpus-per-task".into(), "2".into())];
        let started = backend.start(odd).await.unwrap();
        assert_eq!(started.downgrades.len(), 1, "{:?}", started.downgrades);
        let (ended, _) = exit(&mut events).await;
        assert_eq!(ended.end, Some(ProcessEnd::Exited(7)));
        assert_eq!(event(&mut events).await.kind, BackendEventKind::TreeEmpty);
        let spool = bed.path("spool");
        let expected = format!(
            "50% of \"$HOME\" \\ ü\nsecond line\n{}\n0027\n2 100\n",
            spool.display()
        );
        assert_eq!(bed.log("odd"), expected);
        assert_eq!(ended.log.stdout, expected.len() as u64);

        // A run that ends by a signal, and one whose directory the node lacks.
        backend
            .start(spec(&bed.path(""), "kills", "kill -9 $$"))
            .await
            .unwrap();
        let killed = exit(&mut events).await.0.end.unwrap();
        assert_eq!(killed.signal(), Some(Signal::KILL));
        event(&mut events).await;
        backend
            .start(spec("/nonexistent".as_ref(), "lost", "true"))
            .await
            .unwrap();
        assert_eq!(exit(&mut events).await.0.end, Some(ProcessEnd::Exited(125)));
        backend.forget("odd").await.unwrap();
        assert!(!bed.path("state/slurm/odd").exists());
    });
}

#[test]
fn a_stop_has_our_signal_and_grace_and_then_kills() {
    let Some(bed) = Bed::up() else { return };
    run(async {
        let (backend, mut events) = bed.backend();
        let script = "trap 'echo got-usr1' USR1; trap 'echo bye; exit 9' HUP; echo up; while :; do sleep 0.1; done";
        backend
            .start(spec(&bed.path(""), "polite", script))
            .await
            .unwrap();
        wait_for_line(&bed, "polite", "up").await;
        backend
            .signal("polite", Signal::USR1, SignalTarget::Leader)
            .await
            .unwrap();
        wait_for_line(&bed, "polite", "got-usr1").await;
        let report = backend
            .stop("polite", "HUP/60s, KILL".parse().unwrap())
            .await
            .unwrap();
        assert!(
            report.survivors.is_empty() && !report.escalated,
            "{report:?}"
        );
        assert_eq!(exit(&mut events).await.0.end, Some(ProcessEnd::Exited(9)));
        event(&mut events).await;

        let script = "trap '' TERM; echo up; while :; do sleep 0.1; done";
        backend
            .start(spec(&bed.path(""), "stubborn", script))
            .await
            .unwrap();
        wait_for_line(&bed, "stubborn", "up").await;
        let grace = StopSequence::graceful(Signal::TERM, Some(Duration::from_secs(1)));
        let report = backend.stop("stubborn", grace).await.unwrap();
        assert!(
            report.survivors.is_empty() && report.escalated,
            "{report:?}"
        );
        let (ended, _) = exit(&mut events).await;
        assert_eq!(ended.end.unwrap().signal(), Some(Signal::KILL));
        bed.until_empty();
    });
}

#[test]
fn a_job_that_waits_leaves_the_queue_when_its_start_is_called_off() {
    let Some(bed) = Bed::up() else { return };
    run(async {
        let (backend, mut events) = bed.backend();
        let mut wide = spec(&bed.path(""), "wide", "echo never");
        // More than there is: it waits for ever.
        wide.foreign = vec![
            ("slurm.nodes".into(), "2".into()),
            ("slurm.exclusive".into(), "true".into()),
        ];
        backend
            .start(spec(&bed.path(""), "first", "exec sleep 1000"))
            .await
            .unwrap();
        let starting = backend.start(wide);
        let calling = async {
            loop {
                let told = event(&mut events).await;
                if let (BackendEventKind::Trouble { error, .. }, "wide") =
                    (told.kind, &*told.instance)
                {
                    assert!(error.contains("PENDING"), "{error}");
                    break;
                }
            }
            backend.call_off("wide").await;
        };
        let (started, ()) = tokio::join!(starting, calling);
        assert!(started.is_err());
        assert_eq!(backend.status("wide").await.unwrap().state, RunState::Idle);
        assert_eq!(bed.queue().lines().count(), 1, "{}", bed.queue());
        backend
            .stop("first", StopSequence::default())
            .await
            .unwrap();
        bed.until_empty();
        assert_eq!(bed.log("wide"), "");
    });
}
