//! Golden timelines of the peers' policies, and systemd's truth table of `Restart=`.

use std::time::Duration;

use proc_policy::sim::{Exit, Timeline};
use proc_policy::{Counters, Decision, ExitFacts, Mode, Profile};

fn starts(profile: Profile, script: &[&str], random: f64) -> (Vec<u128>, bool) {
    let script: Vec<Exit> = script
        .iter()
        .map(|step| step.parse().expect("a script"))
        .collect();
    let timeline = Timeline::play(&profile.policy(), &script, |_| random);
    let starts = timeline.starts().iter().map(Duration::as_millis).collect();
    (starts, timeline.given_up().is_some())
}

/// profile, script, milliseconds of the starts, whether it was given up
type Row = (Profile, &'static [&'static str], &'static [u128], bool);

const GOLDEN: &[Row] = &[
    // 1, 2, 3 seconds, then FATAL.
    (Profile::Supervisord, &["1*9"], &[0, 1000, 3000, 6000], true),
    // "Exited too quickly" whatever the code.
    (Profile::Supervisord, &["0*9"], &[0, 1000, 3000, 6000], true),
    // Expected exit of a running process.
    (Profile::Supervisord, &["0@5s", "1"], &[0], false),
    // Unexpected exits of a running process: at once, for ever, and the backoff starts anew.
    (
        Profile::Supervisord,
        &["1@5s*3", "1*2", "1@5s", "1*2"],
        &[0, 5000, 10000, 15000, 16000, 18000, 23000, 24000],
        false,
    ),
    // Burst 5: the sixth start within 10 s is refused.
    (Profile::Systemd, &["1*9"], &[0, 100, 200, 300, 400], true),
    (
        Profile::Systemd,
        &["1@3s*9"],
        &[0, 3100, 6200, 9300, 12400, 15500, 18600, 21700, 24800],
        false,
    ),
    (Profile::Systemd, &["signal:15"], &[0], false),
    (Profile::S6, &["1*4"], &[0, 1000, 2000, 3000], false),
    (Profile::S6, &["0@300ms*3"], &[0, 1000, 2000], false),
    (Profile::S6, &["1@5s*3"], &[0, 5000, 10000], false),
    (Profile::Runit, &["1@300ms*3"], &[0, 1300, 2600], false),
    (Profile::Runit, &["0@300ms*3"], &[0, 1300, 2600], false),
    (Profile::Runit, &["1@5s*3"], &[0, 5000, 10000], false),
    (Profile::Pm2, &["1*20"], &[0; 16], true),
    (Profile::Pm2, &["0@2s*3"], &[0, 2000, 4000], false),
    (Profile::Dinit, &["1*9"], &[0, 200, 400, 600], true),
    (Profile::Dinit, &["0@4s*4"], &[0, 4200, 8400, 12600], false),
    (Profile::Otp, &["1*9"], &[0, 0], true),
    (Profile::Otp, &["0@1s*9"], &[0, 1000], true),
    (Profile::Otp, &["1@6s*3"], &[0, 6000, 12000], false),
    (
        Profile::Kubernetes,
        &["1*9"],
        &[0, 0, 10000, 30000, 70000, 150000, 310000, 610000, 910000],
        false,
    ),
    (
        Profile::Kubernetes,
        &["1*3", "1@10m", "1"],
        &[0, 0, 10000, 30000, 630000],
        false,
    ),
    (Profile::Nomad, &["1*9"], &[0, 15000, 30000], true),
    (
        Profile::Nomad,
        &["0@16m*4"],
        &[0, 975000, 1950000, 2925000],
        false,
    ),
];

#[test]
fn golden_timelines() {
    for (profile, script, expected, given_up) in GOLDEN {
        let (found, failed) = starts(*profile, script, 0.0);
        assert_eq!(
            (found.as_slice(), failed),
            (*expected, *given_up),
            "{profile} {script:?}"
        );
    }
}

#[test]
fn nomad_adds_up_to_a_quarter() {
    assert_eq!(starts(Profile::Nomad, &["1*9"], 1.0).0, [0, 18_750, 37_500]);
}

#[test]
fn pm2_grows_in_whole_milliseconds() {
    let mut policy = Profile::Pm2.policy();
    policy.initial_delay = Duration::from_millis(100);
    let delays: Vec<u128> = (1..=14).map(|k| policy.base_delay(k).as_millis()).collect();
    let expected = [
        100, 150, 225, 337, 505, 757, 1135, 1702, 2553, 3829, 5743, 8614, 12921, 15000,
    ];
    assert_eq!(delays, expected);
}

#[test]
fn systemd_steps_between_two_delays() {
    let mut policy = Profile::Systemd.policy();
    policy.growth = proc_policy::Growth::Stepped(4);
    policy.max_delay = Duration::from_millis(1_600);
    let delays: Vec<u128> = (1..=7).map(|k| policy.base_delay(k).as_millis()).collect();
    assert_eq!(delays, [100, 200, 400, 800, 1600, 1600, 1600]);
}

#[test]
fn every_profile_is_sound_and_has_a_name() {
    for profile in Profile::ALL {
        profile.policy().validate().expect("it makes sense");
        assert_eq!(profile.to_string().parse(), Ok(profile));
    }
    let error = "cron"
        .parse::<Profile>()
        .expect_err("no such profile")
        .to_string();
    assert!(
        error.contains("`cron`") && error.contains("`supervisord`"),
        "{error}"
    );
}

/// systemd.service(5), "Exit causes and the effect of the Restart= settings".
#[test]
fn restart_modes_follow_systemds_truth_table() {
    let run = Duration::from_secs(5);
    let facts = |code, signal, timed_out, watchdog| ExitFacts {
        code,
        signal,
        timed_out,
        watchdog,
        runtime: run,
        ..ExitFacts::default()
    };
    let causes = [
        ("clean code", facts(Some(0), None, false, false)),
        ("clean signal", facts(None, Some(15), false, false)),
        ("unclean code", facts(Some(1), None, false, false)),
        ("unclean signal", facts(None, Some(11), false, false)),
        ("timeout", facts(None, Some(9), true, false)),
        ("watchdog", facts(None, Some(6), false, true)),
    ];
    let table = [
        (Mode::Never, [false, false, false, false, false, false]),
        (Mode::Always, [true, true, true, true, true, true]),
        (Mode::OnSuccess, [true, true, false, false, false, false]),
        (Mode::OnFailure, [false, false, true, true, true, true]),
        (Mode::OnAbnormal, [false, false, false, true, true, true]),
        (Mode::OnAbort, [false, false, false, true, false, false]),
        (Mode::OnWatchdog, [false, false, false, false, false, true]),
    ];
    for (mode, row) in table {
        let policy = proc_policy::RestartPolicy {
            mode,
            ..Profile::Systemd.policy()
        };
        for ((cause, facts), restarts) in causes.iter().zip(row) {
            let decision = policy.on_exit(&mut Counters::default(), facts, run, 0.0);
            let restarted = matches!(decision, Decision::Restart { .. });
            assert_eq!(restarted, restarts, "{mode} after {cause}: {decision}");
        }
    }
}
