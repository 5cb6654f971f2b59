//! The table of the module docs, cell by cell where something happens.

use std::time::Duration;

use proc_hooks::Phase as HookPhase;
use proc_policy::{Jitter, Mode, RestartPolicy};

use super::{Action, Event, Exit, HookSet, Machine, Phase, Rules, Timer, Transition};
use crate::state::{Desired, State};
use crate::view::Who;

pub(super) const T0: Duration = Duration::from_secs(1_000_000);

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn who() -> Option<Who> {
    Some(Who {
        verb: "stop".to_owned(),
        uid: Some(7),
        pid: Some(8),
    })
}

pub(super) fn rules() -> Rules {
    let policy = RestartPolicy {
        jitter: Jitter::None,
        ..RestartPolicy::default()
    };
    Rules {
        policy,
        ..Rules::default()
    }
}

pub(super) fn exit(code: i32, runtime: Duration) -> Exit {
    Exit {
        code: Some(code),
        signal: None,
        core_dumped: false,
        oom: false,
        at_ms: 0,
        runtime,
        unknown: None,
    }
}

pub(super) fn start() -> Event {
    Event::Start {
        by_hand: true,
        by: who(),
    }
}

pub(super) fn stop() -> Event {
    Event::Stop {
        kind: "stop",
        by: who(),
    }
}

fn restart() -> Event {
    Event::Restart {
        kind: "restart",
        by: who(),
    }
}

pub(super) fn gone() -> Event {
    Event::TreeGone {
        survivors: None,
        random: 0.5,
    }
}

pub(super) fn told(actions: &[Action]) -> Vec<&Transition> {
    let tells = actions.iter().filter_map(|action| match action {
        Action::Tell(transition) => Some(transition),
        _ => None,
    });
    tells.collect()
}

/// A machine taken to a phase along the shortest way.
pub(super) fn at(phase: Phase, rules: Rules) -> Machine {
    let mut machine = Machine::new(rules);
    let path: &[Event] = match phase {
        Phase::Stopped => &[],
        Phase::Pending => &[start()],
        Phase::PreStart | Phase::Spawning => &[start(), Event::Gate],
        Phase::Warming => &[start(), Event::Gate, Event::Spawned { run: 1 }],
        Phase::Up => &[
            start(),
            Event::Gate,
            Event::Spawned { run: 1 },
            Event::Ready { evidence: None },
        ],
        Phase::Unattended => &[
            start(),
            Event::Gate,
            Event::Spawned { run: 1 },
            Event::Ready { evidence: None },
            Event::Lost {
                cause: "killed".to_owned(),
            },
        ],
        Phase::PreStop | Phase::Ending => &[
            start(),
            Event::Gate,
            Event::Spawned { run: 1 },
            Event::Ready { evidence: None },
            stop(),
        ],
        Phase::Rest => &[
            start(),
            Event::Gate,
            Event::Spawned { run: 1 },
            Event::Exited {
                run: 1,
                exit: exit(3, secs(5)),
            },
        ],
        Phase::PostStop | Phase::Backoff => &[
            start(),
            Event::Gate,
            Event::Spawned { run: 1 },
            Event::Exited {
                run: 1,
                exit: exit(3, secs(5)),
            },
            gone(),
        ],
        Phase::Exited => &[
            start(),
            Event::Gate,
            Event::Spawned { run: 1 },
            Event::Exited {
                run: 1,
                exit: exit(0, secs(5)),
            },
            gone(),
        ],
        Phase::Failed => &[
            start(),
            Event::Gate,
            Event::Spawned { run: 1 },
            stop(),
            Event::Exited {
                run: 1,
                exit: exit(0, secs(5)),
            },
            Event::TreeGone {
                survivors: Some("9 (x)".to_owned()),
                random: 0.5,
            },
        ],
        Phase::Scheduled => &[start()],
    };
    for event in path {
        machine.step(event.clone(), T0);
    }
    assert_eq!(machine.phase(), phase, "the way there");
    machine
}

fn step(phase: Phase, event: Event) -> (Machine, Vec<Action>) {
    step_with(rules(), phase, event)
}

fn step_with(rules: Rules, phase: Phase, event: Event) -> (Machine, Vec<Action>) {
    let mut machine = at(phase, rules);
    let actions = machine.step(event, T0);
    (machine, actions)
}

