//! A run that goes on in another process of its tree: its end is the run's end, with its exit code.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;

use proc_core::{ProcessEnd, Signal};
use proc_shim::{FailureKind, Reply, Request, RunRecord, Running, Target};
use support::{Shim, make_fifo, read_fifo, sh};

fn follow(shim: &mut Shim, run: u64, pid: u32) -> Running {
    match shim.ask(&Request::Follow { run, pid }) {
        Reply::Started { running, .. } => running,
        other => panic!("{other:?}"),
    }
}

fn refused(shim: &mut Shim, run: u64, pid: u32) -> FailureKind {
    match shim.ask(&Request::Follow { run, pid }) {
        Reply::Failed(failure) => failure.kind,
        other => panic!("{other:?}"),
    }
}

/// A script whose leader leaves a daemon behind that writes its pid to a FIFO, waits for a line of
/// another one, and then ends with code 7.
fn daemon(home: &Path) -> String {
    make_fifo(&home.join("pid"));
    make_fifo(&home.join("go"));
    let (pid, go) = (home.join("pid"), home.join("go"));
    format!(
        "(setsid sh -c 'echo $$ >{}; read line <{}; exit 7') & exit 0",
        pid.display(),
        go.display()
    )
}

#[test]
fn a_daemon_that_forked_itself_away_is_followed_to_its_own_exit_code() {
    let mut shim = Shim::new();
    let script = daemon(shim.home.path());
    let run = shim.start(sh(&script)).run;
    let pid: u32 = read_fifo(&shim.home.path().join("pid"))
        .trim()
        .parse()
        .unwrap();
    assert_eq!(shim.exited().end, Some(ProcessEnd::Exited(0)));

    assert_eq!(refused(&mut shim, run + 1, pid), FailureKind::NotRunning);
    assert_eq!(
        refused(&mut shim, run, 1),
        FailureKind::NotRunning,
        "a stranger"
    );
    let running = follow(&mut shim, run, pid);
    assert_eq!((running.run, running.identity.pid), (run, pid));
    assert_eq!(running.pgid, pid, "it made a session of its own");
    let status = shim.status();
    assert_eq!(status.running.unwrap().identity, running.identity);
    assert_eq!(status.exited, None, "the run has not ended");
    let dir = shim.options.dir.clone();
    assert_eq!(
        RunRecord::read(&dir).unwrap().unwrap().running.identity.pid,
        pid
    );
    assert!(!dir.join("exit").exists());

    std::fs::write(shim.home.path().join("go"), "\n").unwrap();
    let exited = shim.exited();
    assert_eq!((exited.run, exited.end), (run, Some(ProcessEnd::Exited(7))));
    assert_eq!(shim.tree_empty(), run);
}

#[test]
fn the_only_process_left_is_found_without_a_number() {
    let mut shim = Shim::new();
    let script = daemon(shim.home.path());
    let run = shim.start(sh(&script)).run;
    let pid: u32 = read_fifo(&shim.home.path().join("pid"))
        .trim()
        .parse()
        .unwrap();
    shim.exited();
    assert_eq!(follow(&mut shim, run, 0).identity.pid, pid);
    let report = shim.stop("TERM/10s");
    assert!(report.survivors.is_empty(), "{report:?}");
    let end = shim.exited().end.unwrap();
    assert_eq!(end.signal(), Some(Signal::TERM));
}

#[test]
fn the_child_of_a_wrapper_is_followed_while_the_wrapper_lives() {
    let mut shim = Shim::new();
    let fifo = shim.home.path().join("pid");
    make_fifo(&fifo);
    // The wrapper lives on when its child has ended, and the run has ended all the same.
    let script = format!(
        "sh -c 'echo $$ >{}; exec sleep 1000' & wait; exec sleep 1000",
        fifo.display()
    );
    let leader = shim.start(sh(&script));
    let pid: u32 = read_fifo(&fifo).trim().parse().unwrap();
    assert_ne!(pid, leader.identity.pid);
    follow(&mut shim, leader.run, pid);
    shim.ask(&Request::Signal {
        signal: Signal::INT,
        target: Target::Leader,
    });
    let _ignored_by_background_jobs = shim.ask(&Request::Signal {
        signal: Signal::USR1,
        target: Target::Leader,
    });
    let exited = shim.exited();
    assert_eq!(exited.run, leader.run);
    match exited.end {
        Some(end) => assert_eq!(end.signal(), Some(Signal::USR1)),
        // An older kernel tells the parent alone.
        None => assert!(exited.unknown.is_some()),
    }
    assert!(!shim.status().tree_empty, "the wrapper is still there");
    assert!(shim.stop("KILL").survivors.is_empty());
}
