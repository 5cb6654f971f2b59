//! The state directory's disk refuses, or the supervisor is killed at a write: services are not touched, it is told, and when the
//! fault is over nothing is missing. The table of `docs/faults.md`, a row a test.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::Path;

use common::*;
use proc_core::ProcessEnd;
use proc_policy::Mode;
use proc_store::{Disk, Fault, FaultPlan, Op};
use proc_supervisor::{Begin, Event, Handle, StartError, Supervisor, WaitFor, offline};

/// The errors of disks, and how `status` names them.
const ERRORS: [(i32, &str); 5] = [
    (28, "ENOSPC"),
    (5, "EIO"),
    (30, "EROFS"),
    (24, "EMFILE"),
    (122, "EDQUOT"),
];

/// What of a record or the journal can fail.
const OPS: [Option<Op>; 5] = [
    None,
    Some(Op::Create),
    Some(Op::Write),
    Some(Op::Sync),
    Some(Op::Rename),
];

fn quick(name: &str, mode: Mode) -> proc_spec::ServiceSpec {
    let mut spec = service(name);
    spec.start_seconds = ms(1);
    spec.restart.mode = mode;
    spec.restart.initial_delay = ms(1);
    spec.restart.startup_max = None;
    spec.restart.crash_loop = None;
    spec
}

async fn started(
    fake: &Fake,
    dir: &Path,
    plan: &FaultPlan,
    begin: Begin,
    mode: Mode,
) -> Result<Handle, StartError> {
    let mut options = options(fake, dir, vec![quick("web", mode), quick("other", mode)]);
    options.begin = begin;
    options.disk = Disk::faulty(plan.clone());
    Supervisor::start(options).await
}

async fn settled(handle: &Handle) {
    let report = handle.wait(vec![], WaitFor::Settled, None).await.unwrap();
    assert!(report.ok(), "{report:?}");
}

