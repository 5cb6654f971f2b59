//! NAME arguments against a project's state: services, instances, globs and `@group`s.

use globset::Glob;
use proc_supervisor::{InstanceStatus, ProjectStatus, ServiceStatus};

use crate::context::Context;
use crate::error::CliError;
use crate::exit;

/// Keeps only what the names mean; no names keep everything.
///
/// # Errors
///
/// Code 4 for a name that means nothing.
pub(crate) fn only(
    context: &Context,
    mut status: ProjectStatus,
    names: &[String],
) -> Result<ProjectStatus, CliError> {
    if names.is_empty() {
        return Ok(status);
    }
    let names = without_groups(context, names)?;
    for name in &names {
        if !status
            .services
            .iter()
            .any(|service| matches_any(service, name))
        {
            return Err(unknown(name));
        }
    }
    status.services.retain_mut(|service| {
        if names.iter().any(|name| matches(name, &service.name)) {
            return true;
        }
        let wanted = |i: &InstanceStatus| names.iter().any(|name| matches(name, &i.name));
        service.instances.retain(wanted);
        !service.instances.is_empty()
    });
    Ok(status)
}

/// Returns the services, and the instances, that the names mean by themselves, each once.
///
/// # Errors
///
/// Code 4 for a name that means nothing.
pub(crate) fn meant(
    context: &Context,
    status: &ProjectStatus,
    names: &[String],
) -> Result<Vec<String>, CliError> {
    let mut meant = Vec::new();
    for name in without_groups(context, names)? {
        let services = status.services.iter();
        let found: Vec<_> = services
            .flat_map(|service| meant_of(service, &name))
            .collect();
        if found.is_empty() {
            return Err(unknown(&name));
        }
        meant.extend(found);
    }
    let mut seen = std::collections::BTreeSet::new();
    meant.retain(|name| seen.insert(name.clone()));
    Ok(meant)
}

/// Returns the service itself if it is meant, else the instances of it that are.
fn meant_of(service: &ServiceStatus, name: &str) -> Vec<String> {
    if matches(name, &service.name) {
        return vec![service.name.clone()];
    }
    let instances = service.instances.iter().map(|instance| &instance.name);
    instances
        .filter(|own| matches(name, own))
        .cloned()
        .collect()
}

/// Returns the failure for a name that means nothing.
pub(crate) fn unknown(name: &str) -> CliError {
    CliError::new(exit::UNKNOWN, format!("no service `{name}`")).hint("proc status")
}

fn matches_any(service: &ServiceStatus, name: &str) -> bool {
    matches(name, &service.name) || service.instances.iter().any(|i| matches(name, &i.name))
}

/// Returns whether `name`, plain or a glob, means `candidate`.
pub(crate) fn matches(name: &str, candidate: &str) -> bool {
    if name == candidate {
        return true;
    }
    let is_glob = name.contains(['*', '?', '[', '{']);
    is_glob && Glob::new(name).is_ok_and(|glob| glob.compile_matcher().is_match(candidate))
}

/// Replaces every `@group` by its members, as the configuration names them.
pub(crate) fn without_groups(context: &Context, names: &[String]) -> Result<Vec<String>, CliError> {
    let mut plain = Vec::new();
    for name in names {
        match name.strip_prefix('@') {
            None => plain.push(name.clone()),
            Some(group) => {
                let project = context.load()?;
                let group = project.groups.get(group).ok_or_else(|| {
                    CliError::new(exit::UNKNOWN, format!("no group `{name}`")).hint("proc check")
                })?;
                plain.extend(group.members.iter().cloned());
            }
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_are_plain_or_globs() {
        let cases = [
            ("web", "web", true),
            ("web", "web-1", false),
            ("web-*", "web-1", true),
            ("web-?", "web-12", false),
            ("{web,db}", "db", true),
            ("*", "anything", true),
            ("web-[12]", "web-3", false),
        ];
        for (name, candidate, expected) in cases {
            assert_eq!(matches(name, candidate), expected, "{name} {candidate}");
        }
    }
}
