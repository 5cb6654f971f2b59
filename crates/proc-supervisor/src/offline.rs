//! What can be said of a project without its supervisor, from the records alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use proc_store::{Read, StateDir, read_since};

use crate::driver::{is_alive, overall};
use crate::record::{AppliedRecord, InstanceRecord, Part, ProjectRecord};
use crate::stamp::Stamp;
use crate::state::{Desired, State};
use crate::view::{Event, ProjectStatus, ServiceStatus, Why};

/// Why the records do not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// There never was a supervisor with this state directory.
    #[error("no project in `{}`", .0.display())]
    NoProject(PathBuf),
    /// The project has no such service.
    #[error("no service `{0}`")]
    NoSuch(String),
    /// The records cannot be read.
    #[error("cannot read the records in `{}`", path.display())]
    Io {
        /// The state directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Returns a project as its records know it; `supervisor` is `null`. Blocks on the disk.
///
/// What was under way when the supervisor went shows as `running` where its leader still lives
/// (checked by identity), else as `stopped`.
///
/// # Errors
/// See [`OfflineError`].
pub fn status(state_dir: &Path) -> Result<ProjectStatus, OfflineError> {
    let fail = |source| OfflineError::Io {
        path: state_dir.to_owned(),
        source,
    };
    let state = StateDir::at(state_dir);
    let mut degraded = Vec::new();
    let project = match state.read::<ProjectRecord>("project").map_err(fail)? {
        Read::Value(project) => project,
        Read::Absent => return Err(OfflineError::NoProject(state_dir.to_owned())),
        Read::SetAside(aside) => {
            degraded.push(aside.to_string());
            return Err(OfflineError::NoProject(state_dir.to_owned()));
        }
    };
    let found = state.read_services::<InstanceRecord>().map_err(fail)?;
    degraded.extend(found.set_aside.iter().map(ToString::to_string));
    let records = found.records;
    let now = Stamp::from(SystemTime::now());
    let services = project
        .order
        .iter()
        .map(|name| service(name, &project, &records, now));
    Ok(ProjectStatus {
        project: project.name.clone(),
        state_dir: state_dir.to_owned(),
        supervisor: None,
        services: services.collect(),
        degraded,
    })
}

fn service(
    name: &str,
    project: &ProjectRecord,
    records: &[(String, InstanceRecord)],
    now: Stamp,
) -> ServiceStatus {
    let record = project.services.get(name);
    let mut instances: Vec<_> = records
        .iter()
        .filter(|(_, record)| record.service == name && record.part == Part::Current)
        .map(|(key, record)| {
            let mut status = record.status(is_alive(record.identity.as_ref()), now);
            status.log_name = Some(key.clone());
            status
        })
        .collect();
    instances.sort_by_key(|instance| instance.index);
    let state = overall(instances.iter().map(|instance| instance.state));
    let wanted = record.map_or(Desired::Down, |record| record.wanted);
    ServiceStatus {
        name: name.to_owned(),
        backend: record
            .map(|record| record.backend.clone())
            .unwrap_or_default(),
        desired: if project.down { Desired::Down } else { wanted },
        state,
        ready: !instances.is_empty() && instances.iter().all(|instance| instance.ready),
        reason: reason(&instances, state),
        instances,
    }
}

fn reason(instances: &[crate::view::InstanceStatus], state: State) -> String {
    let first = instances.iter().find(|instance| instance.state == state);
    first
        .map(|instance| instance.reason.clone())
        .unwrap_or_default()
}

/// Returns the configuration that was last applied, resolved; `None` where there is none that this version understands.
#[must_use]
pub fn applied(state_dir: &Path) -> Option<proc_spec::Project> {
    let read = StateDir::at(state_dir).read::<AppliedRecord>("applied");
    read.ok()?.value().map(|record| record.project)
}

/// Returns the names by which instances are shown, by the names of their logs. A name is shown
/// differently when the number of instances has changed, and after a rolling restart. What cannot
/// be read is left out. Blocks on the disk.
#[must_use]
pub fn log_names(state_dir: &Path) -> BTreeMap<String, String> {
    let found = StateDir::at(state_dir).read_services::<InstanceRecord>();
    let records = found.map(|found| found.records).unwrap_or_default();
    let current = records.into_iter().filter(|(_, r)| r.part == Part::Current);
    current.map(|(key, record)| (key, record.shown)).collect()
}

/// Returns the transitions after number `since`, oldest first. Blocks on the disk.
///
/// # Errors
/// See [`OfflineError`]; a project without a journal has no events.
pub fn events(state_dir: &Path, since: u64) -> Result<Vec<Event>, OfflineError> {
    events_in(&StateDir::at(state_dir).journal(), since).map_err(|source| OfflineError::Io {
        path: state_dir.to_owned(),
        source,
    })
}

/// Returns a service and its last transitions, at most `last` of them. Blocks on the disk.
///
/// # Errors
/// See [`OfflineError`].
pub fn why(state_dir: &Path, name: &str, last: usize) -> Result<Why, OfflineError> {
    let status = status(state_dir)?;
    let named = |service: &&ServiceStatus| {
        service.name == name
            || service
                .instances
                .iter()
                .any(|instance| instance.name == name)
    };
    let found = status.services.iter().find(named).cloned();
    let service = found.ok_or_else(|| OfflineError::NoSuch(name.to_owned()))?;
    let mut all = events(state_dir, 0)?;
    all.retain(|event| {
        event.service.as_deref() == Some(&service.name)
            && (service.name == name || is_of(event, name))
    });
    all.drain(..all.len().saturating_sub(last));
    Ok(Why {
        service,
        events: all,
    })
}

/// Returns whether an event is of the instance shown by `name`, or of one that was to replace it
/// or was replaced by it in a rolling restart.
pub(crate) fn is_of(event: &Event, name: &str) -> bool {
    let instance = event.instance.as_deref().unwrap_or_default();
    let rest = instance.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('~'))
}

/// Returns a journal's events after number `since`. Lines of another format are left out.
pub(crate) fn events_in(journal: &Path, since: u64) -> io::Result<Vec<Event>> {
    let read = match read_since(journal, since) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let events = read
        .entries
        .iter()
        .filter_map(|entry| serde_json::from_str(&entry.text).ok());
    Ok(events.collect())
}

/// Returns a journal's last events, oldest first.
pub(crate) fn last_events(journal: &Path, last: u64) -> io::Result<Vec<Event>> {
    let all = events_in(journal, 0)?;
    let skip = all
        .len()
        .saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
    Ok(all.into_iter().skip(skip).collect())
}
