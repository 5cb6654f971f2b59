//! What holds for every policy and every sequence of exits.

use std::time::Duration;

use proc_policy::{
    Bucket, BucketRate, Counters, CrashLoop, Decision, ExitFacts, Growth, Jitter, Mode,
    RestartPolicy, reserve_all, warnings,
};
use proptest::prelude::*;

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn jitter() -> impl Strategy<Value = Jitter> {
    prop_oneof![
        Just(Jitter::None),
        Just(Jitter::Equal),
        Just(Jitter::Full),
        (0.0..=100.0).prop_map(Jitter::Percent),
        (0.0..=100.0).prop_map(Jitter::Above),
    ]
}

fn growth() -> impl Strategy<Value = Growth> {
    prop_oneof![
        Just(Growth::Exponential),
        Just(Growth::Linear),
        (0_u32..9).prop_map(Growth::Stepped),
        Just(Growth::Floored),
        Just(Growth::Spacing),
    ]
}

prop_compose! {
    fn policy()(
        mode in prop_oneof![Just(Mode::OnFailure), Just(Mode::Always)],
        max in proptest::option::of(0_u32..8),
        window in proptest::option::of(millis(0..20_000)),
        startup_max in proptest::option::of(0_u32..6),
        count in 1_u32..8,
        within in millis(0..20_000),
        guarded in any::<bool>(),
        (startup_grace, reset_after) in (millis(0..5_000), proptest::option::of(millis(1..30_000))),
        (initial_delay, max_delay) in (millis(0..3_000), millis(3_000..60_000)),
        factor in 1.0..4.0_f64,
        (jitter, growth, immediate) in (jitter(), growth(), 0_u32..3),
        (count_clean, count_first, early_exit_fails) in any::<(bool, bool, bool)>(),
    ) -> RestartPolicy {
        RestartPolicy {
            mode, max, window, startup_max, startup_grace, reset_after, initial_delay, max_delay,
            factor, jitter, growth, immediate, count_clean, count_first, early_exit_fails,
            crash_loop: guarded.then_some(CrashLoop { count, within }),
            ..RestartPolicy::default()
        }
    }
}

fn exits() -> impl Strategy<Value = Vec<(ExitFacts, f64)>> {
    let code = prop_oneof![Just(0), Just(1)];
    let life = prop_oneof![Just(Duration::ZERO), millis(0..40_000)];
    let exit = (code, life).prop_map(|(code, life)| ExitFacts::exited(code, life));
    proptest::collection::vec((exit, 0.0..=1.0_f64), 1..60)
}

/// One exit that was followed by a restart.
struct Step {
    at: Duration,
    next: Duration,
    clean: bool,
    startup: bool,
    reset: bool,
}

/// Plays until the service stays down; checks each delay on the way.
fn play(policy: &RestartPolicy, exits: &[(ExitFacts, f64)]) -> Vec<Step> {
    let mut counters = Counters::default();
    let (mut now, mut steps) = (Duration::ZERO, Vec::new());
    for (exit, random) in exits {
        now += exit.runtime;
        let decision = policy.on_exit(&mut counters, exit, now, *random);
        let Decision::Restart { delay, attempt, .. } = decision else {
            break;
        };
        let (_, most) = policy.delay_bounds(attempt);
        assert!(delay <= most, "{delay:?} exceeds {most:?}");
        if policy.growth != Growth::Spacing {
            let (least, _) = policy.delay_bounds(attempt);
            assert!(delay >= least, "{delay:?} is below {least:?}");
        }
        let clean = policy.judge(exit) == proc_policy::Verdict::Clean;
        let reset = policy
            .reset_after
            .is_some_and(|after| exit.runtime >= after);
        let startup = policy.is_startup(exit);
        steps.push(Step {
            at: now,
            next: now + delay,
            clean,
            startup,
            reset,
        });
        now += delay;
    }
    steps
}

