//! What random sequences have found, shrunk.

use proc_hooks::Phase as HookPhase;

use super::table::{T0, at, exit, gone, hooked, rules, secs, start, stop, told};
use super::{Action, Event, Phase, Timer};
use crate::state::State;

fn survivors() -> Event {
    Event::TreeGone {
        survivors: Some("9 (x)".to_owned()),
        random: 0.5,
    }
}

#[test]
fn a_supervisor_that_goes_on_clears_no_limit_of_what_is_being_ended() {
    let go_on = || Event::Start {
        by_hand: false,
        by: None,
    };
    // Unhealthy: the policy decides, and counts.
    let mut machine = at(Phase::Up, rules());
    let evidence = "no answer".to_owned();
    machine.step(Event::Unhealthy { evidence }, T0);
    machine.step(go_on(), T0);
    machine.step(
        Event::Exited {
            run: 1,
            exit: exit(143, secs(5)),
        },
        T0,
    );
    machine.step(gone(), T0);
    assert_eq!((machine.phase(), machine.attempt()), (Phase::Backoff, 1));
    // Stopping: it comes back.
    let mut machine = at(Phase::Up, rules());
    machine.step(stop(), T0);
    machine.step(go_on(), T0);
    machine.step(
        Event::Exited {
            run: 1,
            exit: exit(143, secs(5)),
        },
        T0,
    );
    machine.step(gone(), T0);
    assert_eq!(machine.phase(), Phase::Pending);
}

#[test]
fn what_survived_a_stop_is_ended_before_the_next_start() {
    let mut machine = at(Phase::Ending, rules());
    machine.step(survivors(), T0);
    machine.step(Event::Due(Timer::ExitMissing), T0 + secs(5));
    assert_eq!((machine.state(), machine.is_live()), (State::Failed, true));
    let actions = machine.step(start(), T0 + secs(5));
    assert_eq!(machine.phase(), Phase::Ending);
    assert!(actions.contains(&Action::End) && !actions.contains(&Action::Spawn));
}

#[test]
fn survivors_are_told_after_the_post_stop_hooks_too() {
    let mut machine = at(Phase::Spawning, hooked(HookPhase::PostStop));
    machine.step(stop(), T0);
    machine.step(Event::Spawned { run: 1 }, T0);
    machine.step(survivors(), T0);
    let actions = machine.step(Event::Due(Timer::ExitMissing), T0 + secs(5));
    assert!(actions.contains(&Action::Hooks(HookPhase::PostStop)));
    machine.step(Event::HooksDone(HookPhase::PostStop, Ok(())), T0 + secs(5));
    assert_eq!(
        (machine.state(), machine.is_ready()),
        (State::Failed, false)
    );
}

#[test]
fn an_exit_that_comes_when_the_next_run_lives_is_not_that_runs() {
    let mut machine = at(Phase::Ending, rules());
    machine.step(gone(), T0);
    machine.step(start(), T0);
    machine.step(Event::Due(Timer::ExitMissing), T0 + secs(5));
    machine.step(Event::Gate, T0 + secs(5));
    machine.step(Event::Spawned { run: 2 }, T0 + secs(5));
    let exit = exit(143, secs(5));
    let actions = machine.step(Event::Exited { run: 1, exit }, T0 + secs(6));
    assert!(machine.is_live() && told(&actions).is_empty());
}
