//! `proc logs`: what services wrote, from the files; no supervisor is needed.

mod filter;
pub(super) mod sources;
mod time;
mod verify;

use std::io::{BufWriter, Write};
use std::path::Path;

use proc_output::Stream;
use proc_output::read::{Entry, LogReader, Query};
use regex::bytes::Regex;

use self::filter::Filter;
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render::LogPrinter;
use crate::sources::Source;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, instances (`web-2`), globs (`'web-*'`) or groups (`@backend`)
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Go on with what comes
    #[arg(short = 'f', long)]
    follow: bool,
    /// Only the last N lines of each instance
    #[arg(short = 'n', long = "lines", visible_alias = "tail", value_name = "N")]
    lines: Option<usize>,
    /// Only what came at or after this time: `10m` ago, `2026-11-21`, or RFC 3339
    #[arg(short = 'S', long, value_name = "TIME", value_parser = time::parse)]
    since: Option<i64>,
    /// Only what came at or before this time
    #[arg(short = 'U', long, value_name = "TIME", value_parser = time::parse)]
    until: Option<i64>,
    /// Only lines that match this regular expression
    #[arg(short = 'g', long, value_name = "REGEX")]
    grep: Option<Regex>,
    /// Only this stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Only lines of at least this level
    #[arg(long, value_name = "LEVEL")]
    level: Option<filter::LevelName>,
    /// Begin each line with its time
    #[arg(short = 't', long)]
    timestamps: bool,
    /// Do not begin each line with its instance
    #[arg(long)]
    no_prefix: bool,
    /// Only the service's bytes, exactly
    #[arg(long, conflicts_with_all = ["timestamps", "no_prefix"])]
    raw: bool,
    /// Print no lines; prove from offsets and counts that none is missing (code 1 if one is)
    #[arg(long, conflicts_with_all = ["follow", "lines", "since", "until", "grep", "stream", "level", "timestamps", "no_prefix", "raw"])]
    verify: bool,
    /// Configuration file (long form only: -f follows)
    #[arg(
        id = "file",
        long = "file",
        value_name = "FILE",
        hide_short_help = true
    )]
    _file: Vec<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StreamName {
    Stdout,
    Stderr,
}

impl From<StreamName> for Stream {
    fn from(name: StreamName) -> Stream {
        match name {
            StreamName::Stdout => Stream::Stdout,
            StreamName::Stderr => Stream::Stderr,
        }
    }
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let place = context.place()?;
    let sources = sources::select(context, &place, &args.names)?;
    let reader = sources::reader(&sources)?;
    if args.verify {
        return verify::run(context, &reader, &sources);
    }
    let filter = Filter::new(args.grep.clone(), args.level);
    let mut out = Printer::new(context, &args, &sources);
    if args.follow {
        let newcomer = |dir: &Path, instance: &str| {
            sources::newcomer(context, &place, &args.names, dir, instance)
        };
        follow(&reader, &args, &filter, &mut out, newcomer)?;
    } else {
        print(&reader, &args, &filter, &mut out)?;
    }
    Ok(exit::OK)
}

fn query(args: &Args) -> Query {
    Query {
        stream: args.stream.map(Into::into),
        since: args.since,
        until: args.until,
        tail: args.lines,
        ..Query::default()
    }
}

/// Prints what is kept. `-n` counts lines that pass the filter.
fn print(
    reader: &LogReader,
    args: &Args,
    filter: &Filter,
    out: &mut Printer,
) -> Result<(), CliError> {
    let filtered = !filter.passes_all();
    let tail = args.lines.filter(|_| filtered);
    let query = Query {
        tail: args.lines.filter(|_| !filtered),
        ..query(args)
    };
    let entries = reader.entries(&query).map_err(|error| unreadable(&error))?;
    let mut last = filter::Last::new(tail);
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if filter.passes(&entry)
            && let Some(entry) = last.push(entry)
        {
            out.print(&entry)?;
        }
    }
    for entry in last.rest() {
        out.print(&entry)?;
    }
    out.flush()
}

/// Prints what is kept, and then what comes, also of instances that are new.
fn follow(
    reader: &LogReader,
    args: &Args,
    filter: &Filter,
    out: &mut Printer,
    newcomer: impl Fn(&Path, &str) -> Option<Source>,
) -> Result<(), CliError> {
    // `-n` counts lines that pass the filter: then all that is kept must be looked at.
    let tail = args.lines.filter(|_| !filter.passes_all());
    let query = Query {
        tail: args.lines.filter(|_| tail.is_none()),
        ..query(args)
    };
    let failed = |error: std::io::Error| unreadable(&error);
    let mut follow = reader.follow(&query).map_err(failed)?;
    follow.watch_newcomers();
    if tail.is_some() {
        let mut last = filter::Last::new(tail);
        while let Some(entry) = follow.try_next().map_err(failed)? {
            if filter.passes(&entry) {
                last.push(entry);
            }
        }
        for entry in last.rest() {
            out.print(&entry)?;
        }
    }
    loop {
        while let Some(entry) = follow.try_next().map_err(failed)? {
            if filter.passes(&entry) {
                out.print(&entry)?;
            }
        }
        while let Some((dir, instance)) = follow.newcomer() {
            if let Some(source) = newcomer(&dir, &instance) {
                out.form.call(&source.instance, &source.shown);
                follow.add(&dir, &instance).map_err(failed)?;
            }
        }
        out.flush()?;
        if let Some(entry) = follow.next_within(None).map_err(failed)?
            && filter.passes(&entry)
        {
            out.print(&entry)?;
        }
    }
}

fn unreadable(error: &std::io::Error) -> CliError {
    CliError::new(exit::FAILED, format!("cannot read the logs: {error}"))
}

/// Where lines go, and in which form.
struct Printer {
    out: BufWriter<std::io::Stdout>,
    form: LogPrinter,
}

impl Printer {
    fn new(context: &Context, args: &Args, sources: &[Source]) -> Printer {
        let names = sources.iter().map(|source| source.shown.as_str());
        let mut form = match (args.raw, context.globals.json) {
            (true, _) => LogPrinter::raw(),
            (false, true) => LogPrinter::json(),
            (false, false) => LogPrinter::lines(names, &std::io::stdout()),
        };
        for source in sources {
            form.call(&source.instance, &source.shown);
        }
        form.timestamps = args.timestamps;
        form.prefix = !args.no_prefix;
        Printer {
            out: BufWriter::with_capacity(64 * 1024, std::io::stdout()),
            form,
        }
    }

    fn print(&mut self, entry: &Entry) -> Result<(), CliError> {
        self.form.write(&mut self.out, entry)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CliError> {
        self.out.flush()?;
        Ok(())
    }
}
