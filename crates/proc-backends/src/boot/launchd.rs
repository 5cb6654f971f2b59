//! The supervisor as a job of launchd.

use std::path::Path;

use proc_spec::launchd::{KeepAlive, LaunchdJob};

use super::{Boot, MARKER, refusal};
use crate::manager::ManagerError;

/// Writes the job file. `AbandonProcessGroup` is what lets the services outlive their supervisor.
pub(super) fn text(boot: &Boot) -> Result<String, ManagerError> {
    let job = LaunchdJob {
        label: boot.name(),
        arguments: boot.supervisor.clone(),
        cwd: Some(boot.dir.display().to_string()),
        env: boot.env.clone(),
        run_at_load: true,
        keep_alive: KeepAlive::OnFailure,
        throttle_seconds: Some(1),
        exit_seconds: Some(boot.stop_timeout.as_secs().max(1)),
        abandon_group: true,
        ..LaunchdJob::default()
    };
    job.to_plist(Some(&format!("{MARKER}; `proc disable` removes it.")))
        .map_err(|error| ManagerError::BadName {
            key: "command line",
            value: error.field,
            reason: "a job file cannot hold it",
        })
}

pub(super) async fn enable(boot: &Boot, file: &Path, now: bool) -> Result<(), ManagerError> {
    // An override of long ago would win over the file.
    launchctl(boot, &["enable", &service(boot)], &[0]).await?;
    if now {
        let path = file.display().to_string();
        launchctl(boot, &["bootstrap", &domain(boot), &path], &[0]).await?;
    }
    Ok(())
}

pub(super) async fn disable(boot: &Boot, now: bool) -> Result<(), ManagerError> {
    if now {
        let program = boot.down.first().map_or("proc", String::as_str);
        let words: Vec<&str> = boot.down.iter().skip(1).map(String::as_str).collect();
        let answer = boot.call(program, &words).await?;
        if answer.code != 0 {
            return Err(refusal("proc down", &answer));
        }
        // 3 and 113: it was not loaded; 36: it is on its way.
        launchctl(boot, &["bootout", &service(boot)], &[0, 3, 36, 113]).await?;
    }
    Ok(())
}

fn domain(boot: &Boot) -> String {
    match boot.user {
        true => format!("gui/{}", rustix::process::getuid().as_raw()),
        false => "system".to_owned(),
    }
}

fn service(boot: &Boot) -> String {
    format!("{}/{}", domain(boot), boot.name())
}

async fn launchctl(boot: &Boot, words: &[&str], fine: &[i32]) -> Result<(), ManagerError> {
    let set = boot
        .manager_env
        .get("PROC_LAUNCHCTL")
        .filter(|program| !program.is_empty());
    let program = set.map_or("/bin/launchctl", String::as_str);
    let answer = boot.call(program, words).await?;
    if fine.contains(&answer.code) {
        return Ok(());
    }
    Err(refusal(&format!("launchctl {}", words[0]), &answer))
}