/// Waits until the line that tells of the disk is there, or is not.
async fn until_told(handle: &Handle, told: impl Fn(&[String]) -> bool) {
    loop {
        let status = handle.status().await.unwrap();
        if told(&status.degraded) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn exits(events: &[Event]) -> Vec<i32> {
    let codes = events.iter().filter_map(|event| event.exit.as_ref()?.code);
    codes.collect()
}

fn assert_consecutive(events: &[Event]) {
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_error_is_told_and_outlived() {
    for (errno, name) in ERRORS {
        // Where it strikes makes no difference to what it is called.
        let ops = if name == "ENOSPC" {
            &OPS[..]
        } else {
            &OPS[..1]
        };
        for op in ops.iter().copied() {
            let row = format!("{name} at {op:?}");
            let (dir, fake, plan) = (tempfile::tempdir().unwrap(), Fake::new(), FaultPlan::none());
            let handle = started(
                &fake,
                dir.path(),
                &plan,
                Begin::ByHand(vec![]),
                Mode::Always,
            )
            .await;
            let handle = handle.unwrap();
            settled(&handle).await;
            plan.break_every(op, Fault::Errno(errno));
            fake.end("web", ProcessEnd::Exited(3)).await;
            let line = format!("state: {name}");
            until_told(&handle, |degraded| {
                degraded
                    .iter()
                    .any(|d| d.starts_with("state: ") || d.starts_with("journal: "))
            })
            .await;
            let status = handle.status().await.unwrap();
            let told = status.degraded.iter().any(|line| line.contains(name));
            assert!(told, "{row}: {line} is not in {:?}", status.degraded);
            // It restarts what ended all the same, and leaves alone what did not.
            handle
                .wait(names(&["web"]), WaitFor::Ready, None)
                .await
                .unwrap();
            assert_eq!((fake.run("web"), fake.run("other")), (2, 1), "{row}");
            plan.heal();
            until_told(&handle, <[String]>::is_empty).await;
            handle.leave().await.unwrap();
            let events = offline::events(dir.path(), 0).unwrap();
            assert_eq!(exits(&events), [3], "{row}");
            assert_consecutive(&events);
            assert!(fake.is_live("web") && fake.is_live("other"), "{row}");
        }
    }
}

#[tokio::test]
async fn an_interrupted_call_is_made_again_and_not_even_told() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    for at in 0..200 {
        let plan = FaultPlan::at(at, Fault::Errno(4));
        let handle = started(&fake, dir.path(), &plan, Begin::Resume, Mode::Always).await;
        let handle = handle.unwrap();
        settled(&handle).await;
        fake.end("web", ProcessEnd::Exited(3)).await;
        handle
            .wait(names(&["web"]), WaitFor::Ready, None)
            .await
            .unwrap();
        let status = handle.status().await.unwrap();
        assert_eq!(status.degraded, [""; 0], "interrupted at {at}");
        handle.leave().await.unwrap();
        if plan.seen().len() <= at {
            break;
        }
    }
    assert_consecutive(&offline::events(dir.path(), 0).unwrap());
}

/// Lets `web` end with 1, 2, …, `count`, and be started again each time; the disk takes nothing of it, and then the supervisor is
/// gone.
async fn unrecorded_runs(fake: &Fake, dir: &Path, count: u64) {
    let plan = FaultPlan::none();
    let begin = Begin::ByHand(vec![]);
    let handle = started(fake, dir, &plan, begin, Mode::Always)
        .await
        .unwrap();
    settled(&handle).await;
    plan.break_every(None, Fault::Errno(28));
    for code in 1..=count {
        let end = ProcessEnd::Exited(i32::try_from(code).unwrap());
        fake.end("web", end).await;
        while fake.run("web") <= code {
            tokio::task::yield_now().await;
        }
        settled(&handle).await;
    }
    handle.leave().await.unwrap();
    assert_eq!(exits(&offline::events(dir, 0).unwrap()), [0; 0]);
}

/// Lets a supervisor on a disk that works take over, and another one after it.
async fn assert_taken_over(fake: &Fake, dir: &Path, codes: &[i32], restarts: u32, row: &str) {
    for _ in 0..2 {
        let plan = FaultPlan::none();
        let handle = started(fake, dir, &plan, Begin::Resume, Mode::Always).await;
        let handle = handle.unwrap();
        settled(&handle).await;
        let status = handle.status().await.unwrap();
        let web = status.services.iter().find(|service| service.name == "web");
        let web = &web.unwrap().instances[0];
        assert_eq!(web.restarts, restarts, "{row}");
        let last = web.last_exit.as_ref().and_then(|exit| exit.code);
        assert_eq!(last, codes.last().copied(), "{row}");
        handle.leave().await.unwrap();
    }
    let events = offline::events(dir, 0).unwrap();
    assert_eq!(exits(&events), codes, "{row}: {events:#?}");
    assert_consecutive(&events);
}

#[tokio::test]
async fn what_a_supervisor_could_not_record_the_next_one_does() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    unrecorded_runs(&fake, dir.path(), 3).await;
    assert_taken_over(&fake, dir.path(), &[1, 2, 3], 3, "it runs").await;

    // The last run has ended too, and nobody has seen it.
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    unrecorded_runs(&fake, dir.path(), 2).await;
    fake.end("web", ProcessEnd::Exited(3)).await;
    assert_taken_over(&fake, dir.path(), &[1, 2, 3], 3, "it has ended").await;
    assert!(fake.is_acknowledged("web", 3));
}

#[tokio::test]
async fn a_kill_at_every_write_of_what_was_not_recorded_records_it_once() {
    for at in 0..400 {
        let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
        unrecorded_runs(&fake, dir.path(), 3).await;
        let plan = FaultPlan::at(at, Fault::Crash);
        let killed = started(&fake, dir.path(), &plan, Begin::Resume, Mode::Always).await;
        if let Ok(killed) = killed {
            settled(&killed).await;
            killed.leave().await.unwrap();
        }
        let row = format!("killed at {at}");
        assert_taken_over(&fake, dir.path(), &[1, 2, 3], 3, &row).await;
        if plan.seen().len() <= at {
            return;
        }
    }
    panic!("a supervisor writes for ever");
}

#[tokio::test]
async fn exits_that_were_not_kept_are_counted_once() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    let count = KEPT as u64 + 3;
    unrecorded_runs(&fake, dir.path(), count).await;
    assert_taken_over(&fake, dir.path(), &[4, 5, 6, 7], 7, "three are lost").await;
    let events = offline::events(dir.path(), 0).unwrap();
    let told = events
        .iter()
        .filter_map(|event| event.cause.detail.as_deref());
    let told: Vec<_> = told.filter(|detail| detail.contains("not kept")).collect();
    let [told] = told[..] else { panic!("{told:?}") };
    assert!(
        told.starts_with("3 exits were not kept, the last that of run 3"),
        "{told}"
    );
}

#[tokio::test]
async fn a_kill_at_every_write_loses_no_exit() {
    for at in 0..400 {
        let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
        let plan = FaultPlan::at(at, Fault::Crash);
        // From the moment of the kill on nothing of this supervisor reaches the disk any more. It must not start anything
        // either, as nobody does who was killed.
        if let Ok(handle) =
            started(&fake, dir.path(), &plan, Begin::ByHand(vec![]), Mode::Never).await
        {
            settled(&handle).await;
            fake.end("web", ProcessEnd::Exited(3)).await;
            handle
                .wait(names(&["web"]), WaitFor::Exited, None)
                .await
                .unwrap();
            handle.leave().await.unwrap();
        }
        let done = plan.seen().len() <= at;
        let real = FaultPlan::none();
        let handle = started(&fake, dir.path(), &real, Begin::Resume, Mode::Never).await;
        let handle = handle.unwrap();
        handle.wait(vec![], WaitFor::Settled, None).await.unwrap();
        assert!(fake.is_live("other"), "killed at {at}");
        let ran = fake.run("web");
        handle.leave().await.unwrap();
        let events = offline::events(dir.path(), 0).unwrap();
        let wanted: &[i32] = if ran == 0 || fake.is_live("web") {
            &[]
        } else {
            &[3]
        };
        assert_eq!(exits(&events), wanted, "killed at {at}, {ran} runs");
        assert_consecutive(&events);
        if done {
            assert_eq!(wanted, [3], "nothing was killed at {at}");
            return;
        }
    }
    panic!("a supervisor writes for ever");
}
