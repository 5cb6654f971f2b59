//! What a process costs through this crate, as ratios to the raw system calls, measured in the same run.
//!
//! `cargo bench -p proc-core --bench core`, or `cargo xtask bench core`. Each pair runs in turns; medians count.

#![expect(clippy::unwrap_used, reason = "a step that fails ends the benchmark")]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::ptr;
use std::time::{Duration, Instant};

use proc_core::{
    Attributes, Cgroup, Child, Identity, ProcessHandle, Signal, Spawn, Stdio, StopDriver,
    StopOptions, StopSequence, StopTarget, run_stop, stop_tree,
};

fn main() {
    println!(
        "{:<44} {:>10} {:>10} {:>7} {:>7}",
        "", "raw", "proc-core", "ratio", "target"
    );
    spawn_and_wait();
    attributes();
    reopen();
    stop();
}

fn row(what: &str, raw: Duration, ours: Duration, target: f64) {
    let ratio = ours.as_secs_f64() / raw.as_secs_f64();
    println!(
        "{what:<44} {:>8.0}us {:>8.0}us {ratio:>7.2} {target:>7.2}",
        micros(raw),
        micros(ours)
    );
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Runs two things in turns and returns the median of each.
fn pair(rounds: usize, mut raw: impl FnMut(), mut ours: impl FnMut()) -> (Duration, Duration) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (times, run) in [(&mut a, &mut raw as &mut dyn FnMut()), (&mut b, &mut ours)] {
            let begun = Instant::now();
            run();
            times.push(begun.elapsed());
        }
    }
    (median(a), median(b))
}

/// The least that starts a program and waits for it.
fn raw_true() {
    let program = CString::new("/bin/true").unwrap();
    let argv = [program.as_ptr().cast_mut(), ptr::null_mut()];
    let mut pid = 0;
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
    }
    // SAFETY: NUL-terminated strings in null-terminated arrays; nobody changes the environment meanwhile.
    let started = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            ptr::null(),
            ptr::null(),
            argv.as_ptr(),
            environ,
        )
    };
    assert_eq!(started, 0);
    let mut status = 0;
    // SAFETY: `status` is writable; the pid is our child's.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
}

fn spawn_and_wait() {
    for mebibytes in [10, 1024] {
        let mut memory = vec![0u8; mebibytes << 20];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        let (raw, ours) = pair(300, raw_true, || {
            assert!(
                Spawn::new("/bin/true")
                    .spawn()
                    .unwrap()
                    .wait()
                    .unwrap()
                    .success()
            );
        });
        row(
            &format!("spawn and wait, {mebibytes} MiB of memory"),
            raw,
            ours,
            1.15,
        );
        drop(std::hint::black_box(memory));
    }
}

fn attributes() {
    let attributes = || Attributes {
        umask: Some(0o27),
        nice: Some(1),
        close_fds: true,
        ..Attributes::default()
    };
    let (raw, ours) = pair(300, raw_true, || {
        let resolved = attributes().resolve(None).unwrap();
        assert!(
            Spawn::new("/bin/true")
                .attributes(resolved)
                .spawn()
                .unwrap()
                .wait()
                .unwrap()
                .success()
        );
    });
    row("the same with attributes", raw, ours, 1.2);
}

fn sleepers(count: usize) -> Vec<Child> {
    (0..count)
        .map(|_| {
            Spawn::new("/bin/sleep")
                .arg("1000")
                .stdin(Stdio::Null)
                .spawn()
                .unwrap()
        })
        .collect()
}

/// 500 processes opened ten times each: 5,000 records.
fn reopen() {
    let children = sleepers(500);
    let identities: Vec<Identity> = children
        .iter()
        .map(|child| child.identity().clone())
        .collect();
    let text: Vec<String> = identities
        .iter()
        .map(|identity| serde_json::to_string(identity).unwrap())
        .collect();
    let (by_number, ours) = pair(
        10,
        || {
            for _ in 0..10 {
                for identity in &identities {
                    drop(ProcessHandle::of(identity.pid).unwrap());
                }
            }
        },
        || {
            for _ in 0..10 {
                for text in &text {
                    let identity: Identity = serde_json::from_str(text).unwrap();
                    drop(identity.open().unwrap());
                }
            }
        },
    );
    println!(
        "{:<44} {:>10} {:>8.0}us {:>7} {:>7}",
        "reopen 5,000 records (target 25 ms)",
        "",
        micros(ours),
        "",
        ""
    );
    println!(
        "{:<44} {:>8.0}us",
        "  looking 5,000 up by number instead",
        micros(by_number)
    );
    for child in children {
        child.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
    }
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

fn stop() {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
    let Ok(cgroup) = Cgroup::create(&format!("proc-core-bench-{}", std::process::id())) else {
        println!("SKIP stop of a thousand: no writable cgroup2 to compare with");
        return;
    };
    let timed = |stop: &mut dyn FnMut(&Child)| {
        let times = (0..5).map(|_| {
            let (child, mut pipe) = thousand(&cgroup);
            let begun = Instant::now();
            stop(&child);
            // End-of-file: nobody is left.
            assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
            let elapsed = begun.elapsed();
            while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
            elapsed
        });
        median(times.collect())
    };
    let raw = timed(&mut |_| cgroup.kill().unwrap());
    let sequence: StopSequence = "TERM/60s, KILL".parse().unwrap();
    let subreaper = timed(&mut |child| {
        let target = StopTarget::new(child.handle().try_clone().unwrap()).subreaper();
        let report = run_stop(
            StopDriver::new(sequence.clone(), target, Instant::now()),
            &mut |_, _| {},
        );
        assert!(report.survivors.is_empty() && !report.escalated);
    });
    row(
        "stop 1,000: TERM as subreaper / cgroup.kill",
        raw,
        subreaper,
        1.5,
    );
    let killed = timed(&mut |child| {
        let options = StopOptions {
            cgroup: Some(cgroup.clone()),
            ..StopOptions::default()
        };
        let report = stop_tree(child.handle(), &StopSequence::kill(), options).unwrap();
        assert!(report.survivors.is_empty());
    });
    row("stop 1,000: KILL by cgroup / cgroup.kill", raw, killed, 1.1);
    cgroup.remove().unwrap();
}
