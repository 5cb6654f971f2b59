//! A clock that jumps by an hour between saving an identity and opening it again: the same process.
//!
//! The clock that start times are counted by is moved for real, in a time namespace. The wall clock is no part of an
//! identity, so there is nothing to move it for.

use std::fs::File;
use std::io::Read as _;

use proc_core::{Identity, Liveness, OpenOptions, OpenStep, Signal, Spawn, Stdio};
use proc_tests::{bin, is_root};

const SAVED: &str = "PROC_HOSTILE_SAVED_IDENTITY";
const UPTIME: &str = "PROC_HOSTILE_UPTIME";

#[test]
fn an_hour_between_save_and_open_changes_nothing() {
    if !is_root() || !std::path::Path::new("/proc/self/ns/time").exists() {
        eprintln!("SKIP an_hour_between_save_and_open_changes_nothing: no time namespaces for us");
        return;
    }
    let victim = Spawn::new(bin("hostile-program"))
        .args(["obedient", "1"])
        .stdin(Stdio::Null)
        .spawn()
        .expect("the program starts");
    for (clock, offset) in [("--boottime", 3600), ("--boottime", 7200)] {
        let saved = serde_json::to_string(victim.identity()).expect("plain data");
        let mut inside = Spawn::new("unshare")
            .args([
                "--time",
                clock,
                &offset.to_string(),
                "--fork",
                "--kill-child",
            ])
            .arg(std::env::current_exe().expect("a running program has a path"))
            .args(["--exact", "clock::inside", "--ignored", "--nocapture"])
            .env(SAVED, saved)
            .env(UPTIME, uptime().to_string())
            .stdin(Stdio::Null)
            .stdout(Stdio::Pipe)
            .spawn()
            .expect("unshare starts");
        let mut text = String::new();
        let mut pipe = File::from(inside.take_stdout().expect("a pipe"));
        pipe.read_to_string(&mut text).expect("text");
        let end = inside.wait().expect("our child");
        assert!(end.success() && text.contains("1 passed"), "{text}");
    }
    victim.signal(Signal::KILL).expect("our child");
    victim.wait().expect("our child");
}

#[test]
#[ignore = "run by an_hour_between_save_and_open_changes_nothing in a time namespace"]
fn inside() {
    let variable = |name| std::env::var(name).expect("set by the test outside");
    let before: u64 = variable(UPTIME).parse().expect("seconds");
    assert!(uptime() >= before + 3600, "the clock was not moved");
    let saved: Identity = serde_json::from_str(&variable(SAVED)).expect("an identity");
    let now = Identity::of(saved.pid).expect("it lives");
    assert!(saved.same_process(&now), "{saved:?} {now:?}");
    assert!(
        matches!(saved.liveness(), Liveness::Alive { .. }),
        "{:?}",
        saved.liveness()
    );
    saved.open().expect("by the best way");
    for step in [OpenStep::Handle, OpenStep::Inode, OpenStep::Ticks] {
        let force_step = Some(step);
        let opened = saved.open_with(OpenOptions {
            force_step,
            ..OpenOptions::default()
        });
        opened.unwrap_or_else(|error| panic!("{step:?}: {error}"));
    }
    // What an older kernel would have saved.
    let old = Identity {
        pidfs_ino: None,
        handle: None,
        ..saved
    };
    old.open().expect("by its start");
    assert!(old.same_process(&now), "{old:?} {now:?}");
}

/// Seconds since boot, as this namespace counts them.
fn uptime() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("procfs");
    let seconds = text.split('.').next().and_then(|text| text.parse().ok());
    seconds.expect("a number")
}
