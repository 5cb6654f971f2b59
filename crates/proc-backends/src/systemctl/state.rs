//! What a unit's states mean here: a table, first match wins.

use super::facts::UnitFacts;

/// A unit's state in this project's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnitState {
    /// On its way up.
    Starting,
    /// Up.
    Running,
    /// On its way down.
    Stopping,
    /// Down without having failed.
    Stopped,
    /// Its program has ended while systemd still counts the unit as active.
    Exited,
    /// systemd itself is about to start it again.
    Backoff,
    /// Down, and not as meant.
    Failed,
    /// systemd says something that is not known here: nothing may be concluded.
    Unknown,
}

/// One row: what systemd says (`*` matches anything) and what it means.
#[derive(Debug, Clone, Copy)]
pub struct StateRow {
    /// `LoadState`.
    pub load: &'static str,
    /// `ActiveState`.
    pub active: &'static str,
    /// `SubState`.
    pub sub: &'static str,
    /// `Result`.
    pub result: &'static str,
    /// The state.
    pub state: UnitState,
    /// Why, with `{sub}`, `{result}`, `{end}` and `{error}` filled in.
    pub reason: &'static str,
}

const fn row(
    [load, active, sub, result]: [&'static str; 4],
    state: UnitState,
    reason: &'static str,
) -> StateRow {
    StateRow {
        load,
        active,
        sub,
        result,
        state,
        reason,
    }
}

/// Every state of a service unit up to systemd 257.
pub const STATE_MAP: &[StateRow] = {
    use UnitState::{Backoff, Exited, Failed, Running, Starting, Stopped, Stopping, Unknown};
    &[
        row(
            ["not-found", "inactive", "*", "*"],
            Failed,
            "there is no such unit",
        ),
        row(
            ["masked", "inactive", "*", "*"],
            Failed,
            "the unit is masked",
        ),
        row(
            ["bad-setting", "inactive", "*", "*"],
            Failed,
            "its file has a bad setting: {error}",
        ),
        row(
            ["error", "inactive", "*", "*"],
            Failed,
            "its file cannot be loaded: {error}",
        ),
        row(["*", "active", "running", "*"], Running, ""),
        row(
            ["*", "active", "exited", "*"],
            Exited,
            "{end}; the unit stays active",
        ),
        row(["*", "active", "reload", "*"], Running, "reloads"),
        row(
            ["*", "active", "start-post", "*"],
            Running,
            "runs its ExecStartPost",
        ),
        row(["*", "reloading", "*", "*"], Running, "reloads"),
        row(["*", "refreshing", "*", "*"], Running, "refreshes"),
        row(
            ["*", "activating", "auto-restart", "*"],
            Backoff,
            "systemd restarts it itself after {result}, {end}",
        ),
        row(
            ["*", "activating", "auto-restart-queued", "*"],
            Backoff,
            "systemd restarts it itself after {result}, {end}",
        ),
        row(
            ["*", "activating", "condition", "*"],
            Starting,
            "runs its ExecCondition",
        ),
        row(
            ["*", "activating", "start-pre", "*"],
            Starting,
            "runs its ExecStartPre",
        ),
        row(
            ["*", "activating", "start", "*"],
            Starting,
            "has not yet said that it started",
        ),
        row(
            ["*", "activating", "start-post", "*"],
            Starting,
            "runs its ExecStartPost",
        ),
        row(["*", "activating", "*", "*"], Starting, "is {sub}"),
        row(
            ["*", "deactivating", "stop", "*"],
            Stopping,
            "runs its ExecStop",
        ),
        row(
            ["*", "deactivating", "stop-sigterm", "*"],
            Stopping,
            "was sent its stop signal",
        ),
        row(
            ["*", "deactivating", "stop-sigkill", "*"],
            Stopping,
            "did not stop in time and is being killed",
        ),
        row(
            ["*", "deactivating", "stop-watchdog", "*"],
            Stopping,
            "missed its watchdog",
        ),
        row(
            ["*", "deactivating", "stop-post", "*"],
            Stopping,
            "runs its ExecStopPost",
        ),
        row(["*", "deactivating", "*", "*"], Stopping, "is {sub}"),
        row(
            ["*", "inactive", "dead-before-auto-restart", "*"],
            Backoff,
            "systemd restarts it itself",
        ),
        row(
            ["*", "failed", "failed-before-auto-restart", "*"],
            Backoff,
            "systemd restarts it itself after {result}, {end}",
        ),
        row(
            ["*", "inactive", "*", "exec-condition"],
            Stopped,
            "its ExecCondition said no",
        ),
        row(["*", "inactive", "*", "success"], Stopped, ""),
        row(["*", "inactive", "*", ""], Stopped, ""),
        row(["*", "inactive", "*", "*"], Stopped, "{result}"),
        row(["*", "failed", "*", "exit-code"], Failed, "{end}"),
        row(["*", "failed", "*", "signal"], Failed, "{end}"),
        row(["*", "failed", "*", "core-dump"], Failed, "{end}"),
        row(
            ["*", "failed", "*", "timeout"],
            Failed,
            "a start or stop took too long",
        ),
        row(
            ["*", "failed", "*", "watchdog"],
            Failed,
            "it missed its watchdog",
        ),
        row(
            ["*", "failed", "*", "start-limit-hit"],
            Failed,
            "it was started too often for systemd's own start limit",
        ),
        row(
            ["*", "failed", "*", "oom-kill"],
            Failed,
            "it was killed for lack of memory",
        ),
        row(
            ["*", "failed", "*", "resources"],
            Failed,
            "systemd lacked something to run it",
        ),
        row(
            ["*", "failed", "*", "protocol"],
            Failed,
            "it did not do what its Type= promises",
        ),
        row(["*", "failed", "*", "*"], Failed, "{result}"),
        row(
            ["*", "maintenance", "*", "*"],
            Failed,
            "systemd holds it in maintenance",
        ),
        row(
            ["*", "*", "*", "*"],
            Unknown,
            "systemd says something unknown: cannot tell",
        ),
    ]
};

/// Returns what a unit's facts mean, and why.
#[must_use]
pub fn unit_state(facts: &UnitFacts) -> (UnitState, String) {
    let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
    let row = STATE_MAP.iter().find(|row| {
        fits(row.load, &facts.load)
            && fits(row.active, &facts.active)
            && fits(row.sub, &facts.sub)
            && fits(row.result, &facts.result)
    });
    let row = row.expect("the last row fits everything");
    let end = facts
        .end
        .map_or_else(|| "end unknown".to_owned(), |end| end.to_string());
    let reason = row
        .reason
        .replace("{sub}", &facts.sub)
        .replace("{result}", &facts.result)
        .replace("{end}", &end)
        .replace("{error}", &facts.load_error);
    (row.state, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_core::ProcessEnd;

    fn facts(load: &str, active: &str, sub: &str, result: &str) -> UnitFacts {
        UnitFacts {
            load: load.into(),
            active: active.into(),
            sub: sub.into(),
            result: result.into(),
            end: Some(ProcessEnd::Exited(7)),
            load_error: "E".into(),
            ..UnitFacts::default()
        }
    }

    /// A value for a pattern that no earlier row is about.
    fn sample(pattern: &str) -> &str {
        if pattern == "*" { "zzz" } else { pattern }
    }

    #[test]
    fn every_row_is_reached_and_filled_in() {
        for (at, row) in STATE_MAP.iter().enumerate() {
            let facts = facts(
                sample(row.load),
                sample(row.active),
                sample(row.sub),
                sample(row.result),
            );
            let first = STATE_MAP.iter().position(|other| {
                let fits = |p: &str, v: &str| p == "*" || p == v;
                fits(other.load, &facts.load)
                    && fits(other.active, &facts.active)
                    && fits(other.sub, &facts.sub)
                    && fits(other.result, &facts.result)
            });
            assert_eq!(first, Some(at), "{row:?} is hidden by an earlier row");
            let (state, reason) = unit_state(&facts);
            assert_eq!(state, row.state);
            assert!(!reason.contains('{'), "{reason}");
        }
    }

    /// The sub-states of services, from `systemctl --state=help` of 252 and the sources of 257.
    #[test]
    fn every_state_of_a_service_has_a_meaning() {
        let known = [
            ("inactive", "dead"),
            ("activating", "condition"),
            ("activating", "start-pre"),
            ("activating", "start"),
            ("active", "start-post"),
            ("activating", "start-post"),
            ("active", "running"),
            ("active", "exited"),
            ("active", "reload"),
            ("reloading", "reload"),
            ("reloading", "reload-signal"),
            ("reloading", "reload-notify"),
            ("reloading", "mounting"),
            ("deactivating", "stop"),
            ("deactivating", "stop-watchdog"),
            ("deactivating", "stop-sigterm"),
            ("deactivating", "stop-sigkill"),
            ("deactivating", "stop-post"),
            ("deactivating", "final-watchdog"),
            ("deactivating", "final-sigterm"),
            ("deactivating", "final-sigkill"),
            ("failed", "failed"),
            ("inactive", "dead-before-auto-restart"),
            ("failed", "failed-before-auto-restart"),
            ("inactive", "dead-resources-pinned"),
            ("activating", "auto-restart"),
            ("activating", "auto-restart-queued"),
            ("maintenance", "cleaning"),
        ];
        for (active, sub) in known {
            let (state, _) = unit_state(&facts("loaded", active, sub, "exit-code"));
            assert_ne!(state, UnitState::Unknown, "{active}/{sub}");
        }
        let (state, reason) = unit_state(&facts("loaded", "frobbed", "x", ""));
        assert_eq!(state, UnitState::Unknown);
        assert!(reason.contains("cannot tell"));
    }

    #[test]
    fn reasons_name_the_end() {
        let (state, reason) = unit_state(&facts("loaded", "failed", "failed", "exit-code"));
        assert_eq!(
            (state, reason.contains('7')),
            (UnitState::Failed, true),
            "{reason}"
        );
        let (state, reason) = unit_state(&facts("loaded", "activating", "auto-restart", "signal"));
        assert_eq!(state, UnitState::Backoff);
        assert!(reason.contains("signal"), "{reason}");
    }
}
