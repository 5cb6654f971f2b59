//! What the slurm backend does with each key.

use proc_spec::{ServiceSpec, Stdin};

use super::Support::{self, Downgraded, Honoured, Refused, Translated};
use super::fields::{ELSEWHERE, NO_DEPLOY};
use super::{Level, bounds, ready_is, report};

const BATCH: &str = "a batch job has no such setting";
const WHO: &str = "Slurm runs a job as whoever submits it";
const NOT_HERE: &str = "its processes are not on this machine";
const PROBES: &str = "it is asked from the supervisor's machine, not on the node";
const LEFT: &str = "Slurm ends what a job leaves behind";
const LIVES_ON: &str = "the job lives on should the supervisor be killed";
const MEMORY: &str = "--mem, which is enforced only where the cluster's own configuration does";
const CPUS: &str =
    "whole CPUs by --cpus-per-task, enforced only where the cluster's own configuration does";

/// What becomes of each key that is not simply the supervisor's.
const COLUMN: &[(&str, Support)] = &[
    ("alive", Downgraded("as `ready`")),
    ("argv", Translated("a script that becomes the program")),
    ("clear_env", Downgraded("Slurm adds variables of its own")),
    ("close_fds", Honoured),
    ("command", Translated("a script that becomes the program")),
    ("cpu_affinity", Refused(BATCH)),
    (
        "cwd",
        Translated("--chdir; a node that lacks it ends the job with 125"),
    ),
    ("deploy", Downgraded(NO_DEPLOY)),
    ("detached", Downgraded(LEFT)),
    ("detectors", Refused(NOT_HERE)),
    ("die_with_supervisor", Downgraded(LIVES_ON)),
    (
        "env",
        Translated(
            "--export-file, a file that nobody else can read; nothing of it is on a command line",
        ),
    ),
    ("group", Refused(WHO)),
    ("host", Refused("`slurm = { nodelist = … }` names nodes")),
    ("io_priority", Refused(BATCH)),
    ("label", Refused(ELSEWHERE)),
    (
        "limits",
        Downgraded(
            "memory as --mem and cpu_max as --cpus-per-task (whole CPUs), enforced only where the cluster's own configuration does; the others are refused",
        ),
    ),
    ("listen", Refused(NOT_HERE)),
    (
        "log",
        Downgraded(
            "the node appends to the files itself, so their directory has to be shared: no rotation, no times, no bound; `direct` is refused",
        ),
    ),
    ("max_memory", Refused(NOT_HERE)),
    ("nice", Refused(BATCH)),
    ("no_new_privs", Refused(BATCH)),
    ("oom_score_adj", Refused(BATCH)),
    ("pid_file", Refused(NOT_HERE)),
    (
        "ready",
        Downgraded(
            "probes other than `log` are asked from the supervisor's machine; `notify` and `notify_fd` are refused",
        ),
    ),
    ("reload_signal", Translated("scancel --batch --signal")),
    ("scope", Refused(ELSEWHERE)),
    ("script", Translated("a script that becomes the program")),
    ("session", Downgraded("Slurm decides")),
    ("slurm", Honoured),
    ("startup", Downgraded("as `ready`")),
    ("stdin", Refused("a job's standard input is /dev/null")),
    (
        "stop",
        Translated(
            "each step by scancel --full --signal; KILL, and a job that waits, by scancel as well",
        ),
    ),
    ("sudo", Refused(ELSEWHERE)),
    ("supplementary_groups", Refused(WHO)),
    ("umask", Translated("by the script")),
    ("unit", Refused(ELSEWHERE)),
    ("user", Refused(WHO)),
    ("watchdog", Refused(NOT_HERE)),
];

/// What cannot be said in one cell.
pub(super) const NOTES: &str = "
## Jobs of a cluster

`backend = \"slurm\"` makes each start one job, submitted with `sbatch` as the user of the supervisor. What it asks for is in a table:

```toml
[service.train]
command = \"./train --epochs 100\"
backend = \"slurm\"
slurm = { partition = \"gpu\", gres = \"gpu:1\", cpus = 4, memory = \"16GiB\", time = \"12h\" }
log = { dir = \"/shared/logs\" }
restart = { mode = \"on-failure\", max = 3 }
```

`cpus`, `memory` and `time` are in units of this file; every other key is a long option of `sbatch` by its name; `requeue = false` is
`--no-requeue`; options of a plugin go into `extra = \"--name=value\"`. What the backend needs for itself (`output`, `array`, …) is refused.

