//! What is on the disk when a shim has answered.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use proc_core::{ProcessEnd, Signal};
use proc_shim::{Client, Reply, Request, Role, RunRecord, ShimProcess, ShimRecord};
use support::{LONG, Shim, program, sh};

#[test]
fn a_shim_that_has_answered_is_on_record() {
    let shim = Shim::new();
    let record = ShimRecord::read(&shim.options.dir).unwrap().unwrap();
    assert!(record.identity.same_process(shim.child.identity()));
    assert_eq!(record.socket, shim.options.socket);
    assert!(!record.replacement);
}

#[test]
fn a_program_that_has_begun_is_on_record_with_its_shim_and_its_logs() {
    let home = tempfile::tempdir().unwrap();
    let options = support::options(home.path());
    let process = ShimProcess::launch(&program(), &options).unwrap();
    let mut client = Client::new(process.socket);
    let role = Role::Controller;
    // In one go: the program does not wait for what only a later supervisor wants to know.
    client.send(&Request::Hello { role }, Vec::new()).unwrap();
    let start = Request::Start(Box::new(sh("exec sleep 1000")));
    let (reply, _) = client.call(&start, Vec::new(), LONG).unwrap();
    let Reply::Started { running, .. } = reply else {
        panic!("{reply:?}");
    };
    let shim = ShimRecord::read(&options.dir).unwrap().unwrap();
    assert!(shim.identity.same_process(process.child.identity()));
    let run = RunRecord::read(&options.dir).unwrap().unwrap();
    assert_eq!(run.running, running);
    for stream in ["stdout", "stderr"] {
        let log = options.log_dir.join(format!("web.{stream}.log"));
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0, "{stream}");
    }
    running
        .identity
        .open()
        .unwrap()
        .signal(Signal::KILL)
        .unwrap();
    while !matches!(
        client.notice(LONG).unwrap(),
        proc_shim::Notice::TreeEmpty { .. }
    ) {}
    client.call(&Request::Exit, Vec::new(), LONG).unwrap();
    process.child.wait().unwrap();
    assert_eq!(ShimRecord::read(&options.dir).unwrap(), None);
}

#[test]
fn an_instance_has_one_shim() {
    let mut shim = Shim::new();
    let second = ShimProcess::launch(&program(), &shim.options).unwrap();
    let mut client = Client::new(second.socket);
    let hello = Request::Hello {
        role: Role::Controller,
    };
    match client.call(&hello, Vec::new(), LONG) {
        Ok((Reply::Failed(failure), _)) => assert!(failure.value.contains("has a shim")),
        Ok((other, _)) => panic!("{other:?}"),
        // It had ended before it was greeted.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe),
    }
    assert_eq!(second.child.wait().unwrap(), ProcessEnd::Exited(125));
    assert!(
        shim.status()
            .shim
            .unwrap()
            .same_process(shim.child.identity())
    );
}
