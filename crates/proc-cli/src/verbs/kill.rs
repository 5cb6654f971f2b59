//! `proc kill PID…`: ends processes and proves it, or refuses when a pid is another process now.

mod leaderless;

use std::io::Write;
use std::time::Duration;

use proc_core::{
    Identity, OpenError, ProcessHandle, Scope, Signal, StopOptions, StopReport, StopSequence, list,
    stop_tree,
};
use serde_json::json;

use self::leaderless::Leaderless;
use super::identity;
use crate::args::{Limit, limit};
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

/// Time before KILL unless another is named.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The processes
    #[arg(value_name = "PID", required_unless_present = "identity")]
    pids: Vec<u32>,
    /// End everything the process started as well (the default)
    #[arg(long, group = "scope")]
    tree: bool,
    /// End the process group that it is in
    #[arg(long, group = "scope")]
    group: bool,
    /// End only the process itself
    #[arg(long, group = "scope")]
    single: bool,
    /// The signal; TERM, INT and QUIT are followed by KILL after the grace, others are only sent
    #[arg(short, long, default_value = "TERM")]
    signal: Signal,
    /// Time before KILL; `none` is never
    #[arg(long, value_name = "DURATION", value_parser = limit)]
    grace: Option<Limit>,
    /// Refuse with code 3 unless it is the process of this record
    #[arg(long, value_name = "JSON", value_parser = identity::parse, conflicts_with = "start")]
    identity: Option<Identity>,
    /// Refuse with code 3 unless the process started at this tick
    #[arg(long, value_name = "TICKS")]
    start: Option<u64>,
}

/// Who is to be ended.
enum Aim {
    Process(ProcessHandle),
    /// The group that a process is in.
    Group(u32, Leaderless),
}

impl Aim {
    /// Returns the number that stands for it in what is printed.
    fn pid(&self) -> u32 {
        match self {
            Self::Process(handle) => handle.pid(),
            Self::Group(member, _) => *member,
        }
    }
}

/// What came of one process.
enum Result {
    Stopped(StopReport),
    Sent(usize),
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let aims = open_all(&args)?;
    let results = at_once(&aims, |aim| end(&args, aim));
    let mut code = exit::OK;
    let mut documents = Vec::new();
    for (aim, result) in aims.iter().zip(results) {
        let result = result?;
        if let Result::Stopped(report) = &result
            && !report.survivors.is_empty()
        {
            code = exit::SURVIVORS;
        }
        documents.push(tell(context, &args, aim.pid(), &result)?);
    }
    if context.globals.json {
        render::json(&documents)?;
    }
    Ok(code)
}

/// Does something with each of them at the same time, so that they share one grace; the results are in order.
fn at_once<T: Sync, R: Send>(all: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    std::thread::scope(|threads| {
        let each = &each;
        let running: Vec<_> = all
            .iter()
            .map(|one| threads.spawn(move || each(one)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("ending does not panic"))
            .collect()
    })
}

/// Opens every process before the first signal, so that a wrong pid ends nobody.
fn open_all(args: &Args) -> std::result::Result<Vec<Aim>, CliError> {
    if let Some(identity) = &args.identity {
        if let Some(other) = args.pids.iter().find(|pid| **pid != identity.pid) {
            let text = format!("pid {other} is not the record's pid {}", identity.pid);
            return Err(CliError::new(exit::USAGE, text));
        }
        return Ok(vec![aim(args, open(identity)?)]);
    }
    args.pids
        .iter()
        .map(|pid| Ok(aim(args, open_pid(*pid, args.start)?)))
        .collect()
}

/// Returns the process, or the leader of its group, by which that is signalled, or the group where that has none.
fn aim(args: &Args, process: ProcessHandle) -> Aim {
    let pid = process.pid();
    let pgid = list::get(pid).map_or(pid, |info| info.pgid);
    if !args.group || pgid == pid {
        return Aim::Process(process);
    }
    let leader = ProcessHandle::of(pgid);
    leader.map_or_else(|_| Aim::Group(pid, Leaderless(pgid)), Aim::Process)
}

fn open_pid(pid: u32, start: Option<u64>) -> std::result::Result<ProcessHandle, CliError> {
    let found = identity::of(pid)?;
    match start.filter(|start| *start != found.start_ticks) {
        Some(start) => {
            let ticks = found.start_ticks;
            let text = format!("pid {pid} is another process: it started at {ticks}, not {start}");
            Err(CliError::new(exit::NO, text))
        }
        None => open(&found),
    }
}

fn open(identity: &Identity) -> std::result::Result<ProcessHandle, CliError> {
    identity.open_with(identity::EVERY_FIELD).map_err(|error| {
        let code = match error {
            OpenError::Dead { .. } | OpenError::Unverified { .. } => exit::NO,
            _ => exit::FAILED,
        };
        CliError::chain(code, &error)
    })
}

fn end(args: &Args, aim: &Aim) -> std::result::Result<Result, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        let text = format!("cannot end pid {}: {error}", aim.pid());
        CliError::new(exit::FAILED, text)
    };
    if !escalates(args) {
        let sent = match aim {
            Aim::Process(handle) => send(args, handle),
            Aim::Group(_, group) => group.send(args.signal),
        };
        return sent.map(Result::Sent).map_err(|error| failed(&error));
    }
    let grace = args.grace.map_or(Some(GRACE), |grace| grace.0);
    let sequence = StopSequence::graceful(args.signal, grace);
    let options = StopOptions {
        scope: scope(args),
        ..StopOptions::default()
    };
    let stopped = match aim {
        Aim::Process(handle) => stop_tree(handle, &sequence, options),
        Aim::Group(_, group) => group.stop(&sequence),
    };
    stopped.map(Result::Stopped).map_err(|error| failed(&error))
}

