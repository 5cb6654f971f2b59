//! Who waits for whom, as pure functions: may this start, may that stop, what comes along.

use std::collections::{BTreeMap, BTreeSet};

use proc_spec::{Need, ServiceSpec};

use crate::state::State;

/// What the graph has to know of a service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it is wanted up.
    pub(crate) wanted: bool,
    /// Its state as a whole.
    pub(crate) state: State,
    /// Whether every instance is ready.
    pub(crate) ready: bool,
    /// Whether its last run ended well, in every instance.
    pub(crate) succeeded: bool,
}

/// Whether a service may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may.
    Open,
    /// Not yet, because of this.
    Waits(String),
    /// Not unless somebody does something about this.
    Blocked(String),
}

/// The edges between services.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    needs: BTreeMap<String, Vec<(String, Need)>>,
    after: BTreeMap<String, Vec<String>>,
    /// The other direction of both.
    dependents: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(crate) fn new<'a>(services: impl IntoIterator<Item = &'a ServiceSpec>) -> Self {
        let mut graph = Self::default();
        for service in services {
            let needs: Vec<_> = service
                .needs
                .iter()
                .map(|(name, need)| (name.clone(), *need))
                .collect();
            graph.add(&service.name, needs, service.after.clone());
        }
        graph
    }

    fn add(&mut self, name: &str, needs: Vec<(String, Need)>, after: Vec<String>) {
        for on in needs.iter().map(|(on, _)| on).chain(&after) {
            self.dependents
                .entry(on.clone())
                .or_default()
                .insert(name.to_owned());
        }
        self.needs.insert(name.to_owned(), needs);
        self.after.insert(name.to_owned(), after);
    }

    /// Returns the services that have an edge to `name`.
    pub(crate) fn dependents(&self, name: &str) -> impl Iterator<Item = &str> {
        self.dependents
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Returns the services that need `name`, order alone not counted.
    pub(crate) fn needing<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.dependents(name).filter(move |dependent| {
            self.needs
                .get(*dependent)
                .is_some_and(|needs| needs.iter().any(|(on, _)| on == name))
        })
    }

    /// Returns `names` and everything they need, directly or not.
    pub(crate) fn closure(&self, names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut open: Vec<String> = names.into_iter().collect();
        while let Some(name) = open.pop() {
            if all.insert(name.clone()) {
                let needs = self.needs.get(&name).into_iter().flatten();
                open.extend(needs.map(|(on, _)| on.clone()));
            }
        }
        all
    }

    /// Returns a cycle as a path whose ends are the same, if there is one.
    pub(crate) fn cycle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        self.needs
            .keys()
            .find_map(|name| self.cycle_from(name, &mut Vec::new(), &mut done))
    }

    fn cycle_from(
        &self,
        name: &str,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|on| on == name) {
            let mut cycle = path[start..].to_vec();
            cycle.push(name.to_owned());
            return Some(cycle);
        }
        if done.contains(name) {
            return None;
        }
        path.push(name.to_owned());
        let needs = self.needs.get(name).into_iter().flatten().map(|(on, _)| on);
        let after = self.after.get(name).into_iter().flatten();
        let found = needs
            .chain(after)
            .find_map(|on| self.cycle_from(on, path, done));
        path.pop();
        done.insert(name.to_owned());
        found
    }

    /// Returns whether `name` may start. `standing` answers for the services it has edges to, directly
    /// or not; `None` is a service that does not exist. What waits for one that can never start can
    /// never start either. The edges must be free of a [cycle](Self::cycle).
    pub(crate) fn gate(&self, name: &str, standing: impl Fn(&str) -> Option<Standing>) -> Gate {
        self.gate_within(name, &standing, &mut BTreeMap::new())
    }

    /// `known` keeps what was found, so that many ways to one service cost no more than one.
    fn gate_within<'a>(
        &'a self,
        name: &'a str,
        standing: &impl Fn(&str) -> Option<Standing>,
        known: &mut BTreeMap<&'a str, Gate>,
    ) -> Gate {
        if let Some(gate) = known.get(name) {
            return gate.clone();
        }
        let gate = self.find_gate(name, standing, known);
        known.insert(name, gate.clone());
        gate
    }

    fn find_gate<'a>(
        &'a self,
        name: &'a str,
        standing: &impl Fn(&str) -> Option<Standing>,
        known: &mut BTreeMap<&'a str, Gate>,
    ) -> Gate {
        let mut gate = Gate::Open;
        for (on, need) in self.needs.get(name).into_iter().flatten() {
            let needed = standing(on);
            let mut found = need_gate(on, *need, needed.as_ref());
            if let (Gate::Waits(_), true) = (&found, needed.is_some_and(|on| is_pending(&on)))
                && let Gate::Blocked(why) = self.gate_within(on, standing, known)
            {
                found = Gate::Blocked(format!("needs `{on}` {}, which {why}", word(*need)));
            }
            match found {
                Gate::Open => {}
                blocked @ Gate::Blocked(_) => return blocked,
                waits @ Gate::Waits(_) if gate == Gate::Open => gate = waits,
                Gate::Waits(_) => {}
            }
        }
        for on in self.after.get(name).into_iter().flatten() {
            if gate != Gate::Open {
                break;
            }
            let coming = standing(on).is_some_and(|other| {
                other.wanted
                    && !has_started(&other)
                    && !(is_pending(&other)
                        && matches!(self.gate_within(on, standing, known), Gate::Blocked(_)))
            });
            if coming {
                gate = Gate::Waits(format!("waits for `{on}` to start first"));
            }
        }
        gate
    }

    /// Returns the first dependent that is still up, which a stop of `name` has to wait for, among
    /// those that are to stop as well.
    pub(crate) fn held_up_by<'a>(
        &'a self,
        name: &str,
        stopping: impl Fn(&str) -> bool,
    ) -> Option<&'a str> {
        self.dependents
            .get(name)?
            .iter()
            .map(String::as_str)
            .find(|on| stopping(on))
    }
}

