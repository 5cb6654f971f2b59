//! What scheduling costs: 2,000 `true` in a random graph, as a ratio to a shell loop of the same parallelism.
//!
//! `cargo bench -p proc-run --bench pipeline`, or `cargo xtask bench pipeline`. They run in turns; medians count.

#![expect(clippy::unwrap_used, reason = "a step that fails ends the benchmark")]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proc_run::{Pipeline, PipelineOptions, Task};

const TASKS: usize = 2000;
const ROUNDS: usize = 5;
const TARGET: f64 = 1.3;

fn main() {
    println!(
        "{:<44} {:>10} {:>10} {:>7} {:>7}",
        "", "bash", "proc-run", "ratio", "target"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for jobs in [1, 4, 16] {
        let options = PipelineOptions {
            jobs,
            ..PipelineOptions::default()
        };
        let pipeline = Pipeline::new(graph()).unwrap();
        let (mut shell, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            shell_loop(jobs);
            shell.push(begun.elapsed());
            let begun = Instant::now();
            let run = pipeline.run(&options, std::future::pending(), |_| {});
            assert_eq!(runtime.block_on(run).passed, TASKS);
            ours.push(begun.elapsed());
        }
        let (shell, ours) = (median(shell), median(ours));
        let ratio = ours.as_secs_f64() / shell.as_secs_f64();
        let what = format!("{TASKS} tasks, {jobs} at once");
        println!(
            "{what:<44} {:>8.0}ms {:>8.0}ms {ratio:>7.2} {TARGET:>7.2}",
            shell.as_secs_f64() * 1e3,
            ours.as_secs_f64() * 1e3
        );
    }
}

/// Each task comes after up to two random ones before it.
fn graph() -> Vec<Task> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let task = |i: usize| {
        let after: Vec<String> = (0..i.min(2)).map(|_| format!("t{}", random(i))).collect();
        Task::argv(format!("t{i}"), ["/bin/true"]).after(after)
    };
    (0..TASKS).map(task).collect()
}

/// The same programs in the order written, which is one that holds; no output kept, no result.
fn shell_loop(jobs: usize) {
    let script = format!(
        "for ((i = 0; i < {TASKS}; i++)); do ((i >= {jobs})) && wait -n; /bin/true & done; wait"
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).stdin(Stdio::null());
    assert!(bash.status().unwrap().success());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