pub(super) fn hooked(phase: HookPhase) -> Rules {
    let hooks = HookSet {
        pre_start: phase == HookPhase::PreStart,
        post_start: phase == HookPhase::PostStart,
        pre_stop: phase == HookPhase::PreStop,
        post_stop: phase == HookPhase::PostStop,
    };
    Rules { hooks, ..rules() }
}

#[test]
fn a_gate_starts_or_runs_the_hooks_first() {
    let (machine, actions) = step(Phase::Pending, Event::Gate);
    assert_eq!(machine.phase(), Phase::Spawning);
    let told = told(&actions);
    assert_eq!(
        (told[0].from, told[0].to),
        (State::Stopped, State::Starting)
    );
    assert_eq!(told[0].by, who());
    assert_eq!(actions.last(), Some(&Action::Spawn));

    let (machine, actions) = step_with(hooked(HookPhase::PreStart), Phase::Pending, Event::Gate);
    assert_eq!(machine.phase(), Phase::PreStart);
    assert_eq!(actions.last(), Some(&Action::Hooks(HookPhase::PreStart)));
}

#[test]
fn pending_tells_what_it_waits_for_once() {
    let waits = Event::Waits {
        kind: "dependency",
        reason: "db".to_owned(),
    };
    let (mut machine, actions) = step(Phase::Pending, waits.clone());
    assert_eq!(told(&actions)[0].to, State::Pending);
    assert_eq!(machine.reason(), "db");
    assert!(machine.step(waits, T0).is_empty());
}

#[test]
fn a_failed_pre_start_hook_aborts_the_start() {
    let done = Event::HooksDone(
        HookPhase::PreStart,
        Err("`migrate`: exit code 1".to_owned()),
    );
    let (machine, actions) = step_with(hooked(HookPhase::PreStart), Phase::PreStart, done);
    assert_eq!(machine.state(), State::Failed);
    assert!(!actions.contains(&Action::Spawn));
    assert_eq!(told(&actions)[0].kind, "hook");
}

#[test]
fn a_stop_before_the_process_needs_no_signal() {
    for (rules, phase) in [
        (rules(), Phase::Pending),
        (hooked(HookPhase::PreStart), Phase::PreStart),
    ] {
        let (machine, actions) = step_with(rules, phase, stop());
        assert_eq!(machine.state(), State::Stopped, "{phase:?}");
        assert!(!actions.contains(&Action::End));
    }
}

#[test]
fn a_stop_while_spawning_waits_for_the_answer() {
    let (mut machine, actions) = step(Phase::Spawning, stop());
    assert!(actions.is_empty());
    let actions = machine.step(Event::Spawned { run: 4 }, T0);
    assert_eq!(machine.phase(), Phase::Ending);
    assert_eq!(actions.last(), Some(&Action::End));
}

#[test]
fn an_exit_that_overtakes_the_answer_to_its_start_is_kept() {
    let ended = Event::Exited {
        run: 4,
        exit: exit(1, secs(0)),
    };
    let (mut machine, _) = step(Phase::Spawning, ended);
    machine.step(Event::Spawned { run: 4 }, T0);
    assert_eq!(machine.phase(), Phase::Rest);
    let actions = machine.step(gone(), T0);
    assert_eq!(machine.state(), State::Backoff);
    assert_eq!(
        told(&actions)[0].exit.as_ref().and_then(|exit| exit.code),
        Some(1)
    );
}

#[test]
fn a_spawn_that_failed_counts_as_a_failed_start() {
    let failed = || Event::SpawnFailed {
        reason: "not found".to_owned(),
        code: 127,
        random: 0.5,
    };
    let (mut machine, actions) = step(Phase::Spawning, failed());
    assert_eq!(machine.state(), State::Backoff);
    assert_eq!(told(&actions)[0].delay, Some(Duration::from_millis(500)));
    let mut now = T0;
    for _ in 0..3 {
        now += secs(60);
        machine.step(Event::Due(Timer::Retry), now);
        machine.step(Event::Gate, now);
        machine.step(failed(), now);
    }
    assert_eq!(
        machine.state(),
        State::Failed,
        "startup_max 3: the fourth failure gives up"
    );
    assert_eq!(machine.restarts(), 3);
}