/// Order alone is satisfied once the other has had its turn, however it went.
fn has_started(on: &Standing) -> bool {
    match on.state {
        State::Running | State::Exited | State::Failed | State::Scheduled | State::Unattended => {
            true
        }
        State::Backoff => true,
        State::Pending | State::Starting | State::Stopping | State::Stopped => false,
    }
}

fn need_gate(on: &str, need: Need, standing: Option<&Standing>) -> Gate {
    let Some(standing) = standing else {
        return Gate::Blocked(format!("needs `{on}`, which does not exist"));
    };
    let holds = match need {
        Need::Started => up(standing) || done_well(standing),
        Need::Ready => (up(standing) && standing.ready) || done_well(standing),
        Need::Completed => done_well(standing),
        Need::Ended => ended(standing),
    };
    if holds {
        return Gate::Open;
    }
    let why = format!("needs `{on}` {}, and it is {}", word(need), standing.state);
    match standing.state {
        State::Failed => Gate::Blocked(why),
        State::Exited => Gate::Blocked(format!("{why} without success")),
        State::Stopped if !standing.wanted => Gate::Blocked(why),
        _ => Gate::Waits(why),
    }
}

/// What a need asks of the other one, in a word.
const fn word(need: Need) -> &'static str {
    match need {
        Need::Started => "started",
        Need::Ready => "ready",
        Need::Completed => "completed",
        Need::Ended => "ended",
    }
}

/// Whether its own gate is what it stands at.
fn is_pending(on: &Standing) -> bool {
    on.state == State::Pending
}

fn up(on: &Standing) -> bool {
    matches!(on.state, State::Running | State::Unattended)
}

fn ended(on: &Standing) -> bool {
    matches!(on.state, State::Exited | State::Failed)
}

fn done_well(on: &Standing) -> bool {
    matches!(on.state, State::Exited | State::Scheduled) && on.succeeded
}

#[cfg(test)]
mod tests {
    use super::*;

