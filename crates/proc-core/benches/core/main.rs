//! What a process costs through this crate, as ratios to the raw system calls, measured in the same run.
//!
//! `cargo bench -p proc-core --bench core [-- spawn reopen exit stop]`, or `cargo xtask bench core`. Each pair runs in turns; medians count.

#![expect(clippy::unwrap_used, reason = "a step that fails ends the benchmark")]
#![expect(clippy::print_stdout, reason = "the table is the point")]

mod exit;
mod reopen;
mod spawn;
mod stop;

use std::time::{Duration, Instant};

use proc_core::{Child, Spawn, Stdio};

fn main() {
    println!(
        "{:<46} {:>10} {:>10} {:>7} {:>7} {:>7}",
        "", "raw", "proc-core", "ratio", "target", "best"
    );
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let parts: [(&str, fn()); 4] = [
        ("spawn", spawn::run),
        ("reopen", reopen::run),
        ("exit", exit::run),
        ("stop", stop::run),
    ];
    for (name, run) in parts {
        if only.is_empty() || only.iter().any(|only| only == name) {
            run();
        }
    }
}

/// Prints the medians and their ratio; and the ratio of the quickest, which other people's load disturbs least.
fn row(what: &str, raw: Vec<Duration>, ours: Vec<Duration>, target: f64) {
    let quickest = |times: &[Duration]| times.iter().min().copied().unwrap_or_default();
    let best = quickest(&ours).as_secs_f64() / quickest(&raw).as_secs_f64();
    let (raw, ours) = (median(raw), median(ours));
    let ratio = ours.as_secs_f64() / raw.as_secs_f64();
    println!(
        "{what:<46} {:>8.0}us {:>8.0}us {ratio:>7.2} {target:>7.2} {best:>7.2}",
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

/// Runs two things in turns and returns the times of each.
fn pair(
    rounds: usize,
    mut raw: impl FnMut(),
    mut ours: impl FnMut(),
) -> (Vec<Duration>, Vec<Duration>) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (times, run) in [(&mut a, &mut raw as &mut dyn FnMut()), (&mut b, &mut ours)] {
            let begun = Instant::now();
            run();
            times.push(begun.elapsed());
        }
    }
    (a, b)
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
