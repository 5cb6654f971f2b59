//! Whatever is in a file or on a socket: no panic, no hang, no unbounded memory.
//!
//! A plain loop over seeds and what becomes of them, so that every run of the tests has it; the same targets are in `fuzz/`
//! for `cargo fuzz`. Seeded, and the seed is printed; `PROC_TEST_SEED=N` repeats a run.

mod mutate;
mod seeds;
mod targets;

use std::time::{Duration, Instant};

use proc_tests::{Random, full};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::mutate::mutate;

/// How much address space all of it may take, in bytes: what asks for unbounded memory is aborted.
const SPACE: u64 = 2 << 30;
/// How long one input may take: no input is larger than 64 KiB.
const SLOW: Duration = Duration::from_secs(10);

#[test]
fn state_files() {
    run("state", &seeds::state(), targets::state);
}

#[test]
fn journal() {
    run("journal", &seeds::journal(), targets::journal);
}

#[test]
fn pid_files() {
    run("pid file", &seeds::pid_file(), targets::pid_file);
}

#[test]
fn shim_records() {
    run(
        "shim records",
        &seeds::shim_records(),
        targets::shim_records,
    );
}

#[test]
fn shim_protocol() {
    run(
        "shim protocol",
        &seeds::shim_protocol(),
        targets::shim_protocol,
    );
}

#[test]
fn configuration() {
    run("configuration", &seeds::config(), targets::config);
}

#[test]
fn imports() {
    run("imports", &seeds::imports(), targets::imports);
}

/// Feeds a target its seeds, and then what becomes of them, for a bounded time.
fn run(name: &str, seeds: &[Vec<u8>], target: fn(&[u8])) {
    let hard = getrlimit(Resource::As).maximum;
    let limit = Rlimit {
        current: Some(SPACE),
        maximum: hard,
    };
    setrlimit(Resource::As, limit).expect("a soft limit can be lowered");
    let (mut random, _) = Random::announced(name);
    let (rounds, time) = if full() {
        (u64::MAX, Duration::from_secs(60))
    } else {
        (20_000, Duration::from_secs(3))
    };
    let begun = Instant::now();
    let mut rounds_done = 0;
    for round in 0..rounds {
        let input = match usize::try_from(round).ok().and_then(|at| seeds.get(at)) {
            Some(seed) => seed.clone(),
            None => mutate(seeds, &mut random),
        };
        feed(name, target, &input);
        rounds_done += 1;
        if begun.elapsed() > time {
            break;
        }
    }
    assert!(
        rounds_done > seeds.len(),
        "{name}: {rounds_done} inputs were tried"
    );
}

/// Gives a target one input, and keeps an input that it cannot take.
fn feed(name: &str, target: fn(&[u8]), input: &[u8]) {
    let begun = Instant::now();
    let outcome = std::panic::catch_unwind(|| target(input));
    let slow = begun.elapsed() > SLOW;
    if outcome.is_err() || slow {
        let kept = std::env::temp_dir().join(format!("proc-fuzz-{}", std::process::id()));
        std::fs::write(&kept, input).expect("the temp dir is writable");
        panic!("{name}: slow: {slow}; the input is in `{}`", kept.display());
    }
}
