//! The supervisor as a notify service of systemd.

use std::ffi::OsStr;
use std::fmt::Write as _;

use proc_spec::systemd::{path, quote, word};

use super::{Boot, MARKER, refusal};
use crate::manager::ManagerError;

/// Writes the unit.
///
/// `KillMode=process`: the services are in the unit's cgroup, and a supervisor that is killed must
/// not take them along. A stop ends them through `ExecStop`, which systemd runs for a stop only.
pub(super) fn text(boot: &Boot) -> Result<String, ManagerError> {
    let dir = path(&boot.dir).ok_or_else(|| ManagerError::BadName {
        key: "directory",
        value: boot.dir.display().to_string().escape_debug().to_string(),
        reason: "a unit file cannot hold it",
    })?;
    let mut text = format!("# {MARKER}; `proc disable` removes it.\n");
    let mut line = |key: &str, value: &str| {
        let _infallible = writeln!(text, "{key}={value}");
    };
    line(
        "[Unit]\nDescription",
        &format!("proc, project {}", boot.project),
    );
    if !boot.user {
        line("After", "network.target");
    }
    line("StartLimitIntervalSec", "0");
    line("\n[Service]\nType", "notify");
    line("NotifyAccess", "main");
    line("ExecStart", &command(&boot.supervisor));
    // A configuration that is broken is refused before anything is reloaded.
    line("ExecReload", &command(&boot.check));
    line("ExecReload", "/bin/kill -HUP $MAINPID");
    line("ExecStop", &command(&boot.down));
    line("KillMode", "process");
    line("Restart", "on-failure");
    line("RestartSec", "500ms");
    line("WatchdogSec", &format!("{}us", boot.watchdog.as_micros()));
    // It says when all wanted services have settled, each within its own bound.
    line("TimeoutStartSec", "infinity");
    line(
        "TimeoutStopSec",
        &format!("{}us", boot.stop_timeout.as_micros()),
    );
    line("WorkingDirectory", &dir);
    for (name, value) in &boot.env {
        line(
            "Environment",
            &quote(OsStr::new(&format!("{name}={value}"))),
        );
    }
    // The services are in this unit's cgroup.
    line("TasksMax", "infinity");
    line("Delegate", "yes");
    let target = if boot.user {
        "default.target"
    } else {
        "multi-user.target"
    };
    line("\n[Install]\nWantedBy", target);
    Ok(text)
}

fn command(words: &[String]) -> String {
    let words = words.iter().map(|text| word(OsStr::new(text)));
    words.collect::<Vec<_>>().join(" ")
}

pub(super) async fn enable(boot: &Boot, now: bool) -> Result<(), ManagerError> {
    reload(boot).await?;
    let name = boot.name();
    let mut words = vec!["enable"];
    words.extend(now.then_some("--now"));
    words.push(&name);
    systemctl(boot, &words).await
}

pub(super) async fn disable(boot: &Boot, now: bool) -> Result<(), ManagerError> {
    let name = boot.name();
    if now {
        systemctl(boot, &["stop", &name]).await?;
    }
    systemctl(boot, &["disable", &name]).await
}

pub(super) async fn reload(boot: &Boot) -> Result<(), ManagerError> {
    systemctl(boot, &["daemon-reload"]).await
}

async fn systemctl(boot: &Boot, words: &[&str]) -> Result<(), ManagerError> {
    let set = boot
        .manager_env
        .get("PROC_SYSTEMCTL")
        .filter(|program| !program.is_empty());
    let program = set.map_or("systemctl", String::as_str);
    let mut all = vec![
        if boot.user { "--user" } else { "--system" },
        "--no-ask-password",
    ];
    all.extend(words);
    let answer = boot.call(program, &all).await?;
    if answer.code == 0 {
        return Ok(());
    }
    Err(refusal(&format!("systemctl {}", words[0]), &answer))
}