#[test]
fn staying_up_for_start_seconds_makes_it_running_and_ready() {
    let mut machine = at(Phase::Warming, rules());
    assert_eq!(
        machine.next_deadline(),
        Some((T0 + secs(1), Timer::StartSeconds))
    );
    machine.step(Event::Due(Timer::StartSeconds), T0);
    assert_eq!(
        machine.state(),
        State::Starting,
        "a deadline that is not due changes nothing"
    );
    let actions = machine.step(Event::Due(Timer::StartSeconds), T0 + secs(1));
    assert_eq!(machine.state(), State::Running);
    assert!(machine.is_ready() && told(&actions)[0].ready);
}

#[test]
fn with_a_readiness_probe_only_the_probe_makes_it_ready() {
    let rules = Rules {
        readiness: true,
        ..rules()
    };
    let mut machine = at(Phase::Warming, rules);
    machine.step(Event::Due(Timer::StartSeconds), T0 + secs(1));
    assert_eq!(
        (machine.state(), machine.is_ready()),
        (State::Running, false)
    );
    let actions = machine.step(
        Event::Ready {
            evidence: Some("200".to_owned()),
        },
        T0 + secs(2),
    );
    assert!(machine.is_ready());
    assert_eq!(
        (told(&actions)[0].from, told(&actions)[0].to),
        (State::Running, State::Running)
    );
    let actions = machine.step(
        Event::NotReady {
            evidence: "503".to_owned(),
        },
        T0 + secs(3),
    );
    assert!(!machine.is_ready());
    assert_eq!(told(&actions)[0].kind, "probe");
    assert_eq!(
        machine.deadline(Timer::StartTimeout),
        None,
        "it was ready once"
    );
}

#[test]
fn a_start_that_takes_too_long_is_a_failed_start() {
    let rules = Rules {
        readiness: true,
        ..rules()
    };
    let mut machine = at(Phase::Warming, rules);
    machine.step(Event::Due(Timer::StartSeconds), T0 + secs(1));
    let actions = machine.step(Event::Due(Timer::StartTimeout), T0 + secs(60));
    assert_eq!(machine.state(), State::Stopping);
    assert!(actions.contains(&Action::End) && actions.contains(&Action::Unwatch));
    machine.step(
        Event::Exited {
            run: 1,
            exit: exit(0, secs(60)),
        },
        T0 + secs(61),
    );
    let actions = machine.step(gone(), T0 + secs(61));
    assert_eq!(
        machine.state(),
        State::Backoff,
        "even when it ends with 0 on TERM"
    );
    assert_eq!(told(&actions)[0].kind, "timeout");
}

#[test]
fn to_end_well_at_once_is_a_failed_start_unless_it_is_what_the_run_is_for() {
    for (oneshot, state) in [(false, State::Failed), (true, State::Backoff)] {
        let mut rules = Rules { oneshot, ..rules() };
        (rules.policy.mode, rules.policy.startup_max) = (Mode::Always, Some(0));
        let mut machine = at(Phase::Warming, rules);
        let exit = exit(0, Duration::ZERO);
        machine.step(Event::Exited { run: 1, exit }, T0);
        machine.step(gone(), T0);
        assert_eq!(machine.state(), state, "oneshot: {oneshot}");
    }
}

#[test]
fn a_startup_probe_holds_running_back() {
    let rules = Rules {
        startup: true,
        ..rules()
    };
    let mut machine = at(Phase::Warming, rules);
    machine.step(Event::Due(Timer::StartSeconds), T0 + secs(1));
    assert_eq!(machine.state(), State::Starting);
    machine.step(Event::StartupPassed, T0 + secs(2));
    assert_eq!(
        (machine.state(), machine.is_ready()),
        (State::Running, true)
    );
}

#[test]
fn post_start_hooks_run_once_it_is_up_and_their_failure_is_only_told() {
    let mut machine = at(Phase::Warming, hooked(HookPhase::PostStart));
    let actions = machine.step(Event::Due(Timer::StartSeconds), T0 + secs(1));
    assert_eq!(actions.last(), Some(&Action::Hooks(HookPhase::PostStart)));
    let actions = machine.step(
        Event::HooksDone(HookPhase::PostStart, Err("no".to_owned())),
        T0 + secs(2),
    );
    assert_eq!(machine.state(), State::Running);
    assert_eq!(told(&actions)[0].kind, "hook");
}

