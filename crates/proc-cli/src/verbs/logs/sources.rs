//! Which instances' logs are meant, and where they lie.

use std::collections::BTreeSet;
use std::path::Path;

use proc_output::read::LogReader;
use proc_spec::{Project, ServiceSpec};

use crate::context::{Context, Place};
use crate::error::CliError;
use crate::exit;
use crate::select;
use crate::sources::{self, Source};

/// Returns the log of an instance that came later, if the names mean it.
pub(crate) fn newcomer(
    context: &Context,
    place: &Place,
    names: &[String],
    dir: &Path,
    instance: &str,
) -> Option<Source> {
    let all = select(context, place, names).ok()?;
    all.into_iter()
        .find(|source| source.dir == dir && source.instance == instance)
}

/// Returns the logs that the names mean; no names mean all.
///
/// # Errors
///
/// Code 4 for a name that means nothing, and for a project that was never there.
pub(crate) fn select(
    context: &Context,
    place: &Place,
    names: &[String],
) -> Result<Vec<Source>, CliError> {
    let project = context.load().ok();
    let known = known(place, project.as_ref());
    if known.is_empty() && !place.exists() && project.is_none() {
        let message = format!("no project `{}`", place.project);
        return Err(CliError::new(exit::UNKNOWN, message).hint("proc up -d"));
    }
    if names.is_empty() {
        return Ok(known.into_iter().collect());
    }
    let names = select::without_groups(context, names)?;
    for name in &names {
        if !known.iter().any(|source| is_named(source, name)) {
            return Err(select::unknown(name));
        }
    }
    Ok(known
        .into_iter()
        .filter(|s| names.iter().any(|name| is_named(s, name)))
        .collect())
}

/// Returns a reader of all sources.
pub(crate) fn reader(sources: &[Source]) -> Result<LogReader, CliError> {
    let mut reader = LogReader::new();
    for source in sources {
        match reader.add(&source.dir, &source.instance) {
            // Nothing was ever written there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            added => added.map_err(|error| {
                let dir = source.dir.display();
                CliError::new(
                    exit::FAILED,
                    format!("cannot open the logs in `{dir}`: {error}"),
                )
            })?,
        }
    }
    Ok(reader)
}

fn is_named(source: &Source, name: &str) -> bool {
    select::matches(name, &source.instance)
        || select::matches(name, &source.shown)
        || select::matches(name, &source.service)
}

/// Returns every instance that has logs or will have some: those on disk and those configured.
fn known(place: &Place, project: Option<&Project>) -> BTreeSet<Source> {
    let usual = sources::usual_dir(place);
    let services = project.map_or(&[][..], |project| &project.services);
    let configured = project.map_or_else(Vec::new, |project| sources::configured(project, place));
    let mut dirs: BTreeSet<_> = configured.iter().map(|source| source.dir.clone()).collect();
    dirs.insert(usual.clone());
    let mut found: BTreeSet<_> = dirs
        .iter()
        .flat_map(|dir| on_disk(dir, services, dir == &usual))
        .collect();
    found.extend(configured);
    // One that was the only one keeps its log's name when it becomes one of several.
    let names = proc_supervisor::offline::log_names(&place.dirs.state);
    let renamed = |mut source: Source| {
        if let Some(shown) = names.get(&source.instance) {
            source.shown.clone_from(shown);
        }
        source
    };
    let mut seen = BTreeSet::new();
    let all = found.into_iter().map(renamed);
    all.filter(|source| seen.insert((source.dir.clone(), source.instance.clone())))
        .collect()
}

/// Returns the instances with files in `dir`; in a directory of the user's own only those that
/// belong to a service.
fn on_disk(dir: &Path, services: &[ServiceSpec], ours: bool) -> Vec<Source> {
    let instances = LogReader::instances(dir).unwrap_or_default();
    instances
        .into_iter()
        .filter_map(|instance| {
            let plain = sources::plain(&instance).to_owned();
            let service = service_of(&plain, services);
            let name = match service {
                Some(service) => service.name.clone(),
                None if ours => without_number(&plain).to_owned(),
                None => return None,
            };
            Some(Source {
                shown: plain,
                instance,
                service: name,
                dir: dir.to_owned(),
            })
        })
        .collect()
}

fn service_of<'s>(instance: &str, services: &'s [ServiceSpec]) -> Option<&'s ServiceSpec> {
    let exact = services.iter().find(|service| service.name == instance);
    exact.or_else(|| {
        services
            .iter()
            .find(|service| service.name == without_number(instance))
    })
}

/// Returns the instance's name without its number: `web` for `web-2`.
fn without_number(instance: &str) -> &str {
    match instance.rsplit_once('-') {
        Some((service, number)) if number.bytes().all(|b| b.is_ascii_digit()) => service,
        _ => instance,
    }
}
