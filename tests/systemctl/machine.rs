//! The same on a machine's own manager: systemd as PID 1, the tests of this program run inside.

use crate::bed::Machine;

/// Boots a machine for each of these tests.
#[track_caller]
fn each(tests: &[&str]) {
    for test in tests {
        let Some(machine) = Machine::up() else { return };
        machine.test(test);
    }
}

#[test]
fn states_are_understood_on_the_machines_manager() {
    each(&["states::real_units_are_understood_in_every_state"]);
}

#[test]
fn units_of_ours_run_on_the_machines_manager() {
    each(&[
        "own::a_spec_arrives_as_written",
        "own::many_starts_and_stops_leave_nothing_behind",
        "own::no_line_is_lost_of_runs_that_end_at_once",
    ]);
}

#[test]
fn units_that_exist_run_on_the_machines_manager() {
    each(&[
        "foreign::a_unit_is_started_signalled_reloaded_and_stopped",
        "foreign::every_end_is_told_once_with_code_or_signal",
        "foreign::what_systemd_restarts_itself_is_one_run",
    ]);
}

#[test]
fn a_killed_supervisor_finds_its_units_on_the_machines_manager() {
    each(&["adopt::the_next_supervisor_finds_units_and_exits"]);
}