    type Edges<'a> = (&'a str, &'a [(&'a str, Need)], &'a [&'a str]);

    fn graph(edges: &[Edges<'_>]) -> Graph {
        let mut graph = Graph::default();
        for (name, needs, after) in edges {
            let needs = needs
                .iter()
                .map(|(on, need)| ((*on).to_owned(), *need))
                .collect();
            graph.add(
                name,
                needs,
                after.iter().map(|on| (*on).to_owned()).collect(),
            );
        }
        graph
    }

    fn standing(state: State, ready: bool, succeeded: bool) -> Standing {
        Standing {
            wanted: true,
            state,
            ready,
            succeeded,
        }
    }

    #[test]
    fn needs_hold_as_the_table_says() {
        use State::*;
        // state, ready, succeeded -> which of started, ready, completed, ended hold
        let table = [
            (Pending, false, false, [false, false, false, false]),
            (Starting, false, false, [false, false, false, false]),
            (Running, false, false, [true, false, false, false]),
            (Running, true, false, [true, true, false, false]),
            (Unattended, true, false, [true, true, false, false]),
            (Backoff, false, false, [false, false, false, false]),
            (Exited, false, true, [true, true, true, true]),
            (Exited, false, false, [false, false, false, true]),
            (Failed, false, false, [false, false, false, true]),
            (Stopped, false, false, [false, false, false, false]),
        ];
        for (state, ready, succeeded, holds) in table {
            let needs = [Need::Started, Need::Ready, Need::Completed, Need::Ended];
            for (need, holds) in needs.into_iter().zip(holds) {
                let graph = graph(&[("web", &[("db", need)], &[])]);
                let gate = graph.gate("web", |_| Some(standing(state, ready, succeeded)));
                assert_eq!(
                    gate == Gate::Open,
                    holds,
                    "{state} {ready} {succeeded} {need:?}"
                );
            }
        }
    }

    #[test]
    fn what_can_never_hold_is_blocked() {
        let graph = graph(&[("web", &[("db", Need::Ready)], &[])]);
        let gate = graph.gate("web", |_| Some(standing(State::Failed, false, false)));
        assert_eq!(
            gate,
            Gate::Blocked("needs `db` ready, and it is failed".to_owned())
        );
    }

    #[test]
    fn what_needs_somebody_blocked_is_blocked_too() {
        let graph = graph(&[
            ("db", &[], &[]),
            ("api", &[("db", Need::Ready)], &[]),
            ("web", &[("api", Need::Started)], &[]),
            ("log", &[], &["web"]),
        ]);
        let with_db = |db: State| {
            move |name: &str| {
                let state = if name == "db" { db } else { State::Pending };
                Some(standing(state, false, false))
            }
        };
        let why = "needs `api` started, which needs `db` ready, and it is failed";
        let blocked = Gate::Blocked(why.to_owned());
        assert_eq!(graph.gate("web", with_db(State::Failed)), blocked);
        assert_eq!(graph.gate("log", with_db(State::Failed)), Gate::Open);
        for name in ["web", "log"] {
            let gate = graph.gate(name, with_db(State::Starting));
            assert!(matches!(gate, Gate::Waits(_)), "{name}: {gate:?}");
        }
    }

    #[test]
    fn many_ways_to_one_service_are_walked_once() {
        let mut graph = Graph::default();
        for layer in 0..60 {
            for side in ["a", "b"] {
                let below = ["a", "b"].map(|side| (format!("{side}{}", layer + 1), Need::Ready));
                graph.add(&format!("{side}{layer}"), below.to_vec(), Vec::new());
            }
        }
        for side in ["a60", "b60"] {
            graph.add(side, Vec::new(), Vec::new());
        }
        let asked = std::cell::Cell::new(0);
        let gate = graph.gate("a0", |_| {
            asked.set(asked.get() + 1);
            Some(standing(State::Pending, false, false))
        });
        assert!(matches!(gate, Gate::Waits(_)), "{gate:?}");
        assert!(asked.get() <= 4 * 61, "asked {} times", asked.get());
    }

    #[test]
    fn order_alone_waits_only_for_what_is_coming() {
        let graph = graph(&[("web", &[], &["cache"])]);
        let mut cache = standing(State::Starting, false, false);
        assert!(matches!(
            graph.gate("web", |_| Some(cache.clone())),
            Gate::Waits(_)
        ));
        cache.state = State::Failed;
        assert_eq!(graph.gate("web", |_| Some(cache.clone())), Gate::Open);
        cache.state = State::Stopped;
        cache.wanted = false;
        assert_eq!(graph.gate("web", |_| Some(cache.clone())), Gate::Open);
        assert_eq!(graph.gate("web", |_| None), Gate::Open);
    }

    #[test]
    fn closure_follows_needs_and_not_order() {
        let graph = graph(&[
            ("web", &[("api", Need::Ready)], &["cache"]),
            ("api", &[("db", Need::Ready)], &[]),
            ("db", &[], &[]),
            ("cache", &[], &[]),
        ]);
        let all: Vec<String> = graph.closure(["web".to_owned()]).into_iter().collect();
        assert_eq!(all, ["api", "db", "web"]);
        assert_eq!(graph.dependents("cache").collect::<Vec<_>>(), ["web"]);
        assert_eq!(graph.needing("cache").count(), 0);
        assert_eq!(graph.held_up_by("cache", |on| on == "web"), Some("web"));
        assert_eq!(graph.held_up_by("cache", |_| false), None);
    }

    #[test]
    fn a_cycle_is_shown_as_a_path() {
        let graph = graph(&[
            ("a", &[("b", Need::Started)], &[]),
            ("b", &[], &["c"]),
            ("c", &[("a", Need::Started)], &[]),
        ]);
        assert_eq!(
            graph.cycle(),
            Some(["a", "b", "c", "a"].map(str::to_owned).to_vec())
        );
    }
}
