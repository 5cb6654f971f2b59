//! Where the output of each configured instance lies.

use std::path::{Path, PathBuf};

use proc_output::read::{LogReader, Query};
use proc_spec::{Project, instance_name};

use crate::context::Place;

/// The logs of one instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) instance: String,
    /// The service as the configuration names it; else the instance without its number.
    pub(crate) service: String,
    pub(crate) dir: PathBuf,
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
            Source {
                instance: instance_name(&service.name, index, service.instances),
                service: service.name.clone(),
                dir: instance.log.dir.unwrap_or_else(|| usual_dir(place)),
            }
        };
        (1..=service.instances).map(logs).collect::<Vec<_>>()
    };
    project.services.iter().flat_map(of_service).collect()
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
        .map(|entry| String::from_utf8_lossy(entry.text()).into_owned())
        .collect()
}
