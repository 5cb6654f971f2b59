//! What a shim costs while it has nothing to do: memory and wake-ups of 300 static ones, each keeping a service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, root, run as sh, say};

/// How many run at the same time.
const COUNT: usize = 300;
/// A shim gives memory back a moment after its last event.
const SETTLED: Duration = Duration::from_secs(1);
/// How long wake-ups are counted.
const SPAN: Duration = Duration::from_secs(5);
/// The resident memory in KiB that `proc-shim init` may take, beside its command.
const INIT_TARGET: u64 = 1024;
/// Targets in KiB: proportional and resident memory of one.
const TARGETS: [(&str, u64); 2] = [("Pss", 40), ("Rss", 300)];

/// Builds the static shim, runs many, and prints what one costs; a missing target is said aloud.
///
/// # Errors
/// A failed build, a shim that does not start, or one that wakes up without a reason.
pub(crate) fn run() -> Result<()> {
    let Some(program) = build()? else {
        return Ok(());
    };
    let mut keeper = keep(&program, &[COUNT.to_string()])?;
    let measured = measure(&mut keeper);
    end(keeper)?;
    measured
}

/// Compares starts through the static shim with a raw `posix_spawn`.
///
/// # Errors
/// A failed build or start.
pub(crate) fn run_starts() -> Result<()> {
    let Some(program) = build()? else {
        return Ok(());
    };
    let bench = ["bench", "--locked", "-p", "proc-shim", "--bench", "start"];
    sh(cargo(bench).env("PROC_BENCH_SHIM", program))
}

/// Runs 500 services that write 50 lines a second each, and prints what all their shims cost together.
///
/// # Errors
/// A failed build, a shim that does not start, or a log that lacks a byte.
pub(crate) fn run_writing() -> Result<()> {
    let Some(program) = build()? else {
        return Ok(());
    };
    let lines = WRITING_SECONDS * 50;
    let mut keeper = keep(&program, &[WRITERS.to_string(), lines.to_string()])?;
    let measured = measure_writing(&mut keeper);
    end(keeper)?;
    measured
}

/// Services and seconds of [`run_writing`].
const WRITERS: usize = 500;
const WRITING_SECONDS: u64 = 40;

fn measure_writing(keeper: &mut Child) -> Result<()> {
    let pids = pids(keeper, WRITERS)?;
    let (_never, silence) = std::sync::mpsc::channel::<()>();
    let _timed_out = silence_for(&silence, SETTLED);
    let (cpu, resident, begun) = (cpu(&pids)?, memory_of(&pids, "Rss")?, Instant::now());
    let _timed_out = silence_for(&silence, Duration::from_secs(30));
    let used = 1e-9 * (self::cpu(&pids)? - cpu) as f64 / begun.elapsed().as_secs_f64();
    let (later, word) = (
        memory_of(&pids, "Rss")?,
        if used < 0.1 { "met" } else { "MISSED" },
    );
    say(&format!(
        "{WRITERS} services x 50 lines/s for 30 s: {:.1} % of a core in all their shims (target 10: {word})",
        100.0 * used
    ));
    say(&format!(
        "resident memory of all of them, before and after: {resident} KiB, {later} KiB"
    ));
    // The last of their lines: then every byte must be there.
    let rest = Duration::from_secs(WRITING_SECONDS + 5).saturating_sub(begun.elapsed());
    let _timed_out = silence_for(&silence, rest);
    Ok(())
}

fn memory_of(pids: &[u32], what: &str) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let sizes = memory(*pid)?.into_iter();
        sum += sizes
            .filter(|(name, _)| *name == what)
            .map(|(_, size)| size)
            .sum::<u64>();
    }
    Ok(sum)
}

/// Returns the nanoseconds that processes have spent on a processor.
fn cpu(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
        let first = text
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse::<u64>().ok());
        sum += first.context("no such field")?;
    }
    Ok(sum)
}

