//! What a changed configuration means for what runs: `proc plan`.
//!
//! What runs is known by its *image*, the resolved spec as JSON: it outlives the supervisor that started it, and the program
//! that compares may be newer than the one that wrote it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::ServiceSpec;

/// What happens to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The service.
    pub service: String,
    /// What happens.
    pub action: Action,
    /// The fields that differ: `env.A`, `argv`, `restart.max_delay`.
    pub changed: Vec<String>,
}

/// Fields that only the supervisor reads: a running process need not know that they changed. Instances are added and taken
/// away; those that stay keep their names.
const SUPERVISOR_ONLY: [&str; 28] = [
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
    "oneshot",
    "max_memory",
    "max_age",
    "exit_project",
    "hooks",
    "deploy",
    "sudo",
    "log.ring",
    "log.multiline",
];

/// Compares what runs, by name, with what is wanted; empty means that there is nothing to do.
///
/// New services come first, then changed ones in the new order, then those that are gone.
#[must_use]
pub fn diff(old: &BTreeMap<String, Value>, new: &[ServiceSpec]) -> Vec<Change> {
    let whole = |service: &str, action| Change {
        service: service.to_owned(),
        action,
        changed: Vec::new(),
    };
    let mut changes = Vec::new();
    for service in new {
        match old.get(&service.name) {
            None => changes.push(whole(&service.name, Action::Start)),
            Some(before) => changes.extend(diff_service(before, service)),
        }
    }
    let wanted = |name: &String| new.iter().any(|service| service.name == *name);
    let gone = old.keys().filter(|name| !wanted(name));
    changes.extend(gone.map(|name| whole(name, Action::Stop)));
    changes.sort_by_key(|change| match change.action {
        Action::Start => 0,
        Action::Stop => 2,
        _ => 1,
    });
    changes
}

/// Compares a service with what it was; `None` means that it is the same.
#[must_use]
pub fn diff_service(old: &Value, new: &ServiceSpec) -> Option<Change> {
    let image = new.image();
    let plain = ServiceSpec::plain(&new.name, None, &new.cwd).image();
    let old = &as_known_now("", old, &plain);
    let mut changed = Vec::new();
    walk("", old, &image, &mut changed);
    if changed.is_empty() {
        return None;
    }
    if old.get("command") != image.get("command") {
        changed.retain(|path| !path.starts_with("command"));
        changed.insert(0, command_key(new).to_owned());
    }
    Some(Change {
        service: new.name.clone(),
        action: action(&changed, (old, &image), new),
        changed,
    })
}

impl ServiceSpec {
    /// Returns the spec as it is recorded and compared.
    #[must_use]
    pub fn image(&self) -> Value {
        serde_json::to_value(self).expect("a spec is plain data with text keys")
    }
}

fn command_key(service: &ServiceSpec) -> &'static str {
    use crate::command::Command::{Argv, Script, Shell};
    match service.command {
        Some(Argv(_)) => "argv",
        Some(Script(_)) => "script",
        Some(Shell(_)) | None => "command",
    }
}

fn action(changed: &[String], (old, image): (&Value, &Value), new: &ServiceSpec) -> Action {
    let own = |path: &String| path.starts_with("config_files");
    let quiet = |path: &String| SUPERVISOR_ONLY.iter().any(|field| is_under(path, field));
    if told(old) != told(image) || !changed.iter().all(|path| quiet(path) || own(path)) {
        return Action::Restart;
    }
    match changed.iter().any(own) {
        true if new.reload_signal.is_some() => Action::Signal,
        true => Action::Restart,
        false => Action::Keep,
    }
}

/// What the process was given for readiness: a socket, a descriptor, a watchdog.
fn told(image: &Value) -> [&Value; 3] {
    let probe = |role: &str| {
        let kind = &image[role]["kind"];
        let given = kind == "notify" || kind.get("notify_fd").is_some();
        if given { kind } else { &Value::Null }
    };
    [&image["watchdog"], probe("ready"), probe("startup")]
}

/// Returns an image as this program would have written it: a field that its writer did not know is as if never set, and one
/// that we do not know is left out. So another version of the program restarts nothing.
fn as_known_now(path: &str, old: &Value, plain: &Value) -> Value {
    let (Value::Object(old), Value::Object(plain)) = (old, plain) else {
        return old.clone();
    };
    if is_map(path) {
        return Value::Object(old.clone());
    }
    let field = |(key, plain): (&String, &Value)| {
        let known = old.get(key).map(|old| as_known_now(key, old, plain));
        (key.clone(), known.unwrap_or_else(|| plain.clone()))
    };
    Value::Object(plain.iter().map(field).collect())
}

/// Says whether the keys at a path are the user's own.
fn is_map(path: &str) -> bool {
    matches!(path, "env" | "needs" | "slurm" | "config_files")
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
