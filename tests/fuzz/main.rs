//! Whatever is in a file or on a socket: no panic, no hang, no unbounded memory.
//!
//! A plain loop over seeds and what becomes of them, so that every run of the tests has it; the same targets are in `fuzz/`
//! for `cargo fuzz`. Seeded, and the seed is printed; `PROC_TEST_SEED=N` repeats a run. What `cargo fuzz` has found is in
//! `corpus/`, a directory for each target, and is played first of all.

mod mutate;
mod seeds;
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

use proc_tests::{Random, full};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::mutate::mutate;

/// How much address space all of it may take, in bytes: what asks for unbounded memory is aborted.
const SPACE: u64 = 2 << 30;
/// How long one input may take: no input is larger than 64 KiB.
const SLOW: Duration = Duration::from_secs(10);

/// What is fed: the name of a target in `fuzz/` and in `corpus/`, what its inputs begin with, and the target.
type Target = (&'static str, fn() -> Vec<Vec<u8>>, fn(&[u8]));

const TARGETS: [Target; 7] = [
    ("state", seeds::state, targets::state),
    ("journal", seeds::journal, targets::journal),
    ("pid_file", seeds::pid_file, targets::pid_file),
    ("shim_records", seeds::shim_records, targets::shim_records),
    (
        "shim_protocol",
        seeds::shim_protocol,
        targets::shim_protocol,
    ),
    ("config", seeds::config, targets::config),
    ("imports", seeds::imports, targets::imports),
];

#[test]
fn state_files() {
    run("state");
}

#[test]
fn journal() {
    run("journal");
}

#[test]
fn pid_files() {
    run("pid_file");
}

#[test]
fn shim_records() {
    run("shim_records");
}

#[test]
fn shim_protocol() {
    run("shim_protocol");
}

#[test]
fn configuration() {
    run("config");
}

#[test]
fn imports() {
    run("imports");
}

#[test]
fn the_loop_and_cargo_fuzz_have_the_same_targets() {
    let programs = proc_tests::root().join("fuzz/fuzz_targets");
    let mut there: Vec<String> = std::fs::read_dir(programs)
        .expect("it is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    there.sort();
    let mut here = TARGETS.map(|(name, ..)| name);
    here.sort_unstable();
    assert_eq!(there, here);
}

/// Writes what the inputs begin with to `PROC_FUZZ_SEEDS/TARGET/`, for `cargo fuzz run TARGET PROC_FUZZ_SEEDS/TARGET`.
#[test]
#[ignore = "a tool for cargo fuzz, not a test"]
fn write_seeds() {
    let dir = std::env::var_os("PROC_FUZZ_SEEDS").expect("PROC_FUZZ_SEEDS names a directory");
    for (name, seeds, _) in TARGETS {
        let dir = Path::new(&dir).join(name);
        std::fs::create_dir_all(&dir).expect("it is writable");
        for (number, seed) in seeds().iter().chain(&corpus(name)).enumerate() {
            std::fs::write(dir.join(format!("seed-{number}")), seed).expect("it is writable");
        }
    }
}

/// Returns the inputs that were trouble once.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = proc_tests::root().join("tests/fuzz/corpus").join(name);
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .map(|entry| std::fs::read(entry.expect("it can be listed").path()).expect("it is a file"))
        .collect()
}

/// Feeds a target its seeds, and then what becomes of them, for a bounded time.
fn run(name: &str) {
    let found = TARGETS.iter().find(|(target, ..)| *target == name);
    let (_, seeds, target) = *found.expect("it is in the table");
    let mut all = corpus(name);
    all.extend(seeds());
    let seeds = &all[..];
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
