//! Where the programs and files are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How the launchctl backend works. Everything is passed in; nothing is read from the surroundings.
#[derive(Debug, Clone)]
pub struct LaunchctlOptions {
    /// The project's state directory; job files and records go to `launchctl/<instance>/` below it.
    /// Absolute.
    pub state_dir: PathBuf,
    /// The directory of the logs, where a service names none. Absolute.
    pub log_dir: PathBuf,
    /// launchctl(1).
    pub launchctl: String,
    /// log(1), for jobs that write no file.
    pub log: String,
    /// sudo(8), for `sudo = true`.
    pub sudo: String,
    /// The environment of these programs.
    pub env: BTreeMap<String, String>,
    /// How long one call may take.
    pub timeout: Duration,
    /// How long a job may take to go before a new one of its name is loaded.
    pub gone_timeout: Duration,
    /// How long loading is tried again while launchd says that the old job is still there.
    pub load_timeout: Duration,
    /// How long a start may take until there is a process.
    pub start_timeout: Duration,
    /// Where job files that exist are looked for, should launchd not know them.
    pub job_dirs: Vec<PathBuf>,
}

impl LaunchctlOptions {
    /// Returns the usual ones: `/bin/launchctl`, or `PROC_LAUNCHCTL` in `env`, logs in `log/` below
    /// the state directory, job files in the directories of launchd.
    #[must_use]
    pub fn new(state_dir: PathBuf, env: BTreeMap<String, String>) -> Self {
        let set = env.get("PROC_LAUNCHCTL").filter(|value| !value.is_empty());
        let home = env.get("HOME").filter(|home| home.starts_with('/'));
        let own = home.map(|home| PathBuf::from(home).join("Library/LaunchAgents"));
        let system = ["/Library/LaunchAgents", "/Library/LaunchDaemons"].map(PathBuf::from);
        Self {
            log_dir: state_dir.join("log"),
            launchctl: set.cloned().unwrap_or_else(|| "/bin/launchctl".to_owned()),
            log: "/usr/bin/log".to_owned(),
            sudo: "sudo".to_owned(),
            timeout: Duration::from_secs(25),
            gone_timeout: Duration::from_secs(60),
            load_timeout: Duration::from_secs(15),
            start_timeout: Duration::from_secs(60),
            job_dirs: own.into_iter().chain(system).collect(),
            state_dir,
            env,
        }
    }

    /// Returns the directory of all records.
    pub(crate) fn all_records(&self) -> PathBuf {
        self.state_dir.join("launchctl")
    }

    /// Returns the directory of an instance's records.
    pub(crate) fn records(&self, instance: &str) -> PathBuf {
        self.all_records().join(instance)
    }
}