/// Builds the static shim and its keeper; `None` where that is not possible here.
fn build() -> Result<Option<PathBuf>> {
    let Some(program) = crate::dist::static_shim("bench")? else {
        return Ok(None);
    };
    init(&program)?;
    let keeper = [
        "build",
        "--locked",
        "-p",
        "proc-shim",
        "--example",
        "keep_many",
    ];
    sh(&mut cargo(keeper))?;
    Ok(Some(program))
}

fn keep(program: &Path, args: &[String]) -> Result<Child> {
    Command::new(root().join("target/debug/examples/keep_many"))
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start `keep_many`")
}

/// End-of-file on its standard input ends it and all of them.
fn end(mut keeper: Child) -> Result<()> {
    drop(keeper.stdin.take());
    let status = keeper.wait()?;
    if !status.success() {
        bail!("`keep_many` failed: {status}");
    }
    Ok(())
}

fn pids(keeper: &mut Child, count: usize) -> Result<Vec<u32>> {
    let stdout = keeper.stdout.take().context("a pipe")?;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    let pids: Vec<u32> = line
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    if pids.len() != count {
        bail!("{} of {count} shims started", pids.len());
    }
    Ok(pids)
}

/// Measures PID 1 of a container while its command runs.
fn init(program: &Path) -> Result<()> {
    let mut init = Command::new(program)
        .args(["init", "--", "sh", "-c", "echo up; read -r _"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start `proc-shim init`")?;
    let stdout = init.stdout.take().context("a pipe")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut String::new())?;
    let sizes = memory(init.id());
    drop(init.stdin.take());
    init.wait()?;
    let size = sizes?.into_iter().find(|(what, _)| *what == "Rss");
    let (_, size) = size.context("no `Rss`")?;
    let word = if size > INIT_TARGET { "MISSED" } else { "met" };
    say(&format!(
        "init, Rss: {size} KiB (target {INIT_TARGET}: {word})"
    ));
    if size > INIT_TARGET {
        bail!("`proc-shim init` takes more than {INIT_TARGET} KiB");
    }
    Ok(())
}

fn measure(keeper: &mut Child) -> Result<()> {
    let pids = pids(keeper, COUNT)?;
    // Spans of time are what is measured here, so there is no event to wait for.
    let (_never, silence) = std::sync::mpsc::channel::<()>();
    let _timed_out = silence_for(&silence, SETTLED);
    let before = switches(&pids)?;
    let begun = Instant::now();
    let mut sums = BTreeMap::new();
    for pid in &pids {
        for (what, size) in memory(*pid)? {
            *sums.entry(what).or_insert(0) += size;
        }
    }
    let rest = SPAN.saturating_sub(begun.elapsed());
    let _timed_out = silence_for(&silence, rest);
    let woken = switches(&pids)?.saturating_sub(before);
    for (what, target) in TARGETS {
        let each = sums.get(what).copied().unwrap_or_default() / COUNT as u64;
        let word = if each > target { "MISSED" } else { "met" };
        say(&format!(
            "shim, {what} of one of {COUNT}: {each} KiB (target {target}: {word})"
        ));
    }
    say(&format!(
        "shim, wake-ups of all {COUNT} in {:?}: {woken} (target 0)",
        begun.elapsed()
    ));
    if woken > 0 {
        bail!("an idle shim woke up");
    }
    Ok(())
}

fn silence_for(silence: &std::sync::mpsc::Receiver<()>, time: Duration) -> bool {
    silence.recv_timeout(time).is_err()
}

/// Returns the sizes in KiB of `smaps_rollup`.
fn memory(pid: u32) -> Result<Vec<(&'static str, u64)>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let size = |what: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
    };
    Ok(TARGETS
        .iter()
        .filter_map(|(what, _)| Some((*what, size(what)?)))
        .collect())
}

/// Returns how often all of them went to sleep: once per wake-up.
fn switches(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line
            .and_then(|line| line.trim().parse::<u64>().ok())
            .context("no such line")?;
    }
    Ok(sum)
}