#[test]
fn an_exit_is_told_once_with_its_delay_when_the_rest_of_the_tree_is_gone() {
    let mut machine = at(Phase::Up, rules());
    let actions = machine.step(
        Event::Exited {
            run: 1,
            exit: exit(3, secs(5)),
        },
        T0 + secs(5),
    );
    assert!(told(&actions).is_empty(), "not yet");
    assert!(!machine.is_live() && !machine.is_ready());
    assert_eq!(actions.last(), Some(&Action::End));
    let actions = machine.step(gone(), T0 + secs(5));
    let told = told(&actions);
    assert_eq!(
        (told[0].from, told[0].to, told[0].kind),
        (State::Running, State::Backoff, "exit")
    );
    assert_eq!(told[0].delay, Some(Duration::from_millis(500)));
    assert_eq!(told[0].exit.as_ref().and_then(|exit| exit.code), Some(3));
    assert_eq!(told[0].by, None);
    let detail = told[0].detail.as_deref().unwrap_or_default();
    assert!(
        detail.contains("exit code 3") && detail.contains("500ms"),
        "{detail}"
    );
}

#[test]
fn detached_does_not_wait_for_the_rest_of_the_tree() {
    let mut machine = at(
        Phase::Up,
        Rules {
            detached: true,
            ..rules()
        },
    );
    let actions = machine.step(
        Event::Exited {
            run: 1,
            exit: exit(3, secs(5)),
        },
        T0 + secs(5),
    );
    assert_eq!(machine.state(), State::Backoff);
    assert!(!actions.contains(&Action::End));
}

#[test]
fn an_exit_of_another_run_changes_nothing() {
    for phase in [Phase::Warming, Phase::Up, Phase::Ending, Phase::Unattended] {
        let old = Event::Exited {
            run: 99,
            exit: exit(3, secs(5)),
        };
        let (machine, actions) = step(phase, old);
        assert_eq!((machine.phase(), actions), (phase, vec![]));
    }
}

#[test]
fn a_stop_ends_in_stopped_by_either_order_of_exit_and_proof() {
    for exit_first in [true, false] {
        let mut machine = at(Phase::Ending, rules());
        let ended = Event::Exited {
            run: 1,
            exit: exit(143, secs(5)),
        };
        let order = if exit_first {
            [ended, gone()]
        } else {
            [gone(), ended]
        };
        machine.step(order[0].clone(), T0);
        assert_eq!(machine.state(), State::Stopping);
        let actions = machine.step(order[1].clone(), T0);
        assert_eq!(machine.state(), State::Stopped);
        assert_eq!(told(&actions)[0].by, who());
        assert!(told(&actions)[0].exit.is_some());
        assert_eq!(machine.next_deadline(), None);
    }
}

#[test]
fn a_missing_exit_does_not_hold_a_stop_up_for_ever() {
    let mut machine = at(Phase::Ending, rules());
    machine.step(gone(), T0);
    let (due, timer) = machine.next_deadline().expect("a deadline");
    assert_eq!((due, timer), (T0 + secs(5), Timer::ExitMissing));
    machine.step(Event::Due(timer), due);
    assert_eq!(machine.state(), State::Stopped);
}

#[test]
fn survivors_are_failed_and_a_late_exit_is_still_told() {
    let mut machine = at(Phase::Ending, rules());
    let left = Event::TreeGone {
        survivors: Some("9 (x)".to_owned()),
        random: 0.5,
    };
    machine.step(left, T0);
    machine.step(Event::Due(Timer::ExitMissing), T0 + secs(5));
    assert_eq!(machine.state(), State::Failed);
    assert_eq!(machine.reason(), "survivors: 9 (x)");
    let actions = machine.step(
        Event::Exited {
            run: 1,
            exit: exit(0, secs(9)),
        },
        T0 + secs(9),
    );
    assert!(told(&actions)[0].exit.is_some());
}

