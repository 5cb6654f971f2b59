//! The NAME arguments of a command line: names, instances, globs and `@groups`.

use std::collections::BTreeSet;

use crate::names::split_instance;
use crate::spec::{Project, ServiceSpec};
use crate::suggest::nearest;

/// A service that was asked for, wholly or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The service.
    pub service: String,
    /// The instances, from 1 and in order; `None` is all of them.
    pub instances: Option<Vec<u32>>,
}

/// A NAME that is nothing in the project.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} `{name}`")]
pub struct SelectError {
    /// The name as given, escaped.
    pub name: String,
    /// `service`, `group` or `service that matches`.
    pub what: &'static str,
    /// What may have been meant.
    pub hint: Option<String>,
}

/// Returns the services that `names` ask for, in the project's order; no names ask for all.
///
/// A name is a service (`web`), an instance (`web-2`), a glob over both (`web-*`) or a group (`@backend`).
///
/// # Errors
/// [`SelectError`] for the first name that is nothing in the project.
pub fn select<S: AsRef<str>>(project: &Project, names: &[S]) -> Result<Vec<Selected>, SelectError> {
    let mut wanted = vec![Wanted::Nothing; project.services.len()];
    if names.is_empty() {
        wanted.fill(Wanted::All);
    }
    for name in names {
        one(project, name.as_ref(), &mut wanted)?;
    }
    let pairs = project.services.iter().zip(wanted);
    Ok(pairs
        .filter_map(|(service, wanted)| {
            let instances = match wanted {
                Wanted::Nothing => return None,
                Wanted::All => None,
                Wanted::Some(instances) if instances.len() == service.instances as usize => None,
                Wanted::Some(instances) => Some(instances.into_iter().collect()),
            };
            Some(Selected {
                service: service.name.clone(),
                instances,
            })
        })
        .collect())
}

#[derive(Debug, Clone)]
enum Wanted {
    Nothing,
    Some(BTreeSet<u32>),
    All,
}

impl Wanted {
    fn add(&mut self, instance: u32) {
        match self {
            Self::Nothing => *self = Self::Some(BTreeSet::from([instance])),
            Self::Some(instances) => {
                instances.insert(instance);
            }
            Self::All => {}
        }
    }
}

fn one(project: &Project, name: &str, wanted: &mut [Wanted]) -> Result<(), SelectError> {
    if let Some(group) = name.strip_prefix('@') {
        return members(project, group, wanted);
    }
    if let Some(at) = project
        .services
        .iter()
        .position(|service| service.name == name)
    {
        wanted[at] = Wanted::All;
        return Ok(());
    }
    if let Some((service, index)) = split_instance(name) {
        let is_instance = |spec: &ServiceSpec| {
            spec.name == service && spec.instances != 1 && index <= spec.instances
        };
        if let Some(at) = project.services.iter().position(is_instance) {
            wanted[at].add(index);
            return Ok(());
        }
    }
    if name.contains(['*', '?', '[', '{']) {
        return glob(project, name, wanted);
    }
    let instances: Vec<String> = project
        .services
        .iter()
        .filter(|service| service.instances > 1)
        .flat_map(|service| service.instance_names().take(100))
        .collect();
    let known = project.services.iter().map(|service| service.name.as_str());
    let group = project
        .groups
        .contains_key(name)
        .then(|| format!("`@{name}` names the group"));
    let owner = split_instance(name).map(|(service, _)| service);
    let owner = owner.filter(|owner| {
        project
            .services
            .iter()
            .any(|s| s.name == *owner && s.instances == 1)
    });
    let meant = owner.or_else(|| nearest(name, known.chain(instances.iter().map(String::as_str))));
    Err(SelectError {
        name: name.escape_debug().to_string(),
        what: "service",
        hint: group.or_else(|| meant.map(|meant| format!("did you mean `{meant}`?"))),
    })
}

fn members(project: &Project, name: &str, wanted: &mut [Wanted]) -> Result<(), SelectError> {
    let Some(group) = project.groups.get(name) else {
        let meant = nearest(name, project.groups.keys().map(String::as_str));
        return Err(SelectError {
            name: format!("@{}", name.escape_debug()),
            what: "group",
            hint: meant.map(|meant| format!("did you mean `@{meant}`?")),
        });
    };
    for (service, wanted) in project.services.iter().zip(wanted) {
        if group.members.contains(&service.name) {
            *wanted = Wanted::All;
        }
    }
    Ok(())
}

fn glob(project: &Project, pattern: &str, wanted: &mut [Wanted]) -> Result<(), SelectError> {
    let fail = |hint: Option<String>| SelectError {
        name: pattern.escape_debug().to_string(),
        what: "service that matches",
        hint,
    };
    let matcher = globset::Glob::new(pattern)
        .map_err(|error| fail(Some(format!("it is not a glob: {}", error.kind()))))?
        .compile_matcher();
    let mut found = false;
    for (service, wanted) in project.services.iter().zip(wanted) {
        if matcher.is_match(&service.name) {
            *wanted = Wanted::All;
            found = true;
        } else if service.instances != 1 {
            for (index, name) in (1..).zip(service.instance_names()) {
                if matcher.is_match(name) {
                    wanted.add(index);
                    found = true;
                }
            }
        }
    }
    if found { Ok(()) } else { Err(fail(None)) }
}
