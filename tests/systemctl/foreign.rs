//! Units that exist: run, never rewritten.

use proc_backends::{Backend as _, BackendEventKind, RunState, SignalTarget};
use proc_core::{Mechanism, ProcessEnd, Signal, StopSequence};

use crate::bed::{Bed, event, exit, foreign, recovered};
use crate::run;

#[test]
fn a_unit_is_started_signalled_reloaded_and_stopped() {
    let Some(bed) = Bed::up() else { return };
    let text = "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/touch @RUN@/reloaded\n";
    bed.units(&[("web.service", text)]);
    run(async {
        let (backend, mut events) = bed.backend();
        let started = backend.start(foreign(&bed, "web", "web")).await.unwrap();
        assert_eq!((started.run, started.pid), (1, bed.facts("web").main_pid));
        assert!(started.identity.liveness().is_alive());

        backend.reload("web", Signal::HUP).await.unwrap();
        assert!(bed.path("run/reloaded").exists(), "its ExecReload ran");

        let report = backend.stop("web", StopSequence::default()).await.unwrap();
        assert_eq!(
            (report.mechanism, report.survivors.len(), report.escalated),
            (Mechanism::Cgroup, 0, false)
        );
        let (exit, _) = exit(&mut events).await;
        assert_eq!(
            (exit.run, exit.end),
            (
                1,
                Some(ProcessEnd::Signaled {
                    signal: Signal::TERM,
                    core_dumped: false
                })
            )
        );
        assert_eq!(event(&mut events).await.kind, BackendEventKind::TreeEmpty);
        assert!(!started.identity.liveness().is_alive());
        let again = backend.stop("web", StopSequence::default()).await.unwrap();
        assert_eq!(again.signalled, 0, "there is nothing left to stop");
        let error = backend
            .signal("web", Signal::HUP, SignalTarget::Leader)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("does not run"), "{error}");
        backend.forget("web").await.unwrap();
        let path = bed.unit_file("web.service");
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            text.replace("@RUN@", &bed.path("run").display().to_string()),
            "it is not ours to change"
        );
    });
}

#[test]
fn every_end_is_told_once_with_code_or_signal() {
    let Some(bed) = Bed::up() else { return };
    bed.units(&[
        (
            "seven.service",
            "[Service]\nExecStart=/bin/sh -c 'read x < @RUN@/go; exit 7'\n",
        ),
        (
            "well.service",
            "[Service]\nExecStart=/bin/sh -c 'read x < @RUN@/go; exit 0'\n",
        ),
        (
            "job.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read x < @RUN@/go; exit 0'\n",
        ),
        ("killed.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
    ]);
    let fifo = bed.path("run/go");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    run(async {
        let (backend, mut events) = bed.backend();
        for (unit, code) in [("seven", 7), ("well", 0), ("job", 0)] {
            let started = backend.start(foreign(&bed, unit, unit)).await.unwrap();
            assert!(started.identity.liveness().is_alive(), "{unit}");
            let fifo = fifo.clone();
            tokio::task::spawn_blocking(move || std::fs::write(fifo, "go\n").unwrap())
                .await
                .unwrap();
            let (exit, before) = exit(&mut events).await;
            assert_eq!(
                exit.end,
                Some(ProcessEnd::Exited(code)),
                "{unit}: {before:?}"
            );
            assert_eq!(event(&mut events).await.kind, BackendEventKind::TreeEmpty);
        }
        let started = backend
            .start(foreign(&bed, "killed", "killed"))
            .await
            .unwrap();
        started.identity.signal(Signal::KILL).unwrap();
        let (exit, _) = exit(&mut events).await;
        assert_eq!(
            exit.end,
            Some(ProcessEnd::Signaled {
                signal: Signal::KILL,
                core_dumped: false
            })
        );
        let status = backend.status("killed").await.unwrap();
        assert!(matches!(status.state, RunState::Exited(_)), "{status:?}");
    });
}

#[test]
fn what_systemd_restarts_itself_is_one_run() {
    let Some(bed) = Bed::up() else { return };
    bed.units(&[(
        "phoenix.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=50ms\n",
    )]);
    run(async {
        let (backend, mut events) = bed.backend();
        let first = backend
            .start(foreign(&bed, "phoenix", "phoenix"))
            .await
            .unwrap();
        first.identity.signal(Signal::KILL).unwrap();
        let second = recovered(&mut events).await;
        assert_ne!(second.pid, first.pid);
        assert_eq!(second.run, first.run);
        bed.systemctl(&["restart", "phoenix"]);
        let third = recovered(&mut events).await;
        assert_ne!(third.pid, second.pid);
        let report = backend
            .stop("phoenix", StopSequence::default())
            .await
            .unwrap();
        assert!(report.survivors.is_empty(), "{report:?}");
        let (exit, before) = exit(&mut events).await;
        assert_eq!(exit.run, first.run);
        assert!(
            !before
                .iter()
                .any(|kind| matches!(kind, BackendEventKind::Exited(_)))
        );
        assert_eq!(bed.facts("phoenix").active, "inactive", "it stays down");
    });
}

#[test]
fn a_unit_that_runs_already_is_taken_as_it_is() {
    let Some(bed) = Bed::up() else { return };
    bed.units(&[("old.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    assert_eq!(bed.systemctl(&["start", "old"]), 0);
    let pid = bed.facts("old").main_pid;
    run(async {
        let (backend, mut events) = bed.backend();
        let started = backend.start(foreign(&bed, "old", "old")).await.unwrap();
        assert_eq!(started.pid, pid);
        // Somebody else stops it.
        assert_eq!(bed.systemctl(&["stop", "old"]), 0);
        let (exit, _) = exit(&mut events).await;
        assert_eq!(exit.run, started.run);
    });
}

#[test]
fn a_deaf_unit_is_killed_by_the_next_step() {
    let Some(bed) = Bed::up() else { return };
    bed.units(&[(
        "deaf.service",
        "[Service]\nTimeoutStopSec=1000\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'trap \"\" TERM; systemd-notify --ready; while :; do sleep 1000; done'\n",
    )]);
    run(async {
        let (backend, mut events) = bed.backend();
        backend.start(foreign(&bed, "deaf", "deaf")).await.unwrap();
        let report = backend
            .stop("deaf", "TERM/200ms, KILL".parse().unwrap())
            .await
            .unwrap();
        assert!(
            report.escalated && report.survivors.is_empty(),
            "{report:?}"
        );
        let (exit, _) = exit(&mut events).await;
        assert_eq!(
            exit.end,
            Some(ProcessEnd::Signaled {
                signal: Signal::KILL,
                core_dumped: false
            })
        );
    });
}