* A service is `starting` while its job is in the queue, with Slurm's reason in `degraded`; `stop` takes it out of the queue.
* Slurm pushes nothing. One `squeue` for all jobs asks once a second for 30 s after an order or a change, then every 5 s
  (`PROC_SLURM_POLL=30s` makes that longer): an exit is told that much later at most.
* When Slurm puts a job back into its queue (a lost node), the run goes on: `unattended` with the cause, then `running` again.
  A job that fails is not restarted by Slurm; the restart policy decides, and submits a new one. `why` names jobs, nodes and causes.
* `pid` is `null`, as no process of this machine; `identity` has the job's number and the time of its submission.
* A job whose end nobody saw while Slurm remembered it (`MinJobAge`, usually 300 s) has no exit code, and `last_exit` says so.
* The programs are `sbatch`, `squeue`, `scancel` and `sinfo` of `PATH`, or those of `PROC_SBATCH`, `PROC_SQUEUE`, `PROC_SCANCEL` and
  `PROC_SINFO`. Of Slurm's own variables they see `SLURM_CONF` alone.

`proc pipeline --backend slurm FILE` runs a pipeline's tasks as jobs, with the order handed to Slurm: `--dependency=afterok` of what
must have passed, `afterany` of what may fail. `slurm = { … }` of a `[[task]]`, and `--slurm KEY=VALUE` for all of them, say what they ask for.
";

/// Returns what becomes of a key, if it is not simply the supervisor's.
pub(super) fn column(key: &str) -> Option<Support> {
    COLUMN
        .iter()
        .find(|(field, _)| *field == key)
        .map(|(_, support)| *support)
}

pub(super) fn audit(spec: &ServiceSpec, add: &mut impl FnMut(Level, &str, &str)) {
    let refusals = [
        ("command", spec.command.is_none(), "a job needs a command"),
        ("unit", spec.unit.is_some(), ELSEWHERE),
        ("label", spec.label.is_some(), ELSEWHERE),
        ("scope", spec.scope.is_some(), ELSEWHERE),
        ("sudo", spec.sudo, ELSEWHERE),
        (
            "host",
            spec.host.is_some(),
            "`slurm = { nodelist = … }` names nodes",
        ),
        (
            "stdin",
            spec.stdin != Stdin::Null,
            "a job's standard input is /dev/null",
        ),
        ("listen", !spec.listen.is_empty(), NOT_HERE),
        ("detectors", !spec.detectors.is_empty(), NOT_HERE),
        ("pid_file", spec.pid_file.is_some(), NOT_HERE),
        ("max_memory", spec.max_memory.is_some(), NOT_HERE),
        ("watchdog", spec.watchdog.is_some(), NOT_HERE),
        ("ready.notify", ready_is(spec, "notify"), NOT_HERE),
        ("ready.notify_fd", ready_is(spec, "notify_fd"), NOT_HERE),
        ("log.direct", spec.log.direct, "the node writes the files"),
    ];
    report(Level::Refusal, &refusals, add);
    for key in crate::slurm::start::shaping(&spec.attributes) {
        let who = ["user", "group", "supplementary_groups"].contains(&key);
        add(Level::Refusal, key, if who { WHO } else { BATCH });
    }
    let (memory, _) = bounds(spec);
    let cgroup = spec.attributes.cgroup.as_ref();
    let cpus = cgroup.is_some_and(|cgroup| cgroup.cpu_max_us.is_some());
    let from_here = |kind: Option<String>| {
        let kinds = ["http ", "tcp ", "exec ", "file "];
        kind.is_some_and(|kind| kinds.iter().any(|from| kind.starts_with(from)))
    };
    let (ready, alive, startup) = (&spec.ready, &spec.alive, &spec.startup);
    let weaker = [
        ("limits.memory", memory, MEMORY),
        ("limits.cpu_max", cpus, CPUS),
        (
            "clear_env",
            spec.clear_env,
            "Slurm adds variables of its own",
        ),
        ("detached", spec.detached, LEFT),
        (
            "die_with_supervisor",
            spec.die_with_supervisor == Some(true),
            LIVES_ON,
        ),
        (
            "ready",
            from_here(ready.as_ref().map(|probe| probe.kind.to_string())),
            PROBES,
        ),
        (
            "alive",
            from_here(alive.as_ref().map(|probe| probe.kind.to_string())),
            PROBES,
        ),
        (
            "startup",
            from_here(startup.as_ref().map(|probe| probe.kind.to_string())),
            PROBES,
        ),
    ];
    report(Level::Downgrade, &weaker, add);
}
