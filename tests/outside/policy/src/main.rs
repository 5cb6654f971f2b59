//! Lets a program that always fails give up, without a clock.

use std::time::Duration;

use proc_policy::{Counters, Decision, ExitFacts, RestartPolicy};

fn main() {
    let policy = RestartPolicy::default();
    let mut counters = Counters::default();
    let exit = ExitFacts {
        code: Some(1),
        runtime: Duration::from_millis(100),
        ..Default::default()
    };
    let mut now = Duration::ZERO;
    let mut runs = 1;
    loop {
        now += exit.runtime;
        match policy.on_exit(&mut counters, &exit, now, 0.5) {
            Decision::Restart { delay, .. } => now += delay,
            Decision::Stay { reason, .. } => {
                break println!("after {runs} runs, {now:?}: {reason}");
            }
        }
        runs += 1;
    }
    assert_eq!(runs, 4);
}
