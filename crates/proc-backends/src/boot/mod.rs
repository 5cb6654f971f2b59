//! Makes a project start at boot, by systemd or launchd, and takes exactly that back.
//!
//! The supervisor runs as a service that says itself when it is ready, reloads, stops and still
//! lives. Its services outlive a supervisor that is killed (the manager starts the next one, which
//! takes them over), and end with a stop.

mod launchd;
mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::call::{Answer, Call};
use crate::manager::ManagerError;

/// How long one call of the manager's program may take; a start waits for the whole project.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Who starts the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootManager {
    /// systemd, through systemctl(1).
    Systemd,
    /// launchd, through launchctl(1).
    Launchd,
}

/// What is to be started at boot, and how.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The project's name.
    pub project: String,
    /// Who starts it.
    pub manager: BootManager,
    /// For the user at login (or at boot, where the user lingers) instead of for the machine.
    pub user: bool,
    /// The supervisor's command line, its program an absolute path.
    pub supervisor: Vec<String>,
    /// The command that ends the project, services first.
    pub down: Vec<String>,
    /// The command that validates the configuration.
    pub check: Vec<String>,
    /// Where the configuration is looked for; absolute.
    pub dir: PathBuf,
    /// What the supervisor, and so its services, have in the environment: at least `PATH`.
    pub env: BTreeMap<String, String>,
    /// How long the supervisor may say nothing before it is killed and started again.
    pub watchdog: Duration,
    /// How long a stop may take.
    pub stop_timeout: Duration,
    /// The environment of the manager's own program.
    pub manager_env: BTreeMap<String, String>,
}

/// What `enable` or `disable` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootChange {
    /// The unit's or job's name.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// Whether the file was written or removed; it was as it should be otherwise.
    pub changed: bool,
}

impl Boot {
    /// Returns the text of the unit or job file.
    ///
    /// # Errors
    /// A path or argument that such a file cannot hold.
    pub fn text(&self) -> Result<String, ManagerError> {
        match self.manager {
            BootManager::Systemd => systemd::text(self),
            BootManager::Launchd => launchd::text(self),
        }
    }

    /// Writes the file and has the manager start the project at every boot; with `now` also at once,
    /// waiting until it is ready.
    ///
    /// # Errors
    /// A file of that name that is not ours, and what the manager refused.
    pub async fn enable(&self, now: bool) -> Result<BootChange, ManagerError> {
        let file = self.file()?;
        let text = self.text()?;
        let changed = write(&file, &text, self.mode())?;
        match self.manager {
            BootManager::Systemd => systemd::enable(self, now).await?,
            BootManager::Launchd => launchd::enable(self, &file, now).await?,
        }
        Ok(self.change(file, changed))
    }

    /// Takes back what [`enable`](Self::enable) did; with `now` the project is stopped first. What
    /// runs goes on otherwise.
    ///
    /// # Errors
    /// A file of that name that is not ours, and what the manager refused.
    pub async fn disable(&self, now: bool) -> Result<BootChange, ManagerError> {
        let file = self.file()?;
        if !is_ours(&file)? {
            return Ok(self.change(file, false));
        }
        match self.manager {
            BootManager::Systemd => systemd::disable(self, now).await?,
            BootManager::Launchd => launchd::disable(self, now).await?,
        }
        std::fs::remove_file(&file).map_err(|source| ManagerError::Write {
            path: file.display().to_string(),
            source,
        })?;
        if self.manager == BootManager::Systemd {
            systemd::reload(self).await?;
        }
        Ok(self.change(file, true))
    }

    fn change(&self, file: PathBuf, changed: bool) -> BootChange {
        BootChange {
            name: self.name(),
            file,
            changed,
        }
    }

    /// Returns the unit's or job's name.
    #[must_use]
    pub fn name(&self) -> String {
        match self.manager {
            BootManager::Systemd => format!("proc-{}.service", self.project),
            BootManager::Launchd => format!("proc.{}", self.project),
        }
    }

    /// Returns where the unit or job file is.
    ///
    /// # Errors
    /// A user without a home directory.
    pub fn file(&self) -> Result<PathBuf, ManagerError> {
        let set = |name: &str| {
            self.manager_env
                .get(name)
                .filter(|dir| dir.starts_with('/'))
        };
        let home = || {
            set("HOME")
                .map(PathBuf::from)
                .ok_or_else(|| ManagerError::NoManager {
                    message: "HOME is not set, so there is no place for the file".to_owned(),
                })
        };
        Ok(match (self.manager, self.user) {
            (BootManager::Systemd, false) => Path::new("/etc/systemd/system").join(self.name()),
            (BootManager::Systemd, true) => match set("XDG_CONFIG_HOME") {
                Some(config) => PathBuf::from(config).join("systemd/user").join(self.name()),
                None => home()?.join(".config/systemd/user").join(self.name()),
            },
            (BootManager::Launchd, user) => {
                let dir = match user {
                    true => home()?.join("Library/LaunchAgents"),
                    false => PathBuf::from("/Library/LaunchDaemons"),
                };
                dir.join(format!("{}.plist", self.name()))
            }
        })
    }