/// Signals that mean something else than the end are never followed by KILL unasked.
fn escalates(args: &Args) -> bool {
    let ends = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::KILL].contains(&args.signal);
    ends || args.grace.is_some()
}

fn scope(args: &Args) -> Scope {
    match (args.single, args.group) {
        (true, _) => Scope::Single,
        (_, true) => Scope::Group,
        _ => Scope::Tree,
    }
}

/// Sends the signal once to everyone in scope; returns how many got it.
fn send(args: &Args, handle: &ProcessHandle) -> std::result::Result<usize, proc_core::SignalError> {
    match scope(args) {
        Scope::Single => handle.signal(args.signal).map(|()| 1),
        Scope::Group => handle.signal_group(args.signal).map(|()| 1),
        Scope::Tree => {
            let family = list::descendants(handle.pid()).unwrap_or_default();
            handle.signal(args.signal)?;
            let reached = family.iter().filter(|info| {
                // One that has ended meanwhile needs no signal.
                let identity = Identity::of(info.pid).ok();
                let same = identity.filter(|identity| identity.start_ticks == info.start_ticks);
                same.is_some_and(|identity| identity.signal(args.signal).is_ok())
            });
            Ok(1 + reached.count())
        }
    }
}

fn tell(
    context: &Context,
    args: &Args,
    pid: u32,
    result: &Result,
) -> std::result::Result<serde_json::Value, CliError> {
    let (line, document) = match result {
        Result::Sent(count) => (
            format!("pid {pid}: sent {} to {count}", args.signal),
            json!({ "pid": pid, "signal": args.signal.name(), "signalled": count }),
        ),
        Result::Stopped(report) => stopped(pid, report),
    };
    if let Result::Stopped(report) = result {
        for survivor in &report.survivors {
            render::error_line(&format!("survived: {survivor}"));
        }
    }
    if !context.globals.json && !context.globals.quiet {
        writeln!(anstream::stdout().lock(), "{}", render::escape(&line))?;
    }
    Ok(document)
}

fn stopped(pid: u32, report: &StopReport) -> (String, serde_json::Value) {
    let elapsed_ms = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX);
    let how = if report.escalated {
        ", KILL was needed"
    } else {
        ""
    };
    let line = format!(
        "pid {pid}: signalled {} by {} in {}{how}",
        report.signalled,
        report.mechanism,
        render::duration_ms(elapsed_ms)
    );
    let document = json!({
        "pid": pid,
        "mechanism": report.mechanism,
        "signalled": report.signalled,
        "escalated": report.escalated,
        "survivors": report.survivors,
        "elapsed_ms": elapsed_ms,
    });
    (line, document)
}
