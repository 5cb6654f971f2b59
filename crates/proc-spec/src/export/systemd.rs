//! Units of systemd.

use std::ffi::OsStr;
use std::path::Path;

use proc_policy::{ExitMatch, Mode};
use proc_probe::ProbeKind;

use super::{ExportLoss, Exported, losses};
use crate::names::instance_name;
use crate::raw::Need;
use crate::spec::{Project, ServiceSpec};
use crate::systemd::{self, account, quote, span, stop, surroundings};

const KEPT: [&str; 28] = [
    "instances",
    "description",
    "env",
    "user",
    "group",
    "groups",
    "umask",
    "nice",
    "io_priority",
    "cpu_affinity",
    "oom_score_adj",
    "limits",
    "cgroup",
    "no_new_privs",
    "needs",
    "after",
    "start_timeout",
    "stop",
    "reload_signal",
    "restart.mode",
    "restart.initial_delay",
    "restart.max_delay",
    "restart.success_codes",
    "restart.no_restart_on",
    "watchdog",
    "oneshot",
    "pid_file",
    "detached",
];

pub(crate) fn export(project: &Project, user: Option<&str>) -> Exported {
    let mut files = Vec::new();
    let mut lost = Vec::new();
    let target = format!("{}.target", project.name);
    let mut wanted = Vec::new();
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
        for index in 1..=service.instances {
            let name = unit(project, service, index);
            let spec = service.for_instance(&project.name, index);
            files.push((name.clone(), text(project, &spec, user, &target)));
            if service.autostart {
                wanted.push(name);
            }
        }
        let notify = service
            .ready
            .as_ref()
            .is_some_and(|probe| probe.kind == ProbeKind::Notify);
        let found = losses(service, &KEPT, "systemd has no such setting");
        lost.extend(
            found
                .into_iter()
                .filter(|loss| !(notify && loss.key.starts_with("ready"))),
        );
    }
    let target_text = format!(
        "[Unit]\nDescription={}\nWants={}\n\n[Install]\nWantedBy={}\n",
        percent(&project.name),
        wanted.join(" "),
        if user.is_some() || wants_root(project) {
            "multi-user.target"
        } else {
            "default.target"
        },
    );
    files.push((target, target_text));
    Exported {
        files,
        losses: lost,
    }
}

/// Services with users of their own are the system manager's.
fn wants_root(project: &Project) -> bool {
    project
        .services
        .iter()
        .any(|service| service.attributes.user.is_some())
}

fn unit(project: &Project, service: &ServiceSpec, index: u32) -> String {
    format!(
        "{}-{}.service",
        project.name,
        instance_name(&service.name, index, service.instances)
    )
}

fn units<'a>(project: &'a Project, name: &str) -> impl Iterator<Item = String> + 'a {
    let service = project.service(name);
    service.into_iter().flat_map(move |service| {
        (1..=service.instances).map(move |index| unit(project, service, index))
    })
}

fn text(project: &Project, service: &ServiceSpec, user: Option<&str>, target: &str) -> String {
    let mut out = String::from("[Unit]\n");
    let mut line = |key: &str, value: &str| out.push_str(&format!("{key}={value}\n"));
    let fallback = format!("{} of {}", service.name, project.name);
    line(
        "Description",
        &percent(service.description.as_deref().unwrap_or(&fallback)).replace('\n', " "),
    );
    line("PartOf", target);
    for (name, need) in &service.needs {
        let others: Vec<String> = units(project, name).collect();
        // The end of a oneshot is its start to systemd; elsewhere `ended` is an order.
        let key = if *need == Need::Ended {
            "Wants"
        } else {
            "Requires"
        };
        line(key, &others.join(" "));
        line("After", &others.join(" "));
    }
    for name in &service.after {
        line("After", &units(project, name).collect::<Vec<_>>().join(" "));
    }
    out.push_str("\n[Service]\n");
    service_lines(service, user, &mut |key, value| {
        out.push_str(&format!("{key}={value}\n"))
    });
    out.push_str(&format!("\n[Install]\nWantedBy={target}\n"));
    out
}

