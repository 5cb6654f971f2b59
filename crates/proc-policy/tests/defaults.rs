//! The default policy against its documented numbers.

use std::time::Duration;

use proc_policy::sim::{Exit, Timeline};
use proc_policy::{
    Counters, CrashLoop, Decision, ExitFacts, ExitMatch, Jitter, Mode, RestartPolicy, StayState,
};

const SECOND: Duration = Duration::from_secs(1);

fn play(policy: &RestartPolicy, script: &[&str], random: f64) -> Timeline {
    let script: Vec<Exit> = script
        .iter()
        .map(|step| step.parse().expect("a script"))
        .collect();
    Timeline::play(policy, &script, |_| random)
}

fn millis(times: &[Duration]) -> Vec<u128> {
    times.iter().map(Duration::as_millis).collect()
}

#[test]
fn the_seven_constants_and_the_guard() {
    let policy = RestartPolicy::default();
    assert_eq!(policy.mode, Mode::OnFailure);
    assert_eq!(policy.max, Some(10));
    assert_eq!(policy.startup_max, Some(3));
    assert_eq!(policy.startup_grace, 2 * SECOND);
    assert_eq!(policy.initial_delay, SECOND / 2);
    assert_eq!(policy.max_delay, 30 * SECOND);
    assert_eq!(policy.reset_after, Some(60 * SECOND));
    assert_eq!(
        policy.crash_loop,
        Some(CrashLoop {
            count: 5,
            within: 30 * SECOND
        })
    );
    assert_eq!((policy.factor, policy.jitter), (2.0, Jitter::Equal));
    assert_eq!(policy.success_codes, [0]);
    policy.validate().expect("the defaults make sense");
}

/// script, runs, what the reason of giving up contains ("" is: still going)
#[test]
fn when_the_defaults_give_up() {
    let table: &[(&[&str], usize, &str)] = &[
        (
            &["1*100"],
            4,
            "failed to start 4 times in a row (`startup_max` 3",
        ),
        (&["start-failed@50s*100"], 4, "failed to start 4 times"),
        (&["1@2.1s*100"], 5, "crash loop: 5 crashes in 30s"),
        (&["1@31s*100"], 11, "restarted 10 times (`max` 10)"),
        (&["1@60s*100"], 100, ""),
        (&["oom@2.1s*100"], 5, "crash loop"),
        (&["signal:11@2.1s*100"], 5, "crash loop"),
        // A run that comes up ends the row of startup failures.
        (&["1*3", "1@40s", "1*3", "1@40s"], 8, ""),
        // Healthy running makes everything new.
        (&["1*3", "1@61s", "1*100"], 8, "crash loop: 5 crashes"),
    ];
    for (script, runs, reason) in table {
        let timeline = play(&RestartPolicy::default(), script, 1.0);
        assert_eq!(timeline.runs(), *runs, "{script:?}\n{timeline}");
        let given_up = timeline.given_up().unwrap_or_default();
        assert!(given_up.contains(reason), "{script:?}: {given_up}");
        assert_eq!(
            given_up.is_empty(),
            reason.is_empty(),
            "{script:?}: {given_up}"
        );
    }
}

