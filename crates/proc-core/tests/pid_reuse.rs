//! A stranger that was given a known pid is never signalled, by none of the ways to reopen a process.
//!
//! The reuse is forced: in a pid namespace of its own the next number is set through `ns_last_pid`, and nobody else
//! forks there. `PROC_CORE_REUSES` says how often (default 300, with `PROC_TEST_FULL` 40,000: 10,000 for each of the ways).

use std::fs::File;
use std::io::Read;

use proc_core::{Child, Identity, OpenOptions, OpenStep, Signal, SignalError, Spawn, Stdio};

const STEPS: [OpenStep; 4] = [
    OpenStep::Handle,
    OpenStep::Inode,
    OpenStep::Ticks,
    OpenStep::Number,
];

#[test]
fn a_stranger_with_a_reused_pid_is_never_signalled() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP a_stranger_with_a_reused_pid_is_never_signalled: needs root");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let mut child = Spawn::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(this)
        .args([
            "--exact",
            "in_namespace",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .stdin(Stdio::Null)
        .stdout(Stdio::Pipe)
        .spawn()
        .unwrap();
    let mut text = String::new();
    File::from(child.take_stdout().unwrap())
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    let figures = text.lines().filter(|line| line.starts_with("reuse"));
    figures.for_each(|line| eprintln!("{line}"));
}

fn sleeper() -> Child {
    Spawn::new("sleep")
        .arg("1000")
        .stdin(Stdio::Null)
        .stdout(Stdio::Null)
        .spawn()
        .expect("sleep starts")
}

/// Starts a process under a number that is free.
fn sleeper_with(pid: u32) -> Child {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())
        .expect("root of a pid namespace");
    let child = sleeper();
    assert_eq!(child.pid(), pid, "the number was given away");
    child
}

#[test]
#[ignore = "run by a_stranger_with_a_reused_pid_is_never_signalled in a pid namespace"]
fn in_namespace() {
    let rounds: u32 = std::env::var("PROC_CORE_REUSES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(if std::env::var_os("PROC_TEST_FULL").is_some() {
            40_000
        } else {
            300
        });
    let mut same_tick = [0; STEPS.len()];
    let mut refused = [0; STEPS.len()];
    for round in 0..rounds {
        let step = STEPS[(round % 4) as usize];
        let options = OpenOptions {
            force_step: Some(step),
            ..OpenOptions::default()
        };
        let victim = sleeper();
        // Half of the records are whole, half hold what a kernel of that age would have given.
        let identity = if round % 8 < 4 {
            victim.identity().clone()
        } else {
            Identity::of_with(victim.pid(), options).unwrap()
        };
        if step != OpenStep::Number {
            identity
                .open_with(options)
                .unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
        victim.signal(Signal::KILL).unwrap();
        victim.wait().unwrap();
        let stranger = sleeper_with(victim.pid());
        let way = (round % 4) as usize;
        same_tick[way] += u32::from(stranger.identity().start_ticks == identity.start_ticks);

        assert!(!identity.same_process(stranger.identity()) || identity.pidfs_ino.is_none());
        // The whole chain, then this way alone, then the handles that were opened before the end.
        let sent = identity.signal(Signal::HUP);
        assert!(
            matches!(sent, Err(SignalError::NoSuchProcess { .. })),
            "{sent:?}"
        );
        let sent = identity.signal_with(Signal::HUP, options);
        assert!(
            matches!(
                sent,
                Err(SignalError::NoSuchProcess { .. } | SignalError::Unverified { .. })
            ),
            "{step:?} {sent:?}"
        );
        assert!(!identity.liveness().is_alive(), "{step:?}");
        assert!(victim.signal(Signal::HUP).is_err());
        assert!(victim.handle().signal_group(Signal::HUP).is_err());

        // HUP has the lowest number: had it been sent, the stranger would have died of it.
        stranger.signal(Signal::TERM).unwrap();
        assert_eq!(
            stranger.wait().unwrap().signal(),
            Some(Signal::TERM),
            "{step:?}: a stranger was signalled"
        );
        refused[way] += 1;
    }
    println!(); // the harness has begun this line
    for (way, step) in STEPS.iter().enumerate() {
        println!(
            "reuse {step:?}: {} forced, {} of them within one tick, 0 signals to a stranger",
            refused[way], same_tick[way]
        );
    }
    assert!(
        same_tick.iter().sum::<u32>() > 0 || rounds < 100,
        "no reuse was within one clock tick, so this proved little"
    );
}