fn service_lines(service: &ServiceSpec, user: Option<&str>, line: &mut dyn FnMut(&str, &str)) {
    let notify = service
        .ready
        .as_ref()
        .is_some_and(|probe| probe.kind == ProbeKind::Notify);
    line(
        "Type",
        if service.oneshot {
            "oneshot"
        } else if notify {
            "notify"
        } else {
            "exec"
        },
    );
    if notify {
        line("NotifyAccess", "all");
    }
    let argv = service
        .command
        .as_ref()
        .map(|command| command.argv())
        .unwrap_or_default();
    line("ExecStart", &exec(&argv, &service.cwd));
    line(
        "WorkingDirectory",
        &percent(&service.cwd.display().to_string()),
    );
    for (key, value) in service.env.iter() {
        line("Environment", &quote(OsStr::new(&format!("{key}={value}"))));
    }
    if let Some(command) = &service.stop.command {
        line("ExecStop", &exec(&command.argv(), &service.cwd));
    }
    for (key, value) in stop(&service.stop.steps) {
        line(key, &value);
    }
    if service.detached {
        line("KillMode", "process");
    }
    if let Some(signal) = service.reload_signal {
        line(
            "ExecReload",
            &format!("/bin/kill -{} $MAINPID", signal.raw()),
        );
    }
    let timeout = service
        .start_timeout
        .map_or_else(|| "infinity".to_owned(), span);
    line("TimeoutStartSec", &timeout);
    if let Some(time) = service.watchdog {
        line("WatchdogSec", &span(time));
    }
    if let Some(path) = &service.pid_file {
        line("PIDFile", &percent(&path.display().to_string()));
    }
    restart(service, line);
    attributes(service, user, line);
}

fn restart(service: &ServiceSpec, line: &mut dyn FnMut(&str, &str)) {
    let policy = &service.restart;
    let mode = match policy.mode {
        Mode::Never => "no",
        // A oneshot that ended well is not to be run again at once.
        Mode::Always if service.oneshot => "on-failure",
        mode => mode.as_str(),
    };
    line("Restart", mode);
    line("RestartSec", &span(policy.initial_delay));
    let numbers = |codes: &[i32]| {
        codes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    if policy.success_codes != [0] {
        line("SuccessExitStatus", &numbers(&policy.success_codes));
    }
    let prevent: Vec<String> = policy
        .no_restart_on
        .iter()
        .filter_map(|matched| match matched {
            ExitMatch::Code(code) => Some(code.to_string()),
            ExitMatch::Signal(signal) => {
                proc_core::Signal::from_raw(*signal).map(|signal| format!("SIG{signal}"))
            }
            ExitMatch::Oom => None,
        })
        .collect();
    if !prevent.is_empty() {
        line("RestartPreventExitStatus", &prevent.join(" "));
    }
}

fn attributes(service: &ServiceSpec, user: Option<&str>, line: &mut dyn FnMut(&str, &str)) {
    let mut attributes = service.attributes.clone();
    attributes.user = attributes.user.or_else(|| user.map(str::to_owned));
    for (key, value) in account(&attributes)
        .iter()
        .chain(&surroundings(&attributes))
    {
        line(key, value);
    }
}

/// A command line: each word quoted, specifiers and variables off. A program with a slash must be absolute.
fn exec(argv: &[String], cwd: &Path) -> String {
    let words = argv.iter().enumerate().map(|(at, word)| {
        let word = match at == 0 && word.contains('/') && !word.starts_with('/') {
            true => cwd
                .join(word)
                .components()
                .collect::<std::path::PathBuf>()
                .display()
                .to_string(),
            false => word.clone(),
        };
        let plain = !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/._-=:,@+".contains(&b));
        // The first word may not begin with one of the prefixes.
        if plain && (at > 0 || !word.starts_with(['-', '@', ':', '+', '!', '|'])) {
            return word;
        }
        systemd::word(OsStr::new(&word))
    });
    words.collect::<Vec<_>>().join(" ")
}

fn percent(text: &str) -> String {
    text.replace('%', "%%")
}