#[test]
fn delays_double_from_half_a_second_to_the_cap() {
    let policy = RestartPolicy {
        jitter: Jitter::None,
        ..RestartPolicy::default()
    };
    let delays: Vec<Duration> = (1..=9).map(|k| policy.base_delay(k)).collect();
    assert_eq!(
        millis(&delays),
        [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
    );
    assert_eq!(
        millis(&play(&policy, &["1*9"], 0.0).starts()),
        [0, 500, 1500, 3500]
    );
}

#[test]
fn equal_jitter_is_half_fixed_and_half_random() {
    let policy = RestartPolicy::default();
    assert_eq!(
        millis(&play(&policy, &["1*9"], 0.0).starts()),
        [0, 250, 750, 1750]
    );
    assert_eq!(
        millis(&play(&policy, &["1*9"], 1.0).starts()),
        [0, 500, 1500, 3500]
    );
}

#[test]
fn start_retries_are_the_startup_budget_with_a_fixed_delay() {
    let mut policy = RestartPolicy::default();
    policy.retry_starts(Some(8), None);
    assert_eq!(
        play(&policy, &["1*20"], 0.0).runs(),
        9,
        "the default guard does not cut it short"
    );
    policy.retry_starts(Some(2), Some(SECOND));
    let timeline = play(&policy, &["1*9"], 0.3);
    assert_eq!(millis(&timeline.starts()), [0, 1000, 2000]);
    let later = play(&policy, &["1@3s"], 0.0);
    assert!(
        later.to_string().contains("equal jitter"),
        "runtime failures keep the formula"
    );
}

#[test]
fn clean_exits_are_not_crashes() {
    let always = RestartPolicy {
        mode: Mode::Always,
        ..RestartPolicy::default()
    };
    let timeline = play(&always, &["0@2s*50"], 0.5);
    assert_eq!(
        (timeline.runs(), timeline.given_up()),
        (50, None),
        "no budget counts them"
    );
    let last = timeline.lines.last().expect("lines").to_string();
    assert!(
        last.contains("min(30s, 500ms x 2^49) = 30s"),
        "but they back off: {last}"
    );

    let mut limited = always;
    limited.limit_restarts(Some(2));
    let timeline = play(&limited, &["0*50"], 0.5);
    assert_eq!(
        timeline.runs(),
        3,
        "a limit asked for by name counts every restart"
    );
}

#[test]
fn what_is_to_run_always_has_not_started_when_it_ends_at_once() {
    let always = RestartPolicy {
        mode: Mode::Always,
        ..RestartPolicy::default()
    };
    let timeline = play(&always, &["0@1s*50"], 0.5);
    let given_up = timeline.given_up().unwrap_or_default();
    assert_eq!(timeline.runs(), 4, "{timeline}");
    assert!(
        given_up.contains("failed to start 4 times in a row (`startup_max` 3"),
        "{given_up}"
    );
    let timeline = play(&RestartPolicy::default(), &["0@1s"], 0.5);
    assert_eq!((timeline.runs(), timeline.given_up()), (1, None));
    let mut counters = Counters::default();
    let one_shot = ExitFacts {
        completes: true,
        ..ExitFacts::exited(0, SECOND)
    };
    for _ in 0..50 {
        let decision = always.on_exit(&mut counters, &one_shot, SECOND, 0.5);
        assert!(matches!(decision, Decision::Restart { .. }), "{decision}");
    }
}

#[test]
fn max_counts_startup_failures_too() {
    let policy = RestartPolicy {
        max: Some(2),
        ..RestartPolicy::default()
    };
    let timeline = play(&policy, &["1*9"], 0.0);
    assert_eq!(timeline.runs(), 3);
    assert_eq!(timeline.given_up(), Some("restarted 2 times (`max` 2)"));
    let none = RestartPolicy {
        max: Some(0),
        ..RestartPolicy::default()
    };
    assert_eq!(play(&none, &["1*9"], 0.0).runs(), 1);
}

#[test]
fn filters_and_modes_end_as_exited() {
    let default = RestartPolicy::default();
    let never = RestartPolicy {
        mode: Mode::Never,
        ..default.clone()
    };
    let filtered = RestartPolicy {
        no_restart_on: vec![ExitMatch::Code(78), ExitMatch::Signal(15), ExitMatch::Oom],
        ..default.clone()
    };
    let seven = RestartPolicy {
        success_codes: vec![7],
        ..default.clone()
    };
    let table: &[(&RestartPolicy, &str, bool)] = &[
        (&default, "0", true),
        (&default, "1", false),
        (&default, "stopped", true),
        (&never, "1", true),
        (&never, "signal:9", true),
        (&filtered, "78", true),
        (&filtered, "77", false),
        (&filtered, "signal:15", true),
        (&filtered, "signal:9", false),
        (&filtered, "oom", true),
        (&seven, "7", true),
        (&seven, "0", false),
    ];
    for (policy, exit, stays) in table {
        let facts = exit.parse::<Exit>().expect("an exit").facts();
        let mut counters = Counters::default();
        let decision = policy.on_exit(&mut counters, &facts, SECOND, 0.0);
        let exited = matches!(
            &decision,
            Decision::Stay {
                state: StayState::Exited,
                ..
            }
        );
        assert_eq!(exited, *stays, "{exit} under {:?}: {decision}", policy.mode);
        assert_eq!(
            counters == Counters::default(),
            *stays,
            "{exit}: exited counts nothing"
        );
    }
}

#[test]
fn a_start_by_hand_clears_every_limit() {
    let policy = RestartPolicy::default();
    let mut timeline = play(&policy, &["1*9"], 0.0);
    assert!(timeline.given_up().is_some());
    timeline.counters.clear();
    let exit = ExitFacts::exited(1, Duration::ZERO);
    let decision = policy.on_exit(&mut timeline.counters, &exit, 2 * SECOND, 0.0);
    assert!(
        matches!(decision, Decision::Restart { attempt: 1, .. }),
        "{decision}"
    );
}

#[test]
fn healthy_running_resets_at_once_where_it_is_told() {
    let policy = RestartPolicy::default();
    let mut counters = play(&policy, &["1*3"], 0.0).counters;
    assert_eq!((counters.attempt, counters.startup_failures), (3, 3));
    policy.on_healthy(&mut counters, 2 * SECOND);
    assert_eq!((counters.attempt, counters.startup_failures), (3, 0));
    policy.on_healthy(&mut counters, 60 * SECOND);
    assert_eq!(counters, Counters::default());
}

#[test]
fn running_without_being_healthy_resets_nothing() {
    let policy = RestartPolicy::default();
    let mut counters = play(&policy, &["1*3"], 0.0).counters;
    let exit = ExitFacts {
        watchdog: true,
        healthy_for: Some(SECOND),
        ..ExitFacts::signaled(9, 3_600 * SECOND)
    };
    let decision = policy.on_exit(&mut counters, &exit, 4_000 * SECOND, 0.0);
    assert!(
        matches!(decision, Decision::Restart { attempt: 4, .. }),
        "{decision}"
    );
}

#[test]
fn a_cool_down_tries_afresh() {
    let policy = RestartPolicy {
        cool_down: Some(300 * SECOND),
        ..RestartPolicy::default()
    };
    let timeline = play(&policy, &["1*8"], 0.0);
    assert_eq!(timeline.runs(), 8, "two rounds of four");
    assert_eq!(
        timeline.starts()[4],
        Duration::from_millis(1_750) + 300 * SECOND
    );
}

#[test]
fn a_moved_epoch_never_unlocks_nor_panics() {
    let policy = RestartPolicy::default();
    let mut counters = Counters {
        crashes: vec![90_000 * SECOND; 4],
        ..Counters::default()
    };
    let exit = ExitFacts::exited(1, 3 * SECOND);
    let decision = policy.on_exit(&mut counters, &exit, SECOND, 0.0);
    assert!(
        matches!(
            decision,
            Decision::Stay {
                state: StayState::Failed,
                ..
            }
        ),
        "{decision}"
    );
    assert_eq!(counters.crashes, [SECOND; 5]);
}

#[test]
fn the_arithmetic_can_be_read() {
    let table: &[(Jitter, f64, &str)] = &[
        (Jitter::None, 0.3, "min(30s, 500ms x 2^1) = 1s"),
        (
            Jitter::Equal,
            0.31,
            "min(30s, 500ms x 2^1) = 1s, equal jitter 500ms + 0.31 x 500ms = 655ms",
        ),
        (
            Jitter::Full,
            0.25,
            "min(30s, 500ms x 2^1) = 1s, full jitter 0.25 x 1s = 250ms",
        ),
        (
            Jitter::Percent(20.0),
            0.0,
            "min(30s, 500ms x 2^1) = 1s, jitter 1s x (1 + 20% x (2 x 0 - 1)) = 800ms",
        ),
        (
            Jitter::Above(25.0),
            1.0,
            "min(30s, 500ms x 2^1) = 1s, jitter 1s x (1 + 25% x 1) = 1.25s",
        ),
    ];
    for (jitter, random, expected) in table {
        let policy = RestartPolicy {
            jitter: *jitter,
            ..RestartPolicy::default()
        };
        let mut counters = Counters {
            attempt: 1,
            ..Counters::default()
        };
        let exit = ExitFacts::exited(1, 5 * SECOND);
        match policy.on_exit(&mut counters, &exit, SECOND, *random) {
            Decision::Restart { arithmetic, .. } => assert_eq!(arithmetic, *expected),
            stay => panic!("{stay}"),
        }
    }
}
