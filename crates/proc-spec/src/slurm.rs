//! What the `slurm` table asks for, as options of sbatch(1).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::suggest::nearest;
use crate::units::{parse_size, parse_span};

/// Keys whose values are in this project's own units, and the option each becomes.
const OWN: &[(&str, &str)] = &[
    ("cpus", "cpus-per-task"),
    ("memory", "mem"),
    ("time", "time"),
];

/// Options of sbatch(1) that are passed on as they are.
const KNOWN: &[&str] = &[
    "account",
    "batch",
    "begin",
    "bb",
    "clusters",
    "comment",
    "constraint",
    "contiguous",
    "core-spec",
    "cores-per-socket",
    "cpu-freq",
    "cpus-per-gpu",
    "cpus-per-task",
    "deadline",
    "distribution",
    "exclude",
    "exclusive",
    "gpu-bind",
    "gpu-freq",
    "gpus",
    "gpus-per-node",
    "gpus-per-socket",
    "gpus-per-task",
    "gres",
    "gres-flags",
    "hint",
    "licenses",
    "mail-type",
    "mail-user",
    "mem",
    "mem-bind",
    "mem-per-cpu",
    "mem-per-gpu",
    "mincpus",
    "network",
    "nice",
    "nodelist",
    "nodes",
    "ntasks",
    "ntasks-per-core",
    "ntasks-per-gpu",
    "ntasks-per-node",
    "ntasks-per-socket",
    "oversubscribe",
    "partition",
    "power",
    "prefer",
    "priority",
    "profile",
    "qos",
    "reservation",
    "sockets-per-node",
    "spread-job",
    "switches",
    "threads-per-core",
    "time-min",
    "tmp",
    "tres-per-task",
    "use-min-nodes",
    "wait-all-nodes",
    "wckey",
];

/// Options that say how the job is run, followed and found again; and where the same is asked for.
const TAKEN: &[(&str, &str)] = &[
    ("array", "`instances` makes several"),
    ("chdir", "`cwd` says where it runs"),
    ("dependency", "`needs`, and `after` of a task, say so"),
    ("error", "`log` says where its output goes"),
    ("export", "`env` is its environment"),
    ("export-file", "`env` is its environment"),
    ("get-user-env", "`env` is its environment"),
    ("hold", "a job that is held never starts"),
    ("input", "a job reads nothing"),
    ("job-name", "jobs are found again by it"),
    ("kill-on-invalid-dep", "jobs of a pipeline have it"),
    ("no-requeue", "write `requeue = false`"),
    ("open-mode", "output is always appended"),
    ("output", "`log` says where its output goes"),
    ("parsable", "its answer is read here"),
    ("quiet", "its answer is read here"),
    ("signal", "`stop` says how it ends"),
    ("test-only", "it would start nothing"),
    ("uid", "a job is run by whoever submits it"),
    ("gid", "a job is run by whoever submits it"),
    ("verbose", "its answer is read here"),
    ("wait", "nobody waits for it like that"),
    ("wrap", "`command` is what it runs"),
];

/// Returns every key that the `slurm` table takes.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    let own = OWN.iter().map(|(own, _)| *own);
    let more = KNOWN.iter().copied();
    let more = more.filter(|key| OWN.iter().all(|(own, _)| own != key));
    own.chain(["requeue", "extra"]).chain(more)
}

/// A key of the `slurm` table that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SlurmError {
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// Returns the options of sbatch(1) that one key of the `slurm` table becomes, long names without dashes;
/// a switch has the value `true`.
///
/// Keys are `cpus`, `memory` and `time` in this project's units, `requeue`, `extra` (further options in one
/// string) and sbatch's own long options by name.
///
/// # Errors
/// A key that is unknown, or that something else decides, and a value that is none.
pub fn slurm_options(key: &str, value: &str) -> Result<BTreeMap<String, String>, SlurmError> {
    if value.is_empty() || value.chars().any(char::is_control) {
        return fail(format!("`{}` is not a value for it", value.escape_debug()));
    }
    let one = |name: &str, value: String| Ok([(name.to_owned(), value)].into());
    match key {
        "cpus" => one("cpus-per-task", cpus(value)?),
        "memory" => one("mem", memory(value)?),
        "time" => one("time", time(value)?),
        "requeue" => match value {
            "true" | "false" => one("requeue", value.to_owned()),
            _ => fail("is `true` or `false`".to_owned()),
        },
        "extra" => extra(value),
        _ if KNOWN.contains(&key) => Ok(match value {
            "false" => BTreeMap::new(),
            _ => [(key.to_owned(), value.to_owned())].into(),
        }),
        _ => Err(unusable(key)),
    }
}

/// Returns the memory to ask for: sbatch counts in MiB, and less than was asked for would not do.
#[must_use]
pub fn slurm_memory(bytes: u64) -> String {
    format!("{}M", bytes.div_ceil(1 << 20).max(1))
}

