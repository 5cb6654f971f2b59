//! The pure core of a probe: answers in a row, and what they change.
//!
//! | role | starts | successes reached | failures reached |
//! |---|---|---|---|
//! | ready | not ready | `Ready`, once until lost | `NotReady`, only if it was ready |
//! | alive | alive | nothing | `Failed`, once; then final |
//! | startup | not started | `Ready`, once; then final | `Failed`, once; then final |

use serde::{Deserialize, Serialize};

use crate::probe::{Probe, Role};

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The service is ready, or has started.
    Ready,
    /// The service was ready and no longer is.
    NotReady,
    /// The service is not alive, or did not start.
    Failed,
}

/// Counts answers in a row; knows no clock and does no I/O.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeState {
    role: Role,
    successes: u32,
    failures: u32,
    in_a_row: u32,
    last: Option<bool>,
    up: bool,
    finished: bool,
}

impl ProbeState {
    /// Returns the state before the first answer.
    #[must_use]
    pub fn new(role: Role, probe: &Probe) -> Self {
        ProbeState {
            role,
            successes: probe.successes.max(1),
            failures: probe.failures,
            in_a_row: 0,
            last: None,
            up: role == Role::Alive,
            finished: false,
        }
    }

    /// Takes one answer and returns what it changed.
    pub fn on_result(&mut self, ok: bool) -> Option<Change> {
        if self.finished {
            return None;
        }
        self.in_a_row = if self.last == Some(ok) {
            self.in_a_row.saturating_add(1)
        } else {
            1
        };
        self.last = Some(ok);
        if ok { self.succeeded() } else { self.failed() }
    }

    fn succeeded(&mut self) -> Option<Change> {
        if self.up || self.in_a_row < self.successes {
            return None;
        }
        self.up = true;
        self.finished = self.role == Role::Startup;
        Some(Change::Ready)
    }

    fn failed(&mut self) -> Option<Change> {
        if self.failures == 0 || self.in_a_row < self.failures {
            return None;
        }
        if self.role == Role::Ready {
            let was_up = std::mem::replace(&mut self.up, false);
            return was_up.then_some(Change::NotReady);
        }
        self.up = false;
        self.finished = true;
        Some(Change::Failed)
    }

    /// Takes a statement of the service itself, which needs no thresholds, and returns what it
    /// changed.
    pub fn on_statement(&mut self, ready: bool) -> Option<Change> {
        if self.finished || self.role == Role::Alive || self.up == ready {
            return None;
        }
        self.last = Some(ready);
        self.in_a_row = 1;
        self.up = ready;
        self.finished = ready && self.role == Role::Startup;
        Some(if ready {
            Change::Ready
        } else {
            Change::NotReady
        })
    }

    /// Tells whether the service counts as ready, alive or started.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Tells whether no further answer can change anything.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ProbeKind;

    fn run(role: Role, successes: u32, failures: u32, answers: &str) -> String {
        let probe = Probe {
            successes,
            failures,
            ..Probe::new(role, ProbeKind::Notify)
        };
        let mut state = ProbeState::new(role, &probe);
        answers
            .chars()
            .map(|answer| match state.on_result(answer == '+') {
                None => '.',
                Some(Change::Ready) => 'R',
                Some(Change::NotReady) => 'N',
                Some(Change::Failed) => 'F',
            })
            .collect()
    }

    #[test]
    fn answers_in_a_row_decide() {
        for (role, successes, failures, answers, changes) in [
            (Role::Ready, 1, 3, "+++", "R.."),
            (Role::Ready, 2, 3, "+-++", "...R"),
            (Role::Ready, 1, 3, "---+", "...R"),
            (Role::Ready, 1, 3, "+--+---+", "R.....NR"),
            (Role::Ready, 1, 0, "+-----", "R....."),
            (Role::Ready, 0, 1, "+-+-", "RNRN"),
            (Role::Alive, 1, 3, "+--+---+---", "......F...."),
            (Role::Alive, 1, 1, "-", "F"),
            (Role::Alive, 1, 0, "----", "...."),
            (Role::Startup, 1, 3, "--+---", "..R..."),
            (Role::Startup, 1, 3, "---+", "..F."),
            (Role::Startup, 1, 0, "-----+", ".....R"),
        ] {
            let found = run(role, successes, failures, answers);
            assert_eq!(found, changes, "{role} {successes}/{failures} {answers}");
        }
    }

    #[test]
    fn a_statement_needs_no_threshold() {
        let probe = Probe {
            successes: 5,
            ..Probe::new(Role::Ready, ProbeKind::Notify)
        };
        let mut state = ProbeState::new(Role::Ready, &probe);
        assert_eq!(state.on_statement(true), Some(Change::Ready));
        assert_eq!(state.on_statement(true), None);
        assert_eq!(state.on_statement(false), Some(Change::NotReady));
        assert_eq!(state.on_statement(true), Some(Change::Ready));
    }
}
