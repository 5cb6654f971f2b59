//! Stopping a tree of a thousand, against `cgroup.kill`.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant};

use proc_core::{
    Attributes, Cgroup, Child, Spawn, Stdio, StopDriver, StopOptions, StopSequence, StopTarget,
    run_stop, stop_tree,
};
use rustix::process::{WaitOptions, wait};

use crate::row;

const ROUNDS: usize = 9;

/// Each ends when nobody of the tree is left: for TERM reaped, for the cgroup's own kill dead.
pub(crate) fn run() {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
    let Ok(cgroup) = Cgroup::create(&format!("proc-core-bench-{}", std::process::id())) else {
        println!("SKIP stop of a thousand: no writable cgroup2 to compare with");
        return;
    };
    let mut times: [Vec<Duration>; 5] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(timed(&cgroup, true, |_| cgroup.kill().unwrap()));
        times[1].push(timed(&cgroup, true, terminate));
        times[2].push(timed(&cgroup, false, |_| cgroup.kill().unwrap()));
        times[4].push(timed(&cgroup, false, |_| raw_kill(&cgroup)));
        times[3].push(timed(&cgroup, false, |child| kill(child, &cgroup)));
    }
    cgroup.remove().unwrap();
    let [raw_reaped, terminated, raw, killed, raw_proven] = times;
    row(
        "stop 1,000: TERM as subreaper / cgroup.kill",
        raw_reaped,
        terminated,
        1.5,
    );
    row(
        "stop 1,000: KILL by cgroup / cgroup.kill",
        raw,
        killed.clone(),
        1.1,
    );
    row("  / cgroup.kill until it is empty", raw_proven, killed, 1.1);
}

fn terminate(child: &Child) {
    let sequence: StopSequence = "TERM/60s, KILL".parse().unwrap();
    let target = StopTarget::new(child.handle().try_clone().unwrap()).subreaper();
    let driver = StopDriver::new(sequence, target, Instant::now());
    let report = run_stop(driver, &mut |_, _| {});
    assert!(report.survivors.is_empty() && !report.escalated);
    assert_eq!(report.signalled, 1000);
}

/// Kills and waits until the kernel says that nobody is left, which a closed pipe does not.
fn raw_kill(cgroup: &Cgroup) {
    use rustix::event::{PollFd, PollFlags, poll};
    let events = cgroup.events_file().unwrap();
    cgroup.kill().unwrap();
    while cgroup.is_populated().unwrap() {
        poll(&mut [PollFd::new(&events, PollFlags::PRI)], None).unwrap();
    }
}

fn kill(child: &Child, cgroup: &Cgroup) {
    let options = StopOptions {
        cgroup: Some(cgroup.clone()),
        ..StopOptions::default()
    };
    let report = stop_tree(child.handle(), &StopSequence::kill(), options).unwrap();
    assert!(report.survivors.is_empty());
}

/// Times a stop until everybody is reaped, or until everybody's end of a pipe is closed.
fn timed(cgroup: &Cgroup, reaped: bool, stop: impl FnOnce(&Child)) -> Duration {
    let (child, mut pipe) = thousand(cgroup);
    let begun = Instant::now();
    stop(&child);
    if !reaped {
        assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
    }
    let closed = begun.elapsed();
    while wait(WaitOptions::empty()).is_ok() {}
    if reaped { begun.elapsed() } else { closed }
}

/// A tree of a thousand, all there when it returns.
fn thousand(cgroup: &Cgroup) -> (Child, File) {
    let script = "for (1..999) { last unless fork } syswrite STDOUT, 'x'; sleep 1000 while 1;";
    let attributes = Attributes::default().resolve(Some(cgroup)).unwrap();
    let spawn = Spawn::new("perl")
        .args(["-e", script])
        .stdin(Stdio::Null)
        .stdout(Stdio::Pipe)
        .attributes(attributes);
    let mut child = spawn.spawn().unwrap();
    let mut pipe = File::from(child.take_stdout().unwrap());
    pipe.read_exact(&mut [0; 1000]).unwrap();
    (child, pipe)
}