fn fail<T>(message: String) -> Result<T, SlurmError> {
    let hint = None;
    Err(SlurmError { message, hint })
}

fn unusable(key: &str) -> SlurmError {
    if let Some((_, instead)) = TAKEN.iter().find(|(taken, _)| *taken == key) {
        return SlurmError {
            message: format!("`{key}` of sbatch cannot be set"),
            hint: Some((*instead).to_owned()),
        };
    }
    let hint = match nearest(key, keys()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "options of a plugin go into `extra = \"--name=value\"`".to_owned(),
    };
    SlurmError {
        message: format!("`{}` is not an option of sbatch", key.escape_debug()),
        hint: Some(hint),
    }
}

fn cpus(value: &str) -> Result<String, SlurmError> {
    match value.parse::<u32>() {
        Ok(cpus) if cpus > 0 => Ok(cpus.to_string()),
        _ => fail(format!("`{value}` is not a number of CPUs")),
    }
}

fn memory(value: &str) -> Result<String, SlurmError> {
    match parse_size(value) {
        Ok(bytes) if bytes > 0 => Ok(slurm_memory(bytes)),
        Ok(_) => fail(format!("`{value}` is not an amount of memory")),
        Err(error) => fail(error.to_string()),
    }
}

/// Takes a duration, or what sbatch itself takes with a colon: `1-12:00:00`.
fn time(value: &str) -> Result<String, SlurmError> {
    let own = |c: char| c.is_ascii_digit() || c == ':' || c == '-';
    if value.contains(':') && value.chars().all(own) {
        return Ok(value.to_owned());
    }
    match parse_span(value) {
        Ok(span) if span > Duration::ZERO => {
            let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
            let (minutes, hours) = (seconds / 60 % 60, seconds / 3600 % 24);
            let days = seconds / 86_400;
            Ok(format!(
                "{days}-{hours:02}:{minutes:02}:{:02}",
                seconds % 60
            ))
        }
        Ok(_) => fail("a job without time would not run".to_owned()),
        Err(error) => fail(error.to_string()),
    }
}

fn extra(value: &str) -> Result<BTreeMap<String, String>, SlurmError> {
    let mut options = BTreeMap::new();
    for word in value.split_whitespace() {
        let Some(option) = word.strip_prefix("--") else {
            return fail(format!("`{word}` does not begin with `--`"));
        };
        let (name, value) = option.split_once('=').unwrap_or((option, "true"));
        let letters =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        // sbatch takes the beginning of an option's name for the whole.
        let taken = TAKEN.iter().find(|(taken, _)| taken.starts_with(name));
        match taken {
            Some((taken, _)) => return Err(unusable(taken)),
            None if name.is_empty() || !name.chars().all(letters) => {
                return fail(format!("`{word}` is not an option"));
            }
            None => options.insert(name.to_owned(), value.to_owned()),
        };
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> String {
        let options = slurm_options(key, value).unwrap();
        let pairs = options
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn units_are_translated_and_the_rest_is_passed_on() {
        for (key, value, becomes) in [
            ("partition", "gpu", "partition=gpu"),
            ("cpus", "4", "cpus-per-task=4"),
            ("memory", "1GiB", "mem=1024M"),
            ("memory", "1000001", "mem=1M"),
            ("time", "90m", "time=0-01:30:00"),
            ("time", "2-01:00:00", "time=2-01:00:00"),
            ("time", "100ms", "time=0-00:00:01"),
            ("requeue", "false", "requeue=false"),
            ("exclusive", "true", "exclusive=true"),
            ("exclusive", "false", ""),
            ("extra", "--container=x --flag", "container=x flag=true"),
        ] {
            assert_eq!(one(key, value), becomes, "{key} = {value}");
        }
    }

    #[test]
    fn mistakes_say_what_was_meant() {
        for (key, value, says) in [
            ("partion", "x", "did you mean `partition`?"),
            ("memroy", "x", "did you mean `memory`?"),
            ("output", "x", "`log` says where"),
            ("array", "1-9", "`instances` makes several"),
            ("frobnicate", "x", "`extra"),
            ("--wrap", "x", "not an option of sbatch"),
            ("a\nb", "x", "`a\\nb` is not an option"),
            ("memory", "lots", "lots"),
            ("memory", "0", "not an amount"),
            ("cpus", "0", "not a number of CPUs"),
            ("time", "0s", "would not run"),
            ("requeue", "yes", "`true` or `false`"),
            ("partition", "a\nb", "`a\\nb` is not a value"),
            ("partition", "", "not a value"),
            ("extra", "--wra=x", "cannot be set"),
            ("extra", "x", "does not begin with"),
            ("extra", "--", "cannot be set"),
        ] {
            let error = slurm_options(key, value).unwrap_err();
            let text = format!("{error} {}", error.hint.as_deref().unwrap_or_default());
            assert!(text.contains(says), "{key} = {value:?}: {text}");
        }
    }
}
