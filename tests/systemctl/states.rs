//! Every row of the state map that can be produced here, by a real unit.
//!
//! Which rows no unit can be brought into here, and why, is in [`ELSEWHERE`]; every other row must be met.

use std::collections::BTreeSet;

use proc_backends::{STATE_MAP, UnitFacts, UnitState, unit_state};

use crate::bed::Bed;

/// Units, and what must be seen of each at some moment after `systemctl start` (or the given verb).
struct Case {
    name: &'static str,
    unit: &'static str,
    start: bool,
    active: &'static str,
    sub: &'static str,
    result: &'static str,
    state: UnitState,
    reason: &'static str,
}

const fn case(
    name: &'static str,
    unit: &'static str,
    [active, sub, result]: [&'static str; 3],
    state: UnitState,
    reason: &'static str,
) -> Case {
    Case {
        name,
        unit,
        start: true,
        active,
        sub,
        result,
        state,
        reason,
    }
}

const CASES: &[Case] = &[
    case(
        "run",
        "[Service]\nExecStart=/bin/sleep 1000\n",
        ["active", "running", "success"],
        UnitState::Running,
        "",
    ),
    case(
        "kept",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
        ["active", "exited", "success"],
        UnitState::Exited,
        "exited with code 0",
    ),
    case(
        "condition",
        "[Service]\nExecCondition=/bin/sleep 1000\nExecStart=/bin/sleep 1000\n",
        ["activating", "condition", "*"],
        UnitState::Starting,
        "ExecCondition",
    ),
    case(
        "pre",
        "[Service]\nExecStartPre=/bin/sleep 1000\nExecStart=/bin/sleep 1000\n",
        ["activating", "start-pre", "*"],
        UnitState::Starting,
        "ExecStartPre",
    ),
    case(
        "mute",
        "[Service]\nType=notify\nTimeoutStartSec=1000\nExecStart=/bin/sleep 1000\n",
        ["activating", "start", "*"],
        UnitState::Starting,
        "not yet",
    ),
    case(
        "oneshot",
        "[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n",
        ["activating", "start", "*"],
        UnitState::Starting,
        "not yet",
    ),
    case(
        "post",
        "[Service]\nExecStart=/bin/sleep 1000\nExecStartPost=/bin/sleep 1000\n",
        ["activating", "start-post", "*"],
        UnitState::Starting,
        "ExecStartPost",
    ),
    case(
        "again",
        "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1000\n",
        ["activating", "auto-restart", "exit-code"],
        UnitState::Backoff,
        "exit-code",
    ),
    case(
        "code",
        "[Service]\nExecStart=/bin/sh -c 'exit 7'\n",
        ["failed", "failed", "exit-code"],
        UnitState::Failed,
        "code 7",
    ),
    case(
        "signal",
        "[Service]\nExecStart=/bin/sh -c 'kill -9 $$$$'\n",
        ["failed", "failed", "signal"],
        UnitState::Failed,
        "KILL",
    ),
    case(
        "late",
        "[Service]\nType=notify\nTimeoutStartSec=100ms\nExecStart=/bin/sleep 1000\n",
        ["failed", "failed", "timeout"],
        UnitState::Failed,
        "too long",
    ),
    case(
        "dog",
        "[Service]\nWatchdogSec=100ms\nExecStart=/bin/sleep 1000\n",
        ["failed", "failed", "watchdog"],
        UnitState::Failed,
        "watchdog",
    ),
    case(
        "loop",
        "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1000\n[Service]\nExecStart=/bin/true\nRestart=always\nRestartSec=1ms\n",
        ["failed", "failed", "start-limit-hit"],
        UnitState::Failed,
        "too often",
    ),
    case(
        "lacking",
        "[Service]\nEnvironmentFile=/nonexistent/env\nExecStart=/bin/true\n",
        ["failed", "failed", "resources"],
        UnitState::Failed,
        "lacked",
    ),
    case(
        "liar",
        "[Service]\nType=notify\nExecStart=/bin/true\n",
        ["failed", "failed", "protocol"],
        UnitState::Failed,
        "Type=",
    ),
    Case {
        start: false,
        ..case(
            "never",
            "[Service]\nExecStart=/bin/true\n",
            ["inactive", "dead", "success"],
            UnitState::Stopped,
            "",
        )
    },
    Case {
        start: false,
        ..case(
            "broken",
            "[Service]\nType=frob\n",
            ["inactive", "dead", "*"],
            UnitState::Failed,
            "bad setting",
        )
    },
];

/// Units that are brought into their state by a verb after they run.
const STOPPING: &[Case] = &[
    case(
        "stop",
        "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 1000\n",
        ["deactivating", "stop", "*"],
        UnitState::Stopping,
        "ExecStop",
    ),
    case(
        "deaf",
        "[Service]\nTimeoutStopSec=1000\nExecStart=/bin/sh -c 'trap \"\" TERM; systemd-notify --ready; while :; do sleep 1000; done'\nType=notify\nNotifyAccess=all\n",
        ["deactivating", "stop-sigterm", "*"],
        UnitState::Stopping,
        "stop signal",
    ),
    case(
        "stop-post",
        "[Service]\nExecStart=/bin/sleep 1000\nExecStopPost=/bin/sleep 1000\n",
        ["deactivating", "stop-post", "*"],
        UnitState::Stopping,
        "ExecStopPost",
    ),
];

/// Rows that are tried with facts of ours only: active state, sub-state, result, and why no unit stands there.
const ELSEWHERE: &[([&str; 4], &str)] = &[
    (
        ["error", "inactive", "*", "*"],
        "a unit file that cannot be read",
    ),
    (
        ["*", "active", "reload", "*"],
        "not told by any version: the unit is `reloading`",
    ),
    (["*", "active", "start-post", "*"], "of versions before 230"),
    (["*", "refreshing", "*", "*"], "of versions from 257"),
    (
        ["*", "activating", "auto-restart-queued", "*"],
        "of versions from 254",
    ),
    (["*", "activating", "*", "*"], "a sub-state to come"),
    (
        ["*", "deactivating", "stop-sigkill", "*"],
        "lasts for microseconds",
    ),
    (
        ["*", "deactivating", "*", "*"],
        "the final signals last for microseconds, or a sub-state to come",
    ),
    (
        ["*", "inactive", "dead-before-auto-restart", "*"],
        "of versions from 254",
    ),
    (
        ["*", "failed", "failed-before-auto-restart", "*"],
        "of versions from 254",
    ),
    (
        ["*", "inactive", "*", "exec-condition"],
        "systemd forgets such a unit at once",
    ),
    (["*", "inactive", "*", ""], "of versions before 232"),
    (["*", "inactive", "*", "*"], "a result to come"),
    (
        ["*", "failed", "*", "core-dump"],
        "needs the machine's core pattern",
    ),
    (
        ["*", "failed", "*", "oom-kill"],
        "needs a memory controller",
    ),
    (["*", "failed", "*", "*"], "a result to come"),
    (
        ["*", "maintenance", "*", "*"],
        "lasts as long as `systemctl clean`",
    ),
    (["*", "*", "*", "*"], "what no version says"),
];

/// Returns the row that some facts fall into.
fn row(facts: &UnitFacts) -> [&'static str; 4] {
    let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
    let found = STATE_MAP.iter().find(|row| {
        fits(row.load, &facts.load)
            && fits(row.active, &facts.active)
            && fits(row.sub, &facts.sub)
            && fits(row.result, &facts.result)
    });
    let row = found.expect("the last row fits everything");
    [row.load, row.active, row.sub, row.result]
}

#[test]
fn real_units_are_understood_in_every_state() {
    let Some(bed) = Bed::up() else { return };
    let names: Vec<String> = CASES
        .iter()
        .chain(STOPPING)
        .map(|c| format!("{}.service", c.name))
        .collect();
    let mut units: Vec<(&str, &str)> = names
        .iter()
        .zip(CASES.iter().chain(STOPPING))
        .map(|(name, case)| (name.as_str(), case.unit))
        .collect();
    units.push((
        "reload.service",
        "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/sleep 1000\n",
    ));
    // Deaf to the signal of a missed watchdog too.
    units.push((
        "guarded.service",
        "[Service]\nType=notify\nNotifyAccess=all\nWatchdogSec=100ms\nTimeoutAbortSec=1000\nTimeoutStopSec=1000\n\
         ExecStart=/bin/sh -c 'trap \"\" ABRT TERM; systemd-notify --ready; while :; do sleep 1000; done'\n",
    ));
    bed.units(&units);
    assert_eq!(bed.systemctl(&["mask", "--runtime", "hidden.service"]), 0);
    bed.systemctl(&["start", "--no-block", "guarded"]);

    let mut met = BTreeSet::new();
    for case in CASES {
        if case.start {
            bed.systemctl(&["start", "--no-block", case.name]);
        }
        met.insert(expect(&bed, case));
    }
    for case in STOPPING {
        assert_eq!(bed.systemctl(&["start", case.name]), 0, "{}", case.name);
        bed.systemctl(&["stop", "--no-block", case.name]);
        met.insert(expect(&bed, case));
    }
    let facts = bed.until("guarded", |facts| facts.sub == "stop-watchdog");
    assert_eq!(unit_state(&facts).0, UnitState::Stopping);
    met.insert(row(&facts));
    bed.systemctl(&["start", "reload"]);
    bed.systemctl(&["reload", "--no-block", "reload"]);
    let facts = bed.until("reload", |facts| facts.active == "reloading");
    assert_eq!(unit_state(&facts).0, UnitState::Running);
    met.insert(row(&facts));

    for name in ["nosuch.service", "hidden.service"] {
        met.insert(row(&bed.facts(name)));
    }
    for [load, active, sub, result] in STATE_MAP
        .iter()
        .map(|r| [r.load, r.active, r.sub, r.result])
    {
        let row = [load, active, sub, result];
        let elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == row);
        assert!(met.contains(&row) || elsewhere, "no unit was in {row:?}");
    }

    let (state, reason) = unit_state(&bed.facts("nosuch.service"));
    assert_eq!(
        (state, reason.as_str()),
        (UnitState::Failed, "there is no such unit")
    );
    let (state, reason) = unit_state(&bed.facts("hidden.service"));
    assert_eq!(
        (state, reason.as_str()),
        (UnitState::Failed, "the unit is masked")
    );
}

#[track_caller]
fn expect(bed: &Bed, case: &Case) -> [&'static str; 4] {
    let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
    let facts = bed.until(case.name, |facts| {
        facts.active == case.active && facts.sub == case.sub && fits(case.result, &facts.result)
    });
    let (state, reason) = unit_state(&facts);
    assert_eq!(state, case.state, "{}: {facts:?}", case.name);
    let empty = case.reason.is_empty() && reason.is_empty();
    assert!(
        empty || (!case.reason.is_empty() && reason.contains(case.reason)),
        "{}: {reason}",
        case.name
    );
    row(&facts)
}
