//! The supervisor is killed with -9: the next one finds its units and what became of them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use proc_backends::{Backend as _, RunState};
use proc_core::{ProcessEnd, Signal, StopSequence};

use crate::bed::{Bed, exit, foreign, spec};
use crate::run;

/// Not a test by itself: the supervisor that is killed. It starts two units and waits to die.
#[test]
#[ignore = "a role of the test below, started by it"]
fn role_supervisor() {
    let Some(dir) = std::env::var_os("PROC_TEST_BED") else {
        return;
    };
    let bed = Bed::at(dir.into());
    run(async {
        let (backend, _events) = bed.backend();
        backend
            .start(spec(
                &bed,
                "own",
                &["sh", "-c", "echo one; exec sleep 1000"],
                &[],
            ))
            .await
            .unwrap();
        backend.start(foreign(&bed, "web", "web")).await.unwrap();
        let ending = format!("read x < {}; exit 42", bed.path("run/go").display());
        backend
            .start(spec(&bed, "ending", &["sh", "-c", &ending], &[]))
            .await
            .unwrap();
        println!("all started");
        std::future::pending::<()>().await;
    });
}

#[test]
fn the_next_supervisor_finds_units_and_exits() {
    let Some(bed) = Bed::up() else { return };
    bed.units(&[("web.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    let fifo = bed.path("run/go");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "adopt::role_supervisor",
            "--nocapture",
        ])
        .env("PROC_TEST_BED", bed.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("all started")));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    let own = bed.facts("shop-own").main_pid;
    let web = bed.facts("web").main_pid;
    // One ends while nobody looks.
    std::fs::write(&fifo, "go\n").unwrap();
    bed.until("shop-ending", |facts| facts.active == "failed");

    run(async {
        let (backend, mut events) = bed.backend();
        assert_eq!(backend.recorded(), ["ending", "own", "web"]);
        for (instance, pid) in [("own", own), ("web", web)] {
            let adopted = backend.adopt(instance).await.unwrap().unwrap();
            let RunState::Running(started) = &adopted.status.state else {
                panic!("{adopted:?}")
            };
            assert_eq!((started.pid, started.run, adopted.notes.len()), (pid, 1, 0));
        }
        let adopted = backend.adopt("ending").await.unwrap().unwrap();
        let RunState::Exited(ended) = &adopted.status.state else {
            panic!("{adopted:?}")
        };
        assert_eq!((ended.run, ended.end), (1, Some(ProcessEnd::Exited(42))));
        assert_eq!(backend.adopt("stranger").await.unwrap(), None);

        for instance in ["own", "web"] {
            backend
                .stop(instance, StopSequence::default())
                .await
                .unwrap();
            let (exit, _) = exit(&mut events).await;
            let end = ProcessEnd::Signaled {
                signal: Signal::TERM,
                core_dumped: false,
            };
            assert_eq!((exit.run, exit.end), (1, Some(end)));
        }
        let log = std::fs::read_to_string(bed.path("state/log/own.log")).unwrap();
        assert_eq!(log, "one\n", "the log goes on where it was");
        let again = backend
            .start(spec(&bed, "ending", &["true"], &[]))
            .await
            .unwrap();
        assert_eq!(again.run, 2, "runs are never counted twice");
    });
}
