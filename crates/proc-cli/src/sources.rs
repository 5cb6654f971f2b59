//! Where the output of each configured instance lies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_output::read::{LogReader, Query};
use proc_spec::{Project, instance_name};

use crate::context::Place;

/// The logs of one instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) instance: String,
    /// The name by which `status` shows it, where that may be another one.
    pub(crate) shown: String,
    /// The service as the configuration names it; else the instance without its number.
    pub(crate) service: String,
    pub(crate) dir: PathBuf,
}

/// What tells the second log name of an instance from the first.
const SECOND: &str = "~b";

/// Returns an instance's log name without what tells its two names apart.
pub(crate) fn plain(instance: &str) -> &str {
    instance.split_once('~').map_or(instance, |(name, _)| name)
}

/// Returns the directory of logs for which the configuration names no other.
pub(crate) fn usual_dir(place: &Place) -> PathBuf {
    place.dirs.state.join("log")
}

/// Returns the logs of every instance that the configuration names.
pub(crate) fn configured(project: &Project, place: &Place) -> Vec<Source> {
    let of_service = |service: &proc_spec::ServiceSpec| {
        let logs = |index| {
            let instance = service.for_instance(&project.name, index);
            let name = instance_name(&service.name, index, service.instances);
            let dir = instance.log.dir.unwrap_or_else(|| usual_dir(place));
            // After a rolling restart it writes to the second of its two names.
            [name.clone(), format!("{name}{SECOND}")].map(|instance| Source {
                instance,
                shown: name.clone(),
                service: service.name.clone(),
                dir: dir.clone(),
            })
        };
        (1..=service.instances).flat_map(logs).collect::<Vec<_>>()
    };
    project.services.iter().flat_map(of_service).collect()
}

/// Returns the logs that the configured instances may write to. The first instance of a service
/// keeps the name of its log, with a number or without, when the number of instances changes.
pub(crate) fn writable(project: &Project, place: &Place) -> Vec<Source> {
    let mut sources = configured(project, place);
    let taken: BTreeSet<_> = sources.iter().map(|s| s.instance.clone()).collect();
    let other = |source: &Source| {
        let service = &source.service;
        let (alone, numbered) = (instance_name(service, 1, 1), instance_name(service, 1, 2));
        let other = match &source.shown {
            shown if *shown == alone => numbered,
            shown if *shown == numbered => alone,
            _ => return None,
        };
        let instance = source.instance.replacen(&source.shown, &other, 1);
        (!taken.contains(&instance)).then(|| Source {
            instance,
            ..source.clone()
        })
    };
    let others: Vec<_> = sources.iter().filter_map(other).collect();
    sources.extend(others);
    sources
}

/// Returns the last `n` lines of an instance; none where they cannot be read.
pub(crate) fn last_lines(dir: &Path, instance: &str, n: usize) -> Vec<String> {
    let mut reader = LogReader::new();
    let query = Query {
        tail: Some(n),
        ..Query::default()
    };
    let entries = reader
        .add(dir, instance)
        .and_then(|()| reader.entries(&query));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter(|entry| !entry.is_gap())
        .map(|entry| String::from_utf8_lossy(entry.text()).into_owned())
        .collect()
}
