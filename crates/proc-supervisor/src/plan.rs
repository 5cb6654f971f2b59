//! What a changed configuration would do, by comparing resolved specs field by field.

use std::collections::BTreeMap;

use proc_spec::ServiceSpec;
use serde_json::Value;

use crate::view::{PlanAction, PlanEntry};

/// The resolved spec of a service as it is recorded and compared.
pub(crate) type Image = Value;

/// The fields that take effect without touching the process: the supervisor itself goes by them.
const OURS: [&str; 24] = [
    "description",
    "autostart",
    "priority",
    "instances",
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
    "max_age",
    "max_memory",
    "exit_project",
    "hooks",
    "deploy",
];

/// Returns a service's image.
pub(crate) fn image(spec: &ServiceSpec) -> Image {
    // A spec is maps with text keys, text and numbers all the way down.
    serde_json::to_value(spec).unwrap_or(Value::Null)
}

/// Compares two configurations. Services that are the same are left out.
pub(crate) fn plan(old: &BTreeMap<String, Image>, new: &[ServiceSpec]) -> Vec<PlanEntry> {
    let mut entries = Vec::new();
    for spec in new {
        let Some(before) = old.get(&spec.name) else {
            entries.push(entry(&spec.name, PlanAction::Start, Vec::new()));
            continue;
        };
        let changed = changed_fields(before, &image(spec));
        if !changed.is_empty() {
            entries.push(entry(&spec.name, action(&changed, spec), changed));
        }
    }
    for name in old
        .keys()
        .filter(|name| !new.iter().any(|spec| spec.name == **name))
    {
        entries.push(entry(name, PlanAction::Stop, Vec::new()));
    }
    entries
}

fn entry(service: &str, action: PlanAction, changed: Vec<String>) -> PlanEntry {
    PlanEntry {
        service: service.to_owned(),
        action,
        changed,
    }
}

/// Returns what a change of these fields takes.
fn action(changed: &[String], spec: &ServiceSpec) -> PlanAction {
    let field = |path: &String| path.split('.').next().unwrap_or_default().to_owned();
    let ours = |path: &&String| OURS.contains(&field(path).as_str());
    let rest: Vec<&String> = changed.iter().filter(|path| !ours(path)).collect();
    if rest.is_empty() {
        PlanAction::Keep
    } else if spec.reload_signal.is_some() && rest.iter().all(|path| field(path) == "config_files")
    {
        PlanAction::Signal
    } else {
        PlanAction::Restart
    }
}

/// Returns the paths at which two images differ, `env.A` or `argv`, sorted.
fn changed_fields(old: &Image, new: &Image) -> Vec<String> {
    let mut changed = Vec::new();
    compare("", old, new, &mut changed);
    changed
}

fn compare(path: &str, old: &Value, new: &Value, changed: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if path.matches('.').count() < 2 => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let before = old.get(key).unwrap_or(&Value::Null);
                let after = new.get(key).unwrap_or(&Value::Null);
                compare(&join(path, key), before, after, changed);
            }
        }
        _ if old == new => {}
        _ => changed.push(if path.is_empty() {
            "spec".to_owned()
        } else {
            path.to_owned()
        }),
    }
}

/// `command = { argv = … }` in the spec is `argv` to whoever wrote the configuration.
fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        ("command", key) => key.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_name_the_changed_fields() {
        let old = json!({"env": {"A": "1", "B": "2"}, "command": {"argv": ["a"]}, "nice": 1});
        let new = json!({"env": {"A": "2", "C": "2"}, "command": {"argv": ["b"]}, "nice": 1});
        assert_eq!(
            changed_fields(&old, &new),
            ["argv", "env.A", "env.B", "env.C"]
        );
        assert!(changed_fields(&old, &old).is_empty());
    }
}
