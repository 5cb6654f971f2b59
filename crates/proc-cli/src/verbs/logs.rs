//! `proc logs`: what services wrote, from the files; no supervisor is needed.

mod filter;
mod sources;
mod time;

use std::io::{BufWriter, Write};

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
    /// Only what came at or after this time: `10m` ago, or RFC 3339
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
    let filter = Filter::new(args.grep.clone(), args.level);
    let mut out = Printer::new(context, &args, &sources);
    if args.follow {
        follow(&reader, &args, &filter, &mut out)?;
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

fn follow(
    reader: &LogReader,
    args: &Args,
    filter: &Filter,
    out: &mut Printer,
) -> Result<(), CliError> {
    let mut follow = reader
        .follow(&query(args))
        .map_err(|error| unreadable(&error))?;
    loop {
        while let Some(entry) = follow.try_next().map_err(|error| unreadable(&error))? {
            if filter.passes(&entry) {
                out.print(&entry)?;
            }
        }
        out.flush()?;
        if let Some(entry) = follow
            .next_within(None)
            .map_err(|error| unreadable(&error))?
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
        let names = sources.iter().map(|source| source.instance.as_str());
        let mut form = match (args.raw, context.globals.json) {
            (true, _) => LogPrinter::raw(),
            (false, true) => LogPrinter::json(),
            (false, false) => LogPrinter::lines(names, &std::io::stdout()),
        };
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