#[test]
fn pre_stop_hooks_come_before_the_signals_and_can_be_hastened() {
    let rules = hooked(HookPhase::PreStop);
    let (machine, actions) = step_with(rules.clone(), Phase::Up, stop());
    assert_eq!(machine.phase(), Phase::PreStop);
    assert!(!actions.contains(&Action::End));
    let done = Event::HooksDone(HookPhase::PreStop, Ok(()));
    let (machine, actions) = step_with(rules.clone(), Phase::PreStop, done);
    assert_eq!(
        (machine.phase(), actions),
        (Phase::Ending, vec![Action::End])
    );
    let (machine, actions) = step_with(rules, Phase::PreStop, Event::Hasten);
    assert_eq!(machine.phase(), Phase::Ending);
    assert_eq!(actions, [Action::CancelHooks, Action::End]);
}

#[test]
fn post_stop_hooks_come_after_the_tree() {
    let rules = hooked(HookPhase::PostStop);
    let mut machine = at(Phase::PostStop, rules);
    let actions = machine.step(Event::HooksDone(HookPhase::PostStop, Ok(())), T0);
    assert_eq!(machine.state(), State::Backoff);
    assert!(told(&actions)[0].exit.is_some());
}

#[test]
fn a_restart_of_a_live_one_stops_and_starts_it() {
    for phase in [Phase::Warming, Phase::Up, Phase::Unattended] {
        let (mut machine, actions) = step(phase, restart());
        assert_eq!(machine.phase(), Phase::Ending, "{phase:?}");
        assert_eq!(actions.last(), Some(&Action::End));
        machine.step(
            Event::Exited {
                run: 1,
                exit: exit(0, secs(5)),
            },
            T0,
        );
        machine.step(gone(), T0);
        assert_eq!(
            (machine.phase(), machine.desired()),
            (Phase::Pending, Desired::Up)
        );
    }
}

#[test]
fn a_restart_joins_a_start_that_has_not_happened_yet() {
    for phase in [Phase::Pending, Phase::Spawning] {
        let (machine, actions) = step(phase, restart());
        assert_eq!((machine.phase(), actions), (phase, vec![]));
    }
}

#[test]
fn a_start_during_an_end_comes_back_and_a_later_stop_wins() {
    for phase in [Phase::Ending, Phase::Rest] {
        let (mut machine, _) = step(phase, start());
        machine.step(
            Event::Exited {
                run: 1,
                exit: exit(0, secs(5)),
            },
            T0,
        );
        machine.step(gone(), T0);
        assert_eq!(machine.phase(), Phase::Pending, "{phase:?}");

        let (mut machine, _) = step(phase, start());
        machine.step(stop(), T0);
        machine.step(
            Event::Exited {
                run: 1,
                exit: exit(0, secs(5)),
            },
            T0,
        );
        machine.step(gone(), T0);
        assert_eq!(machine.phase(), Phase::Stopped, "{phase:?}");
    }
}

#[test]
fn a_stop_at_rest_is_down_at_once_and_a_start_by_hand_leaves_it() {
    for phase in [Phase::Exited, Phase::Failed, Phase::Backoff, Phase::Stopped] {
        let (machine, _) = step(phase, stop());
        assert_eq!(machine.state(), State::Stopped, "{phase:?}");
        assert_eq!(machine.next_deadline(), None);
        for event in [start(), restart()] {
            let (machine, _) = step(phase, event);
            assert_eq!(machine.phase(), Phase::Pending, "{phase:?}");
            assert_eq!((machine.attempt(), machine.restarts()), (0, 0));
        }
    }
}

#[test]
fn a_supervisor_that_goes_on_does_not_wake_what_has_ended() {
    for phase in [Phase::Exited, Phase::Failed, Phase::Backoff] {
        let (machine, actions) = step(
            phase,
            Event::Start {
                by_hand: false,
                by: None,
            },
        );
        assert_eq!((machine.phase(), actions), (phase, vec![]));
    }
    let (machine, _) = step(
        Phase::Stopped,
        Event::Start {
            by_hand: false,
            by: None,
        },
    );
    assert_eq!(machine.phase(), Phase::Pending);
}

#[test]
fn backoff_ends_when_its_delay_is_over_and_counts_a_restart() {
    let mut machine = at(Phase::Backoff, rules());
    let (due, timer) = machine.next_deadline().expect("a deadline");
    assert_eq!(
        (due - T0, timer),
        (Duration::from_millis(500), Timer::Retry)
    );
    machine.step(Event::Due(timer), due);
    assert_eq!((machine.phase(), machine.restarts()), (Phase::Pending, 1));
}