    fn mode(&self) -> u32 {
        match self.manager {
            BootManager::Systemd => 0o644,
            // Others may not read the environment in it.
            BootManager::Launchd => 0o600,
        }
    }

    async fn call(&self, program: &str, words: &[&str]) -> Result<Answer, ManagerError> {
        let call = Call {
            program: program.to_owned(),
            args: words.iter().map(|word| (*word).to_owned()).collect(),
            env: self.manager_env.clone(),
            timeout: TIMEOUT,
        };
        call.run().await
    }
}

/// What a file of ours begins with, somewhere in its head.
const MARKER: &str = "Written by `proc enable`";

fn is_ours(path: &Path) -> Result<bool, ManagerError> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.lines().take(5).any(|line| line.contains(MARKER)) => Ok(true),
        Ok(_) => Err(ManagerError::NotOurs {
            path: path.display().to_string(),
            reason: "it was written by somebody else".to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ManagerError::Write {
            path: path.display().to_string(),
            source,
        }),
    }
}

/// Writes the file unless it is there; says whether it did.
fn write(path: &Path, text: &str, mode: u32) -> Result<bool, ManagerError> {
    if is_ours(path)? && std::fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(false);
    }
    let failed = |source| ManagerError::Write {
        path: path.display().to_string(),
        source,
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    proc_store::atomic::write(path, text.as_bytes(), mode)
        .map_err(|error| failed(std::io::Error::new(error.io().kind(), error.to_string())))?;
    Ok(true)
}

/// Makes a failure of what a program said.
fn refusal(command: &str, answer: &Answer) -> ManagerError {
    let line = answer
        .stderr
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty());
    let message: String = line.unwrap_or("no message").chars().take(300).collect();
    let message = message.escape_debug().to_string().replace("\\\"", "\"");
    let bus = [
        "Failed to connect to bus",
        "has not been booted with systemd",
    ];
    if bus.iter().any(|text| answer.stderr.contains(text)) {
        return ManagerError::NoManager { message };
    }
    ManagerError::Failed {
        command: command.to_owned(),
        code: answer.code,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(manager: BootManager, home: &Path) -> Boot {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        Boot {
            project: "shop".to_owned(),
            manager,
            user: true,
            supervisor: words(&["/opt/a b/proc", "__supervise", "--boot"]),
            down: words(&["/opt/a b/proc", "down"]),
            check: words(&["/opt/a b/proc", "check"]),
            dir: "/srv/100%".into(),
            env: [("PATH".to_owned(), "/usr/bin:/opt/\"x\"".to_owned())].into(),
            watchdog: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(90),
            manager_env: [("HOME".to_owned(), home.display().to_string())].into(),
        }
    }

    #[test]
    fn units_survive_their_supervisor_but_not_a_stop() {
        let text = boot(BootManager::Systemd, Path::new("/h")).text().unwrap();
        for line in [
            "Type=notify",
            "KillMode=process",
            "ExecStart=\"/opt/a b/proc\" \"__supervise\" \"--boot\"",
            "ExecStop=\"/opt/a b/proc\" \"down\"",
            "WorkingDirectory=/srv/100%%",
            "Environment=\"PATH=/usr/bin:/opt/\\\"x\\\"\"",
            "WatchdogSec=30000000us",
            "WantedBy=default.target",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn jobs_come_back_unless_they_ended_well() {
        let text = boot(BootManager::Launchd, Path::new("/h")).text().unwrap();
        let value = plist::Value::from_reader_xml(text.as_bytes()).unwrap();
        let dict = value.as_dictionary().unwrap();
        assert_eq!(dict["RunAtLoad"].as_boolean(), Some(true));
        assert_eq!(dict["AbandonProcessGroup"].as_boolean(), Some(true));
        assert_eq!(
            dict["KeepAlive"].as_dictionary().unwrap()["SuccessfulExit"].as_boolean(),
            Some(false)
        );
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let boot = boot(BootManager::Systemd, dir.path());
        let file = boot.file().unwrap();
        assert!(write(&file, &boot.text().unwrap(), 0o644).unwrap());
        assert!(!write(&file, &boot.text().unwrap(), 0o644).unwrap());
        std::fs::write(&file, "[Service]\n").unwrap();
        let error = write(&file, &boot.text().unwrap(), 0o644).unwrap_err();
        assert!(error.to_string().contains("not ours"), "{error}");
    }
}
