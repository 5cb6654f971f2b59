//! What depends on what: missing services, and cycles shown as a path.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::decode::{Cx, quoted};
use crate::names::split_instance;
use crate::raw::{Need, RawGroup};
use crate::source::Origin;
use crate::spec::ServiceSpec;
use crate::suggest::nearest;
use proc_policy::Mode;

/// One dependency as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    /// `needs` or `after`.
    pub(crate) key: &'static str,
    pub(crate) at: Origin,
}

/// Reports edges to nowhere, edges to oneself and cycles.
pub(crate) fn check_edges(edges: &[Edge], services: &[ServiceSpec], cx: &mut Cx) {
    let known: BTreeSet<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let mut next: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    for edge in edges {
        if edge.from == edge.to {
            fail(
                edge,
                format!(
                    "`{}` depends on itself: {} -> {}",
                    edge.from, edge.from, edge.to
                ),
                None,
                cx,
            );
        } else if known.contains(edge.to.as_str()) {
            next.entry(&edge.from).or_default().push(edge);
        } else {
            let instance = split_instance(&edge.to).filter(|(service, _)| known.contains(service));
            let hint = match (instance, nearest(&edge.to, known.iter().copied())) {
                (Some((service, _)), _) => {
                    Some(format!("name the service, not an instance: `{service}`"))
                }
                (None, Some(meant)) => Some(format!("did you mean `{meant}`?")),
                (None, None) => None,
            };
            fail(
                edge,
                format!("there is no service `{}`", edge.to.escape_debug()),
                hint,
                cx,
            );
        }
    }
    let mut done = BTreeSet::new();
    for service in services {
        find_cycle(&service.name, &next, &mut done, cx);
    }
    for edge in edges {
        never_ends(edge, services, cx);
    }
}

fn fail(edge: &Edge, message: String, hint: Option<String>, cx: &mut Cx) {
    let depth = cx.path.len();
    cx.path.extend([
        "service".to_owned(),
        quoted(&edge.from),
        edge.key.to_owned(),
    ]);
    if edge.key == "needs" {
        cx.path.push(quoted(&edge.to));
    }
    cx.fail_hint(edge.at, message, hint);
    cx.path.truncate(depth);
}

/// Walks depth first without recursion: a chain may be as long as the file.
fn find_cycle<'a>(
    start: &'a str,
    next: &BTreeMap<&'a str, Vec<&'a Edge>>,
    done: &mut BTreeSet<&'a str>,
    cx: &mut Cx,
) {
    let mut path: Vec<(&str, usize)> = vec![(start, 0)];
    let mut on_path: BTreeSet<&str> = BTreeSet::from([start]);
    while let Some((service, at)) = path.last_mut() {
        let edge = next.get(service).and_then(|edges| edges.get(*at));
        *at += 1;
        match edge {
            _ if done.contains(service) => {
                on_path.remove(*service);
                path.pop();
            }
            None => {
                done.insert(service);
                on_path.remove(*service);
                path.pop();
            }
            Some(edge) if on_path.contains(edge.to.as_str()) => {
                let begin = path
                    .iter()
                    .position(|(name, _)| *name == edge.to)
                    .unwrap_or(0);
                let mut names: Vec<&str> = path[begin..].iter().map(|(name, _)| *name).collect();
                names.push(&edge.to);
                fail(
                    edge,
                    format!("the services wait for each other: {}", names.join(" -> ")),
                    None,
                    cx,
                );
            }
            Some(edge) => {
                if !done.contains(edge.to.as_str()) {
                    on_path.insert(&edge.to);
                    path.push((&edge.to, 0));
                }
            }
        }
    }
}

/// Warns of a need for the end of a service that always comes back.
fn never_ends(edge: &Edge, services: &[ServiceSpec], cx: &mut Cx) {
    let find = |name: &str| services.iter().find(|service| service.name == name);
    let (Some(from), Some(to)) = (find(&edge.from), find(&edge.to)) else {
        return;
    };
    let waits_for_end = matches!(
        from.needs.get(&to.name),
        Some(Need::Completed | Need::Ended)
    );
    if edge.key == "needs" && waits_for_end && to.restart.mode == Mode::Always {
        let depth = cx.path.len();
        cx.path.extend([
            "service".to_owned(),
            quoted(&edge.from),
            "needs".to_owned(),
            quoted(&edge.to),
        ]);
        cx.warn(
            edge.at,
            format!(
                "`{}` restarts however it ends, so this may never hold",
                to.name
            ),
        );
        cx.path.truncate(depth);
    }
}

/// A service that is named as an instance of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameClash<'a> {
    /// The service.
    pub service: &'a str,
    /// The one with several instances.
    pub owner: &'a str,
}

impl fmt::Display for NameClash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, owner } = self;
        write!(f, "`{service}` would also be an instance of `{owner}`")
    }
}

/// Returns the services, of those with these numbers of instances, that are named as instances of
/// another one.
///
/// ```
/// let clashes = proc_spec::name_clashes([("web", 2), ("web-1", 1), ("db", 1), ("db-1", 1)]);
/// assert_eq!(clashes[0].to_string(), "`web-1` would also be an instance of `web`");
/// assert_eq!(clashes.len(), 1);
/// ```
pub fn name_clashes<'a>(counts: impl IntoIterator<Item = (&'a str, u32)>) -> Vec<NameClash<'a>> {
    let counts: Vec<(&str, u32)> = counts.into_iter().collect();
    let many: BTreeSet<&str> = counts
        .iter()
        .filter(|(_, count)| *count > 1)
        .map(|(name, _)| *name)
        .collect();
    let clash = |(service, _): &(&'a str, u32)| {
        let (owner, _) = split_instance(service).filter(|(owner, _)| many.contains(owner))?;
        Some(NameClash { service, owner })
    };
    counts.iter().filter_map(clash).collect()
}

/// Reports a service that is named as an instance of another one.
pub(crate) fn check_instance_names(
    services: &[ServiceSpec],
    places: &BTreeMap<String, Origin>,
    cx: &mut Cx,
) {
    let counts = services.iter().map(|s| (s.name.as_str(), s.instances));
    for clash in name_clashes(counts) {
        let at = places.get(clash.service).copied().unwrap_or_default();
        let hint = Some("rename one of them".to_owned());
        cx.path = vec!["service".to_owned(), quoted(clash.service)];
        cx.fail_hint(at, clash.to_string(), hint);
        cx.path.clear();
    }
}

/// Reports group members that are no services.
pub(crate) fn check_members(group: &RawGroup, services: &[ServiceSpec], cx: &mut Cx) {
    let mut seen = BTreeSet::new();
    for (index, member) in group.members.iter().enumerate() {
        let known = services.iter().any(|service| service.name == member.value);
        cx.at_index(index, |cx| {
            if !known {
                let meant = nearest(member, services.iter().map(|service| service.name.as_str()));
                let hint = meant.map(|meant| format!("did you mean `{meant}`?"));
                cx.fail_hint(
                    member.at,
                    format!("there is no service `{}`", member.escape_debug()),
                    hint,
                );
            } else if !seen.insert(&member.value) {
                cx.fail(
                    member.at,
                    format!("`{}` is in the group twice", member.value),
                );
            }
        });
    }
}
