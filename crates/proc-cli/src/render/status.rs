//! The table of `proc status`.

use proc_supervisor::{InstanceStatus, LastExit, ProjectStatus, ServiceStatus, State};

use super::{Table, age, duration_ms, state_style, until};

const STATE_COLUMN: usize = 1;

/// Returns the lines that describe a project.
pub(crate) fn status_lines(status: &ProjectStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if status.supervisor.is_none() {
        lines.push("no supervisor is running; this is what the records say".to_owned());
    }
    lines.extend(
        status
            .degraded
            .iter()
            .map(|what| format!("degraded: {}", super::escape(what))),
    );
    let mut table = Table::new(&[
        "name", "state", "ready", "pid", "uptime", "restarts", "reason",
    ]);
    for service in &status.services {
        add(&mut table, service);
    }
    lines.extend(table.lines(STATE_COLUMN, state_style));
    lines
}

fn add(table: &mut Table, service: &ServiceStatus) {
    if service.instances.is_empty() {
        let state = service.state.as_str();
        table.row([&service.name, state, "-", "-", "-", "-", &service.reason]);
    }
    for instance in &service.instances {
        table.row([
            instance.name.clone(),
            instance.state.to_string(),
            if instance.ready { "yes" } else { "no" }.to_owned(),
            instance.pid.map_or_else(dash, |pid| pid.to_string()),
            uptime(instance),
            instance.restarts.to_string(),
            reason(instance),
        ]);
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn uptime(instance: &InstanceStatus) -> String {
    instance.uptime_ms.map_or_else(dash, duration_ms)
}

/// Says why an instance is in its state: its own reason, its words, its next start, its last end.
fn reason(instance: &InstanceStatus) -> String {
    let mut parts = Vec::new();
    if !instance.reason.is_empty() {
        parts.push(instance.reason.clone());
    }
    if let Some(last) = &instance.last_exit
        && instance.reason.is_empty()
        && !matches!(instance.state, State::Running | State::Stopped)
    {
        parts.push(end(last));
    }
    if let Some(at) = instance.retry_at {
        parts.push(format!("next start in {}", until(&at.to_string())));
    }
    parts.extend(instance.status_text.clone());
    if !instance.listen.is_empty() {
        parts.push(instance.listen.join(" "));
    }
    if let Some(dropped) = instance.log_dropped_bytes.filter(|bytes| *bytes > 0) {
        parts.push(format!("{} of log dropped", super::size(dropped)));
    }
    parts.join("; ")
}

/// Says how a run ended: `exit 3`, `signal 9 (KILL), out of memory`.
pub(crate) fn end(last: &LastExit) -> String {
    let mut text = match (last.code, last.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => match &last.signal_name {
            Some(name) => format!("signal {signal} ({name})"),
            None => format!("signal {signal}"),
        },
        (None, None) => "ended, nobody saw how".to_owned(),
    };
    if last.core_dumped {
        text.push_str(", core dumped");
    }
    if last.oom {
        text.push_str(", out of memory");
    }
    match age(&last.at.to_string()) {
        Some(ago) => format!("{text} after {}, {ago} ago", duration_ms(last.runtime_ms)),
        None => text,
    }
}
