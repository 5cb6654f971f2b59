//! `supervisord.conf`.

use proc_policy::Mode;

use super::{ExportLoss, Exported, losses, quoted};
use crate::command::join;
use crate::spec::{Project, ServiceSpec};

const KEPT: [&str; 19] = [
    "instances",
    "priority",
    "autostart",
    "restart.mode",
    "restart.startup_max",
    "restart.startup_grace",
    "restart.success_codes",
    "start_seconds",
    "stop.steps",
    "stop.grace",
    "env",
    "user",
    "umask",
    "log.merge",
    "log.max_size",
    "log.keep",
    "log.dir",
    "description",
    "cwd",
];

pub(crate) fn export(project: &Project, user: Option<&str>) -> Exported {
    let mut text = String::new();
    let mut lost = Vec::new();
    for service in &project.services {
        if service.command.is_none() {
            let why = "left out: it has no command".to_owned();
            lost.push(ExportLoss {
                service: service.name.clone(),
                key: "command".to_owned(),
                why,
            });
            continue;
        }
        program(service, user, &mut text);
        lost.extend(losses(service, &KEPT, "supervisord has no such key"));
    }
    for (name, group) in &project.groups {
        text.push_str(&format!(
            "[group:{name}]\nprograms={}\n\n",
            group.members.join(",")
        ));
    }
    Exported {
        files: vec![(format!("{}.conf", project.name), text)],
        losses: lost,
    }
}

fn program(service: &ServiceSpec, user: Option<&str>, text: &mut String) {
    text.push_str(&format!("[program:{}]\n", service.name));
    let mut line = |key: &str, value: String| text.push_str(&format!("{key}={value}\n"));
    let percent = |text: &str| text.replace('%', "%%").replace('\n', "\\n");
    let instance = |text: String| {
        text.replace("${PROC_INSTANCE}", "%(process_num)d")
            .replace("${PROC_SERVICE}", &service.name)
    };
    let argv = service
        .command
        .as_ref()
        .map(|command| command.argv())
        .unwrap_or_default();
    line("command", instance(percent(&join(&argv))));
    line("directory", percent(&service.cwd.display().to_string()));
    if service.instances != 1 {
        line("numprocs", service.instances.to_string());
        line("numprocs_start", "1".to_owned());
        line(
            "process_name",
            "%(program_name)s-%(process_num)d".to_owned(),
        );
    }
    if service.priority != 0 {
        line("priority", service.priority.to_string());
    }
    line("autostart", service.autostart.to_string());
    let autorestart = match service.restart.mode {
        Mode::Always => "true",
        Mode::Never => "false",
        _ => "unexpected",
    };
    line("autorestart", autorestart.to_owned());
    line("startsecs", service.start_seconds.as_secs().to_string());
    if let Some(retries) = service.restart.startup_max {
        line("startretries", retries.to_string());
    }
    let codes: Vec<String> = service
        .restart
        .success_codes
        .iter()
        .map(ToString::to_string)
        .collect();
    line("exitcodes", codes.join(","));
    if let Some(step) = service.stop.steps.steps.first() {
        line("stopsignal", step.signal.name());
        line(
            "stopwaitsecs",
            step.wait.map_or(10, |wait| wait.as_secs()).to_string(),
        );
    }
    line("stopasgroup", "true".to_owned());
    line("killasgroup", "true".to_owned());
    if let Some(user) = service.attributes.user.as_deref().or(user) {
        line("user", user.to_owned());
    }
    if let Some(umask) = service.attributes.umask {
        line("umask", format!("{umask:03o}"));
    }
    if !service.env.is_empty() {
        let pairs = service
            .env
            .iter()
            .map(|(key, value)| format!("{key}={}", quoted(&percent(value))));
        line("environment", instance(pairs.collect::<Vec<_>>().join(",")));
    }
    line("redirect_stderr", service.log.merge.to_string());
    if let Some(dir) = &service.log.dir {
        line(
            "stdout_logfile",
            format!("{}/{}.log", dir.display(), service.name),
        );
    }
    line(
        "stdout_logfile_maxbytes",
        service.log.max_size.unwrap_or(0).to_string(),
    );
    line(
        "stdout_logfile_backups",
        service.log.keep.unwrap_or(10).to_string(),
    );
    text.push('\n');
}
