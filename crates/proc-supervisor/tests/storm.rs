//! Many services that all need one thing that is not there.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::*;
use proc_policy::{BucketRate, Jitter};
use proc_supervisor::{Handle, State, StopOptions, Supervisor};
use tokio::time::Instant;

const SERVICES: usize = 200;

/// Twenty at once, and ten more each second.
const BUDGET: BucketRate = BucketRate {
    burst: 20,
    every: Duration::from_millis(100),
};

#[tokio::test(start_paused = true)]
async fn two_hundred_services_with_one_dead_port_restart_within_the_budget_and_all_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let all: Vec<String> = (0..SERVICES).map(|n| format!("s{n}")).collect();
    let services = all.iter().map(|name| {
        let mut spec = service(name);
        spec.restart.max = None;
        spec.restart.startup_max = None;
        spec.restart.crash_loop = None;
        spec.restart.jitter = Jitter::Equal;
        spec.restart.max_delay = secs(5);
        spec
    });
    let mut options = options(&fake, dir.path(), services.collect());
    let cap = options.project.services[0].restart.max_delay;
    options.project.restart_budget = Some(BUDGET);
    // Each notices after a moment that nobody answers at the port.
    for name in &all {
        let ends = vec![(ms(100), 1)];
        fake.behaves(
            name,
            Behaviour {
                ends,
                ..Behaviour::default()
            },
        );
    }
    let handle = Supervisor::start(options).await.unwrap();
    pass(&handle, dir.path(), secs(15)).await;

    let starts = restarts(&fake, &all);
    assert!(starts.len() > 100, "it went on trying: {}", starts.len());
    let most = most_within(&starts, secs(1));
    assert!(most <= 20 + 10, "{most} restarts in a second");
    let most = most_within(&starts, secs(10));
    assert!(most <= 20 + 100, "{most} restarts in ten seconds");

    // The port is there again.
    for name in &all {
        fake.behaves(name, Behaviour::default());
    }
    let queue = BUDGET.every * u32::try_from(SERVICES).unwrap();
    pass(&handle, dir.path(), cap + queue + secs(2)).await;
    let status = handle.status().await.unwrap();
    let down: Vec<_> = status
        .services
        .iter()
        .filter(|service| service.state != State::Running)
        .collect();
    assert!(
        down.is_empty(),
        "{} of them: {:?}",
        down.len(),
        down.first()
    );
    let report = handle
        .down(StopOptions::default(), me("down"))
        .await
        .unwrap();
    assert!(report.ok());
}

/// Lets time pass no faster than a real disk takes the records: the next start of a service waits for that of its last exit.
async fn pass(handle: &Handle, state: &Path, time: Duration) {
    let (end, mut last) = (Instant::now() + time, 0);
    while Instant::now() < end {
        tokio::time::sleep(ms(500)).await;
        handle.tell(TICK, String::new()).await.unwrap();
        let state = state.to_owned();
        // Time stands still while something blocks.
        let written = tokio::task::spawn_blocking(move || written_tick(&state, last));
        last = written.await.unwrap();
    }
}

const TICK: &str = "tick";

/// Waits until a tick after this event is in the journal, and returns its number.
fn written_tick(state: &Path, after: u64) -> u64 {
    loop {
        let events = proc_supervisor::offline::events(state, after).unwrap();
        if let Some(tick) = events.iter().rfind(|event| event.cause.kind == TICK) {
            return tick.seq;
        }
        std::thread::yield_now();
    }
}

/// Returns every start but the first ones, in order.
fn restarts(fake: &Fake, all: &[String]) -> Vec<Instant> {
    let mut starts: Vec<Instant> = all
        .iter()
        .flat_map(|name| fake.starts_of(name).into_iter().skip(1))
        .collect();
    starts.sort();
    starts
}

/// Returns the most starts that fall into any span of this length.
fn most_within(starts: &[Instant], span: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (at, start) in starts.iter().enumerate() {
        while starts[first] + span < *start {
            first += 1;
        }
        most = most.max(at - first + 1);
    }
    most
}
