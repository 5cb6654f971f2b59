//! Units that are generated from a spec.

use proc_backends::{Backend as _, BackendEventKind, RunState, SignalTarget, StartError};
use proc_core::{Limit, ProcessEnd, Resource, Signal, StopSequence};
use proc_output::read::{LogReader, Query};

use crate::bed::{Bed, event, exit, spec};
use crate::run;

fn log(bed: &Bed, instance: &str) -> String {
    std::fs::read_to_string(bed.path("state/log").join(format!("{instance}.log"))).unwrap()
}

#[test]
fn a_spec_arrives_as_written() {
    let Some(bed) = Bed::up() else { return };
    let odd = "50% of \"$HOME\" `x` \\ ü\ttab\nline; end";
    let script = r#"printf '%s|' "$0" "$@"; echo; printf 'S=%s\n' "$SECRET"; pwd; umask; ulimit -n; echo last >&2"#;
    run(async {
        let (backend, mut events) = bed.backend();
        let mut spec = spec(&bed, "odd", &["sh", "-c", script, odd, "", ";"], &[]);
        spec.env.push(("SECRET".into(), odd.into()));
        spec.env.push(("BAD%%".into(), "x".into()));
        spec.attributes.umask = Some(0o27);
        spec.attributes.limits = vec![Limit::both(Resource::Nofile, Some(123))];
        let started = backend.start(spec).await.unwrap();
        assert_eq!(started.downgrades.len(), 1, "{:?}", started.downgrades);
        let (exit, _) = exit(&mut events).await;
        assert_eq!(exit.end, Some(ProcessEnd::Exited(0)));
        let home = bed.path("home");
        let expected = format!("{odd}||;|\nS={odd}\n{}\n0027\n123\nlast\n", home.display());
        assert_eq!(log(&bed, "odd"), expected);
        assert_eq!(exit.log.stdout, expected.len() as u64);

        let unit = std::fs::read_to_string(bed.own_unit("shop-odd.service")).unwrap();
        assert!(
            !unit.contains("S=50"),
            "no value of the environment is in the unit"
        );
        let mode = std::os::unix::fs::MetadataExt::mode(
            &bed.path("state/systemctl/odd/environment")
                .metadata()
                .unwrap(),
        );
        assert_eq!(mode & 0o777, 0o600);
        backend.stop("odd", StopSequence::default()).await.unwrap();
        backend.forget("odd").await.unwrap();
        assert!(!bed.own_unit("shop-odd.service").exists());
        assert!(!bed.path("state/systemctl/odd").exists());
        assert_eq!(bed.facts("shop-odd").load, "not-found");
    });
}

#[test]
fn failures_to_start_name_what_failed() {
    let Some(bed) = Bed::up() else { return };
    let plain = bed.path("home/plain");
    std::fs::write(&plain, "no program").unwrap();
    run(async {
        let (backend, _events) = bed.backend();
        let start = |argv: &[&str]| backend.start(spec(&bed, "x", argv, &[]));
        let error = start(&["nonexistent-program"]).await.unwrap_err();
        assert_eq!(error.exit_code(), 127, "{error}");
        let error = start(&["/nonexistent/program"]).await.unwrap_err();
        assert_eq!(error.exit_code(), 127, "{error}");
        let error = start(&[plain.to_str().unwrap()]).await.unwrap_err();
        assert_eq!(error.exit_code(), 126, "{error}");
        let mut nowhere = spec(&bed, "x", &["/bin/true"], &[]);
        nowhere.cwd = "/nonexistent".into();
        let error = backend.start(nowhere).await.unwrap_err();
        assert!(
            matches!(&error, StartError::Attribute { attribute, .. } if attribute == "cwd"),
            "{error}"
        );
        let mut user = spec(&bed, "x", &["/bin/true"], &[]);
        user.attributes.user = Some("nobody".into());
        let error = backend.start(user).await.unwrap_err().to_string();
        assert!(error.contains("scope"), "{error}");
    });
}

