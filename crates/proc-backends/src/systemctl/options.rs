//! Where the programs and files are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How the systemctl backend works. Everything is passed in; nothing is read from the surroundings.
#[derive(Debug, Clone)]
pub struct SystemctlOptions {
    /// The project's state directory; records go to `systemctl/<instance>/` below it. Absolute.
    pub state_dir: PathBuf,
    /// The directory of the logs, where a service names none. Absolute.
    pub log_dir: PathBuf,
    /// systemctl(1).
    pub systemctl: String,
    /// journalctl(1).
    pub journalctl: String,
    /// sudo(8), for `sudo = true`.
    pub sudo: String,
    /// ssh(1), for the changes and lines of units of another host.
    pub ssh: String,
    /// The environment of these programs: `PATH`, and `XDG_RUNTIME_DIR` for a user's manager.
    pub env: BTreeMap<String, String>,
    /// How long a question or an order may take.
    pub timeout: Duration,
    /// How long a start may take at most, whatever the unit allows itself.
    pub start_timeout: Duration,
    /// Where units of ours are written; `None` is the manager's runtime directory, which a reboot
    /// clears.
    pub unit_dir: Option<PathBuf>,
}

impl SystemctlOptions {
    /// Returns the usual ones: programs from `PATH`, or from `PROC_SYSTEMCTL` and
    /// `PROC_JOURNALCTL` in `env`, logs in `log/` below the state directory.
    #[must_use]
    pub fn new(state_dir: PathBuf, env: BTreeMap<String, String>) -> Self {
        let program = |name: &str, default: &str| {
            let set = env.get(name).filter(|value| !value.is_empty());
            set.cloned().unwrap_or_else(|| default.to_owned())
        };
        Self {
            log_dir: state_dir.join("log"),
            systemctl: program("PROC_SYSTEMCTL", "systemctl"),
            journalctl: program("PROC_JOURNALCTL", "journalctl"),
            sudo: "sudo".to_owned(),
            ssh: "ssh".to_owned(),
            timeout: Duration::from_secs(25),
            start_timeout: Duration::from_secs(15 * 60),
            unit_dir: None,
            state_dir,
            env,
        }
    }

    /// Returns the directory of all records; those of native instances lie elsewhere.
    pub(crate) fn all_records(&self) -> PathBuf {
        self.state_dir.join("systemctl")
    }

    /// Returns the directory of an instance's records.
    pub(crate) fn records(&self, instance: &str) -> PathBuf {
        self.all_records().join(instance)
    }

    /// Returns `XDG_RUNTIME_DIR`, or what it is by convention.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        let set = self
            .env
            .get("XDG_RUNTIME_DIR")
            .filter(|dir| dir.starts_with('/'));
        set.map_or_else(
            || PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw())),
            PathBuf::from,
        )
    }

    /// Returns where units of ours go.
    pub(crate) fn units(&self, user: bool) -> PathBuf {
        match &self.unit_dir {
            Some(dir) => dir.clone(),
            None if user => self.runtime_dir().join("systemd/user"),
            None => PathBuf::from("/run/systemd/system"),
        }
    }
}
