//! Where the programs and files are, and how often Slurm is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How the slurm backend works. Everything is passed in; nothing is read from the surroundings.
#[derive(Debug, Clone)]
pub struct SlurmOptions {
    /// The project's state directory; records go to `slurm/<instance>/` below it. Absolute.
    pub state_dir: PathBuf,
    /// The directory of the logs, where a service names none. Absolute, and shared with the nodes.
    pub log_dir: PathBuf,
    /// sbatch(1).
    pub sbatch: String,
    /// squeue(1).
    pub squeue: String,
    /// scancel(1).
    pub scancel: String,
    /// sinfo(1), asked only for why a node was lost.
    pub sinfo: String,
    /// The environment of these programs. Of Slurm's own variables only `SLURM_CONF` is passed on:
    /// the others would change what is submitted and what is seen.
    pub env: BTreeMap<String, String>,
    /// How long one call may take. Slurm's own programs give up on a controller after about 10 s.
    pub timeout: Duration,
    /// How often Slurm is asked while something is expected: for [`BUSY_FOR`](Self::BUSY_FOR)
    /// after an order or a change.
    pub busy: Duration,
    /// How often Slurm is asked otherwise.
    pub settled: Duration,
}

impl SlurmOptions {
    /// How long after an order or a change Slurm is asked at short intervals: 30 s.
    pub const BUSY_FOR: Duration = Duration::from_secs(30);

    /// Returns the usual ones: programs from `PATH`, or from `PROC_SBATCH`, `PROC_SQUEUE`, `PROC_SCANCEL` and
    /// `PROC_SINFO` in `env`; logs in `log/` below the state directory; a question every second while something is
    /// expected, else every 5 s or every `PROC_SLURM_POLL`.
    #[must_use]
    pub fn new(state_dir: PathBuf, env: BTreeMap<String, String>) -> Self {
        let program = |name: &str, default: &str| {
            let set = env.get(name).filter(|value| !value.is_empty());
            set.cloned().unwrap_or_else(|| default.to_owned())
        };
        let every = env.get("PROC_SLURM_POLL");
        let every = every.and_then(|text| proc_spec::parse_span(text).ok());
        let settled = every.unwrap_or(Duration::from_secs(5));
        Self {
            log_dir: state_dir.join("log"),
            sbatch: program("PROC_SBATCH", "sbatch"),
            squeue: program("PROC_SQUEUE", "squeue"),
            scancel: program("PROC_SCANCEL", "scancel"),
            sinfo: program("PROC_SINFO", "sinfo"),
            timeout: Duration::from_secs(25),
            busy: Duration::from_secs(1),
            settled: settled.max(Duration::from_millis(100)),
            state_dir,
            env,
        }
    }

    /// Returns the directory of all records.
    pub(crate) fn all_records(&self) -> PathBuf {
        self.state_dir.join("slurm")
    }

    /// Returns the directory of an instance's records.
    pub(crate) fn records(&self, instance: &str) -> PathBuf {
        self.all_records().join(instance)
    }
}