#[test]
fn signals_and_stops_reach_the_whole_unit() {
    let Some(bed) = Bed::up() else { return };
    run(async {
        let (backend, mut events) = bed.backend();
        let script = "trap 'echo got-usr1' USR1; trap 'exit 9' HUP; setsid sleep 1000 & echo up; while :; do wait; done";
        let mut spec = spec(&bed, "tree", &["sh", "-c", script], &[]);
        spec.stop = "HUP/30s, KILL".parse().unwrap();
        backend.start(spec.clone()).await.unwrap();
        let again = backend.start(spec.clone()).await.unwrap_err();
        assert!(matches!(again, StartError::StillRunning { .. }), "{again}");
        wait_for_line(&bed, "tree", "up").await;
        backend
            .signal("tree", Signal::USR1, SignalTarget::Leader)
            .await
            .unwrap();
        wait_for_line(&bed, "tree", "got-usr1").await;
        let report = backend.stop("tree", spec.stop.clone()).await.unwrap();
        assert!(
            report.survivors.is_empty() && !report.escalated,
            "{report:?}"
        );
        let (exit, _) = exit(&mut events).await;
        assert_eq!(exit.end, Some(ProcessEnd::Exited(9)), "HUP came first");
        assert_eq!(event(&mut events).await.kind, BackendEventKind::TreeEmpty);
    });
}

async fn wait_for_line(bed: &Bed, instance: &str, line: &str) {
    let dir = bed.path("state/log");
    let mut reader = LogReader::new();
    reader.add(&dir, instance).unwrap();
    let mut follow = reader.follow(&Query::default()).unwrap();
    let found = async { while follow.next_entry().await.unwrap().text() != line.as_bytes() {} };
    tokio::time::timeout(crate::bed::PATIENCE, found)
        .await
        .expect("the line comes");
}

#[test]
fn many_starts_and_stops_leave_nothing_behind() {
    let Some(bed) = Bed::up() else { return };
    run(async {
        let (backend, mut events) = bed.backend();
        let mut measured = None;
        let full = std::env::var_os("PROC_TEST_FULL").is_some();
        for round in 1..=if full { 100 } else { 20u64 } {
            let spec = spec(
                &bed,
                "loop",
                &["sh", "-c", "echo hello; sleep 1000 & exec sleep 1000"],
                &[],
            );
            let started = backend.start(spec).await.unwrap();
            assert_eq!(started.run, round);
            let report = backend.stop("loop", StopSequence::default()).await.unwrap();
            assert!(report.survivors.is_empty(), "{report:?}");
            let (exit, _) = exit(&mut events).await;
            assert_eq!(exit.run, round);
            assert_eq!(event(&mut events).await.kind, BackendEventKind::TreeEmpty);
            assert!(!started.identity.liveness().is_alive());
            if round == 3 {
                measured = Some(descriptors());
            }
        }
        let before = measured.unwrap();
        assert!(
            descriptors() <= before + 2,
            "{} descriptors, {before} before",
            descriptors()
        );
        assert_eq!(bed.facts("shop-loop").active, "inactive");
        let status = backend.status("loop").await.unwrap();
        assert!(matches!(status.state, RunState::Exited(_)) && status.tree_empty);
        backend.forget("loop").await.unwrap();
        let units = bed.output(&["list-units", "--all", "--plain", "--no-legend", "shop-*"]);
        assert_eq!(units, "");
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn no_line_is_lost_of_runs_that_end_at_once() {
    let Some(bed) = Bed::up() else { return };
    run(async {
        let (backend, mut events) = bed.backend();
        for round in 1..=20 {
            let spec = spec(
                &bed,
                "quick",
                &[
                    "sh",
                    "-c",
                    &format!("echo line {round}; printf 'no end'; exit 3"),
                ],
                &[],
            );
            backend.start(spec).await.unwrap();
            let (exit, _) = exit(&mut events).await;
            assert_eq!(exit.end, Some(ProcessEnd::Exited(3)));
        }
        let expected: String = (1..=20)
            .map(|round| format!("line {round}\nno end"))
            .collect();
        let raw = std::fs::read_to_string(bed.path("state/log/quick.log")).unwrap();
        let journal = bed.journal("shop-quick.service");
        assert_eq!(raw, expected, "the journal has:\n{journal}");
    });
}
