//! Jobs of launchd: one property list for each instance.

use proc_policy::Mode;

use super::{ExportLoss, Exported, losses};
use crate::launchd::{KeepAlive, LaunchdJob, exit_seconds, impossible};
use crate::names::instance_name;
use crate::spec::{Project, ServiceSpec};

const KEPT: [&str; 15] = [
    "instances",
    "description",
    "env",
    "user",
    "group",
    "umask",
    "nice",
    "limits",
    "cgroup",
    "stop",
    "restart.mode",
    "detached",
    "oneshot",
    "autostart",
    "label",
];

pub(crate) fn export(project: &Project, user: Option<&str>) -> Exported {
    let mut exported = Exported {
        files: Vec::new(),
        losses: Vec::new(),
    };
    for service in &project.services {
        let mut lose = |key: &str, why: &str| {
            exported.losses.push(ExportLoss {
                service: service.name.clone(),
                key: key.to_owned(),
                why: why.to_owned(),
            });
        };
        if service.command.is_none() {
            lose("command", "left out: it has no command");
            continue;
        }
        let limits = impossible(&service.attributes).into_iter();
        for key in limits.filter(|key| key.starts_with("limits")) {
            lose(&key, "launchd has no such setting");
        }
        for index in 1..=service.instances {
            let spec = service.for_instance(&project.name, index);
            let job = job(project, &spec, index, user);
            match job.to_plist(None) {
                Ok(text) => exported.files.push((format!("{}.plist", job.label), text)),
                Err(error) => lose(&error.field, "left out: it holds a control character"),
            }
        }
        exported
            .losses
            .extend(losses(service, &KEPT, "launchd has no such setting"));
    }
    exported
        .losses
        .dedup_by(|a, b| a.service == b.service && a.key == b.key);
    exported
}

fn job(project: &Project, service: &ServiceSpec, index: u32, user: Option<&str>) -> LaunchdJob {
    let instance = instance_name(&service.name, index, service.instances);
    let label = service.label.clone();
    let mut arguments = service
        .command
        .as_ref()
        .map(|command| command.argv())
        .unwrap_or_default();
    if let Some(first) = arguments.first_mut()
        && first.contains('/')
        && !first.starts_with('/')
    {
        let path = service.cwd.join(&*first);
        let path: std::path::PathBuf = path.components().collect();
        *first = path.display().to_string();
    }
    let mut attributes = service.attributes.clone();
    attributes.user = attributes.user.or_else(|| user.map(str::to_owned));
    let log = |stream: &str| {
        let dir = service.log.dir.clone()?;
        Some(
            dir.join(format!("{instance}.{stream}.log"))
                .display()
                .to_string(),
        )
    };
    LaunchdJob {
        label: label.unwrap_or_else(|| format!("{}.{instance}", project.name)),
        arguments,
        cwd: Some(service.cwd.display().to_string()),
        env: service
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        stdout: log("stdout"),
        stderr: log("stderr"),
        run_at_load: service.autostart,
        keep_alive: match service.restart.mode {
            Mode::Never => KeepAlive::Never,
            // A job that is meant to end is not to be run again at once.
            Mode::Always if !service.oneshot => KeepAlive::Always,
            _ => KeepAlive::OnFailure,
        },
        exit_seconds: exit_seconds(&service.stop.steps),
        abandon_group: service.detached,
        attributes,
        ..LaunchdJob::default()
    }
}
