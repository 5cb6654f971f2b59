//! What depends on what: missing services, and cycles shown as a path.

use std::collections::{BTreeMap, BTreeSet};

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

/// Reports a service that is named as an instance of another one.
pub(crate) fn check_instance_names(
    services: &[ServiceSpec],
    places: &BTreeMap<String, Origin>,
    cx: &mut Cx,
) {
    let many: BTreeSet<&str> = services
        .iter()
        .filter(|service| service.instances > 1)
        .map(|service| service.name.as_str())
        .collect();
    for service in services {
        let Some((owner, _)) =
            split_instance(&service.name).filter(|(owner, _)| many.contains(owner))
        else {
            continue;
        };
        let at = places.get(&service.name).copied().unwrap_or_default();
        let message = format!("`{}` would also be an instance of `{owner}`", service.name);
        let hint = Some("rename one of them".to_owned());
        cx.path = vec!["service".to_owned(), quoted(&service.name)];
        cx.fail_hint(at, message, hint);
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
