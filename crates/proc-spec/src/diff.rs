//! What a changed configuration means for what runs: `proc plan`.

use serde::Serialize;
use serde_json::Value;

use crate::spec::{Project, ServiceSpec};

/// What happens to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It runs on as it is; what changed matters to the supervisor only.
    Keep,
    /// It gets its reload signal: only files that it reads itself have changed.
    Signal,
    /// It is stopped and started.
    Restart,
    /// It is new.
    Start,
    /// It is gone from the configuration.
    Stop,
}

/// What happens to one service, and why. Values are left out: they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The service.
    pub service: String,
    /// What happens.
    pub action: Action,
    /// The fields that differ: `env.A`, `argv`, `restart.max_delay`.
    pub changed: Vec<String>,
}

/// Fields that only the supervisor reads: a running process need not know that they changed.
const SUPERVISOR_ONLY: [&str; 30] = [
    "description",
    "autostart",
    "priority",
    "needs",
    "after",
    "on_restart",
    "start_seconds",
    "start_timeout",
    "stop",
    "reload_signal",
    "restart",
    "ready",
    "alive",
    "startup",
    "detectors",
    "watch",
    "schedule",
    "overlap",
    "oneshot",
    "max_memory",
    "max_age",
    "exit_project",
    "hooks",
    "deploy",
    "sudo",
    "log.ring",
    "log.multiline",
    "die_with_supervisor",
    "detached",
    "instances",
];

/// Compares two projects; empty means that there is nothing to do.
///
/// New services come first, then changed ones in the new order, then those that are gone.
#[must_use]
pub fn diff(old: &Project, new: &Project) -> Vec<Change> {
    let mut changes = Vec::new();
    for service in &new.services {
        match old.service(&service.name) {
            None => changes.push(Change {
                service: service.name.clone(),
                action: Action::Start,
                changed: Vec::new(),
            }),
            Some(before) => changes.extend(diff_service(before, service)),
        }
    }
    for service in &old.services {
        if new.service(&service.name).is_none() {
            changes.push(Change {
                service: service.name.clone(),
                action: Action::Stop,
                changed: Vec::new(),
            });
        }
    }
    changes.sort_by_key(|change| match change.action {
        Action::Start => 0,
        Action::Stop => 2,
        _ => 1,
    });
    changes
}

/// Compares a service with what it was; `None` means that it is the same.
#[must_use]
pub fn diff_service(old: &ServiceSpec, new: &ServiceSpec) -> Option<Change> {
    if old == new {
        return None;
    }
    let mut changed = Vec::new();
    // Specs are plain data with text keys, which always serialise.
    let values = (serde_json::to_value(old), serde_json::to_value(new));
    let (Ok(before), Ok(after)) = values else {
        return None;
    };
    walk("", &before, &after, &mut changed);
    if old.command != new.command {
        changed.retain(|path| !path.starts_with("command"));
        changed.insert(0, command_key(new).to_owned());
    }
    let action = action(&changed, old, new);
    Some(Change {
        service: new.name.clone(),
        action,
        changed,
    })
}

fn command_key(service: &ServiceSpec) -> &'static str {
    use crate::command::Command::{Argv, Script, Shell};
    match service.command {
        Some(Argv(_)) => "argv",
        Some(Script(_)) => "script",
        Some(Shell(_)) | None => "command",
    }
}

fn action(changed: &[String], old: &ServiceSpec, new: &ServiceSpec) -> Action {
    let own = |path: &String| path.starts_with("config_files");
    // One instance is named as the service, several are numbered: the name of what runs would change.
    let renamed = old.instances != new.instances && (old.instances == 1 || new.instances == 1);
    let quiet = |path: &String| SUPERVISOR_ONLY.iter().any(|field| is_under(path, field));
    // A socket of readiness or a watchdog is part of what the process was given.
    let told = |service: &ServiceSpec| (service.notifies(), service.watchdog);
    if renamed || told(old) != told(new) || !changed.iter().all(|path| quiet(path) || own(path)) {
        return Action::Restart;
    }
    match changed.iter().any(own) {
        true if new.reload_signal.is_some() => Action::Signal,
        true => Action::Restart,
        false => Action::Keep,
    }
}

fn is_under(path: &str, field: &str) -> bool {
    path.strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Collects the paths of what differs; lists count as one value.
fn walk(path: &str, before: &Value, after: &Value, changed: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        changed.push(path.to_owned());
        return;
    };
    let is_map = |path: &str| matches!(path, "env" | "needs" | "slurm" | "config_files");
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let is_duration =
        before.len() == 2 && before.contains_key("secs") && before.contains_key("nanos");
    // `{"http": …}` became `{"tcp": …}`: that is one change.
    if is_duration || !path.is_empty() && !is_map(path) && !before.keys().eq(after.keys()) {
        changed.push(path.to_owned());
        return;
    }
    for key in keys {
        let inner = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let null = Value::Null;
        // The attributes are keys of the service itself.
        let inner = inner
            .strip_prefix("attributes.")
            .map_or(inner.clone(), str::to_owned);
        walk(
            &inner,
            before.get(key).unwrap_or(&null),
            after.get(key).unwrap_or(&null),
            changed,
        );
    }
}
