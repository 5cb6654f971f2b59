//! A pipeline of many tasks uses the memory of few. A test program of its own: memory is the process's.

use std::time::Duration;

use proc_run::{Pipeline, PipelineEvent, PipelineOptions, Task};

/// The resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    size.expect("a size")
}

#[tokio::test]
async fn memory_is_flat_with_ten_thousand_tasks() {
    let tasks = (0..10_000)
        .map(|i: usize| {
            let after: Vec<String> = (1..=2.min(i))
                .map(|back| format!("t{}", i - back))
                .collect();
            // One in eight depends on its neighbours, so that many can run at once.
            let after = if i.is_multiple_of(8) {
                after
            } else {
                Vec::new()
            };
            Task::argv(format!("t{i}"), ["true"]).after(after)
        })
        .collect();
    let pipeline = Pipeline::new(tasks).unwrap();
    let options = PipelineOptions::default();
    let (mut settled, mut early, mut late) = (0, 0, 0);
    let on_event = |event: PipelineEvent<'_>| {
        if matches!(event, PipelineEvent::Settled { .. }) {
            settled += 1;
            match settled {
                1_000 => early = resident(),
                10_000 => late = resident(),
                _ => {}
            }
        }
    };
    let run = pipeline.run(&options, std::future::pending(), on_event);
    let outcome = tokio::time::timeout(Duration::from_secs(300), run)
        .await
        .unwrap();
    assert_eq!(outcome.passed, 10_000);
    // A result is some hundred bytes; a process kept, a pipe or a buffer would be kilobytes.
    let grown = late.saturating_sub(early);
    assert!(grown < 8 * 1024, "{early} KiB, then {late} KiB");
}