/// Splits the restarts where a healthy run made everything new.
fn rows(steps: &[Step]) -> Vec<&[Step]> {
    let starts = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.reset)
        .map(|(at, _)| at);
    let mut cuts: Vec<usize> = std::iter::once(0).chain(starts).collect();
    cuts.push(steps.len());
    cuts.windows(2).map(|cut| &steps[cut[0]..cut[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_budget_is_ever_exceeded(policy in policy(), exits in exits()) {
        let steps = play(&policy, &exits);
        for row in rows(&steps) {
            let counted: Vec<&Step> =
                row.iter().filter(|step| policy.count_clean || !step.clean).collect();
            if let Some(max) = policy.max {
                let window = policy.window.unwrap_or(Duration::MAX);
                for last in &counted {
                    let used = counted.iter().filter(|step| {
                        step.next <= last.next && last.next - step.next <= window
                    });
                    prop_assert!(used.count() <= max as usize);
                }
            }
            if let Some(guard) = policy.crash_loop {
                let crashes: Vec<&Step> = row.iter().filter(|step| !step.clean).collect();
                for last in &crashes {
                    let near = crashes.iter().filter(|step| {
                        step.at <= last.at && last.at - step.at <= guard.within
                    });
                    prop_assert!(near.count() < guard.count as usize);
                }
            }
            if let Some(max) = policy.startup_max {
                let (mut used, mut most) = (0, 0);
                for step in row {
                    match (step.startup, step.clean && policy.mode != Mode::Always) {
                        (false, _) => used = 0,
                        (true, false) => used += 1,
                        (true, true) => {}
                    }
                    most = most.max(used);
                }
                prop_assert!(most <= max);
            }
        }
    }

    #[test]
    fn base_delays_grow_and_stay_below_the_cap(policy in policy(), k in 1_u32..200) {
        prop_assert!(policy.base_delay(k) <= policy.base_delay(k + 1));
        prop_assert!(policy.base_delay(k) <= policy.max_delay);
        prop_assert!(policy.base_delay(u32::MAX) <= policy.max_delay);
    }

    #[test]
    fn stored_counters_decide_alike(policy in policy(), exits in exits()) {
        let (mut live, mut stored) = (Counters::default(), Counters::default());
        let mut now = Duration::ZERO;
        for (exit, random) in &exits {
            now += exit.runtime + Duration::from_secs(1);
            let text = serde_json::to_string(&stored).expect("counters are data");
            stored = serde_json::from_str(&text).expect("and come back");
            prop_assert_eq!(
                policy.on_exit(&mut live, exit, now, *random),
                policy.on_exit(&mut stored, exit, now, *random)
            );
            prop_assert!(live.crashes.len() <= 8 && live.restarts.len() <= 8, "bounded");
        }
    }

    #[test]
    fn nothing_panics(
        mut policy in policy(), factor in any::<f64>(), percent in any::<f64>(),
        random in any::<f64>(), now in any::<u64>(), k in any::<u32>(),
    ) {
        policy.factor = factor;
        policy.jitter = Jitter::Percent(percent);
        policy.immediate = k;
        policy.max_delay = Duration::MAX;
        let exit = ExitFacts::exited(1, Duration::MAX);
        let mut counters = Counters { attempt: k, counted: k, ..Counters::default() };
        let decision = policy.on_exit(&mut counters, &exit, Duration::from_nanos(now), random);
        prop_assert!(!decision.to_string().is_empty());
        let _ = policy.delay(k, random);
    }

    #[test]
    fn text_forms_come_back(jitter in jitter(), policy in policy()) {
        prop_assert_eq!(jitter.to_string().parse(), Ok(jitter));
        let policy = RestartPolicy { factor: policy.factor.round(), ..policy };
        let text = serde_json::to_string(&policy).expect("a policy is data");
        let back: RestartPolicy = serde_json::from_str(&text).expect("and comes back");
        prop_assert_eq!(back, policy);
    }

    #[test]
    fn a_bucket_never_lets_more_through(
        burst in 1_u32..10, every in millis(1..2_000),
        asks in proptest::collection::vec(millis(0..500), 1..100),
    ) {
        let rate = BucketRate { burst, every };
        let (mut bucket, mut now, mut granted) = (Bucket::default(), Duration::ZERO, Vec::new());
        for gap in asks {
            now += gap;
            granted.push(now + bucket.reserve(&rate, now));
        }
        prop_assert!(granted.is_sorted(), "waiters keep their order");
        for (first, at) in granted.iter().enumerate() {
            for (last, until) in granted.iter().enumerate().skip(first) {
                let allowed = burst as f64 + (*until - *at).as_secs_f64() / every.as_secs_f64();
                prop_assert!(((last - first + 1) as f64) <= allowed + 1e-6);
            }
        }
    }
}

#[test]
fn two_hundred_services_on_one_dead_port_come_back_in_a_queue() {
    let rate = BucketRate {
        burst: 10,
        every: Duration::from_millis(100),
    };
    let loose = BucketRate {
        burst: 1,
        every: Duration::ZERO,
    };
    let (mut project, now) = (Bucket::default(), Duration::from_secs(5));
    let mut waits = Vec::new();
    for _ in 0..200 {
        let mut service = Bucket::default();
        let mut buckets = [(&mut service, loose), (&mut project, rate)];
        waits.push(reserve_all(&mut buckets, now, Duration::from_millis(250)));
    }
    for second in 0..20 {
        let from = Duration::from_secs(second) + Duration::from_millis(251);
        let at = |wait: &&Duration| **wait >= from && **wait < from + Duration::from_secs(1);
        assert!(
            waits.iter().filter(at).count() <= 10,
            "ten a second after the first burst"
        );
    }
    assert_eq!(waits.iter().max(), Some(&Duration::from_secs(19)));
    assert!(project.try_take(&rate, now).is_err());
    project.clear();
    assert!(project.try_take(&rate, now).is_ok());
}

#[test]
fn warnings_name_what_can_never_happen() {
    let second = Duration::from_secs(1);
    let default = RestartPolicy::default();
    assert_eq!(
        warnings(&default),
        Vec::<String>::new(),
        "the defaults are sound"
    );
    let table: [(RestartPolicy, &str); 9] = [
        (
            RestartPolicy {
                startup_max: Some(20),
                crash_loop: Some(CrashLoop {
                    count: 5,
                    within: 300 * second,
                }),
                ..default.clone()
            },
            "`startup_max` can never trip",
        ),
        (
            RestartPolicy {
                crash_loop: Some(CrashLoop {
                    count: 20,
                    within: second,
                }),
                ..default.clone()
            },
            "`crash_loop` can never trip",
        ),
        (
            RestartPolicy {
                max: Some(100),
                crash_loop: Some(CrashLoop {
                    count: 5,
                    within: 86_400 * second,
                }),
                ..default.clone()
            },
            "`max` can never trip",
        ),
        (
            RestartPolicy {
                max: Some(2),
                ..default.clone()
            },
            "`crash_loop` can never trip",
        ),
        (
            RestartPolicy {
                factor: 0.5,
                ..default.clone()
            },
            "`factor` is 0.5",
        ),
        (
            RestartPolicy {
                max_delay: second / 10,
                ..default.clone()
            },
            "`max_delay` is shorter",
        ),
        (
            RestartPolicy {
                success_codes: vec![],
                ..default.clone()
            },
            "`success_codes` is empty",
        ),
        (
            RestartPolicy {
                startup_grace: Duration::ZERO,
                ..default.clone()
            },
            "`startup_grace` is 0",
        ),
        (
            RestartPolicy {
                max: None,
                window: Some(second),
                ..default.clone()
            },
            "`window` has no",
        ),
    ];
    for (policy, expected) in table {
        let found = warnings(&policy);
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}