#[test]
fn healthy_running_resets_the_row() {
    let mut machine = at(Phase::Backoff, rules());
    machine.step(Event::Due(Timer::Retry), T0 + secs(1));
    machine.step(Event::Gate, T0 + secs(1));
    machine.step(Event::Spawned { run: 2 }, T0 + secs(1));
    machine.step(Event::Due(Timer::StartSeconds), T0 + secs(2));
    assert_eq!(machine.attempt(), 1);
    machine.step(Event::Due(Timer::Healthy), T0 + secs(62));
    assert_eq!((machine.attempt(), machine.restarts()), (0, 1));
    assert_eq!(*machine.counters(), proc_policy::Counters::default());
}

#[test]
fn unhealthy_is_replaced_by_policy() {
    for phase in [Phase::Warming, Phase::Up, Phase::Unattended] {
        let (mut machine, actions) = step(
            phase,
            Event::Unhealthy {
                evidence: "no".to_owned(),
            },
        );
        assert_eq!(machine.phase(), Phase::Ending);
        assert_eq!(actions.last(), Some(&Action::End));
        machine.step(
            Event::Exited {
                run: 1,
                exit: exit(0, secs(5)),
            },
            T0,
        );
        let actions = machine.step(gone(), T0);
        assert_eq!(machine.state(), State::Backoff);
        assert_eq!(told(&actions)[0].kind, "probe");
    }
}

#[test]
fn a_lost_keeper_is_unattended_until_somebody_takes_over() {
    let (mut machine, actions) = step(
        Phase::Up,
        Event::Lost {
            cause: "killed".to_owned(),
        },
    );
    assert_eq!(machine.state(), State::Unattended);
    assert_eq!(told(&actions)[0].detail.as_deref(), Some("killed"));
    assert!(machine.is_live() && machine.is_ready());
    machine.step(Event::Recovered, T0);
    assert_eq!(
        (machine.state(), machine.is_ready()),
        (State::Running, true)
    );

    let mut machine = at(Phase::Unattended, rules());
    machine.step(
        Event::Exited {
            run: 1,
            exit: exit(1, secs(5)),
        },
        T0,
    );
    machine.step(gone(), T0);
    assert_eq!(machine.state(), State::Backoff);
}

#[test]
fn a_timetable_starts_it_and_takes_it_back() {
    let timed = || Rules {
        scheduled: true,
        oneshot: true,
        ..rules()
    };
    let (mut machine, actions) = step_with(timed(), Phase::Stopped, start());
    assert_eq!(machine.state(), State::Scheduled);
    assert_eq!(actions.last(), Some(&Action::Schedule));
    machine.step(Event::NextAt(T0 + secs(30)), T0);
    machine.step(Event::Due(Timer::Schedule), T0 + secs(30));
    machine.step(Event::Gate, T0 + secs(30));
    machine.step(Event::Spawned { run: 1 }, T0 + secs(30));
    machine.step(
        Event::Exited {
            run: 1,
            exit: exit(0, secs(1)),
        },
        T0 + secs(31),
    );
    let actions = machine.step(gone(), T0 + secs(31));
    assert_eq!(machine.state(), State::Scheduled);
    assert_eq!(actions.last(), Some(&Action::Schedule));
    assert!(!machine.is_ready());
}

#[test]
fn mode_never_is_exited_however_it_ends() {
    let policy = RestartPolicy {
        mode: Mode::Never,
        ..RestartPolicy::default()
    };
    let mut machine = at(Phase::Up, Rules { policy, ..rules() });
    machine.step(
        Event::Exited {
            run: 1,
            exit: exit(3, secs(5)),
        },
        T0,
    );
    machine.step(gone(), T0);
    assert_eq!(machine.state(), State::Exited);
}

#[test]
fn an_adopted_run_goes_on_where_it_was() {
    let mut machine = Machine::new(rules());
    let mut actions = Vec::new();
    machine.restore_run(7, secs(90), true, State::Running, T0, &mut actions);
    assert_eq!(
        (machine.state(), machine.is_ready(), machine.run()),
        (State::Running, true, Some(7))
    );
    assert_eq!(actions, [Action::Watch], "nothing new to tell");
    machine.step(
        Event::Exited {
            run: 7,
            exit: exit(1, secs(90)),
        },
        T0,
    );
    machine.step(gone(), T0);
    assert_eq!(machine.state(), State::Backoff);
}
