//! What every verb takes: the global flags with their `PROC_*` twins, and the value parsers.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};

use proc_spec::UnitError;

use crate::error::CliError;
use crate::exit;
use crate::render::ColorChoice;
use crate::verbs::Verb;

/// Process supervision without orphans, lost logs and guessing
#[derive(Debug, Parser)]
#[command(
    name = "proc",
    version,
    propagate_version = true,
    disable_help_subcommand = false
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 the answer is no, \
    4 unknown name, 5 no supervisor, 6 survivors, 124 timed out, 125-127 could not run, \
    128+n died of signal n."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags that every verb accepts, before or after its name.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Work in this directory
    #[arg(short = 'C', long, global = true, env = "PROC_DIR", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Configuration file; repeatable, later files override (PROC_FILE: separated by colons)
    #[arg(short, long, global = true, env = "PROC_FILE", value_name = "FILE", action = ArgAction::Append)]
    pub(crate) file: Vec<PathBuf>,
    /// The project's name, instead of the one in the configuration
    #[arg(short, long, global = true, env = "PROC_PROJECT", value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// Keep the project's state and sockets in this directory
    #[arg(long, global = true, env = "PROC_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true, env = "PROC_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Print less
    #[arg(short, long, global = true, env = "PROC_QUIET", value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// Print more; repeatable
    #[arg(short, long, global = true, env = "PROC_VERBOSE", action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(
        long,
        global = true,
        env = "PROC_COLOR",
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub(crate) color: ColorChoice,
}

/// Reads the command line; `--help` and usage errors end the program here, as clap words them.
pub(crate) fn parse() -> Result<(Globals, Verb), CliError> {
    let matches = command().get_matches();
    let from = |flag: &str, source| matches.value_source(flag) == Some(source);
    let from_environment = |flag: &str| from(flag, ValueSource::EnvVariable);
    let given = |flag: &str| from(flag, ValueSource::CommandLine);
    let cli = parsed(&matches)?;
    let mut globals = cli.globals;
    // Within a service the variable tells of what that is a part. Whoever names another place there means another project.
    let inherited = from_environment("project") && std::env::var_os("PROC_SERVICE").is_some();
    if inherited && (given("dir") || given("file")) {
        globals.project = None;
    }
    if from_environment("file") {
        globals.file = globals
            .file
            .iter()
            .flat_map(|list| std::env::split_paths(list))
            .collect();
    }
    enter(globals.dir.as_deref().map(|dir| dir.as_os_str()))?;
    Ok((globals, cli.verb))
}

/// Returns the command line's grammar. A variable that is set to nothing is one that is not set.
fn command() -> clap::Command {
    let command = Cli::command();
    let is_empty = |arg: &&clap::Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    let empty = command.get_arguments().filter(is_empty);
    let empty: Vec<_> = empty.map(|arg| arg.get_id().clone()).collect();
    empty.into_iter().fold(command, |command, id| {
        command.mut_arg(id, |arg| arg.env(None::<&'static str>))
    })
}

fn parsed(matches: &ArgMatches) -> Result<Cli, CliError> {
    Cli::from_arg_matches(matches).map_err(|error| CliError::chain(exit::USAGE, &error))
}

/// Enters `--dir`, so that every other path on the command line is relative to it.
fn enter(dir: Option<&OsStr>) -> Result<(), CliError> {
    let Some(dir) = dir else { return Ok(()) };
    std::env::set_current_dir(dir).map_err(|error| {
        CliError::new(
            exit::USAGE,
            format!("cannot enter `{}`: {error}", dir.to_string_lossy()),
        )
    })
}

/// A length of time; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

/// Reads a duration; `none` is no limit.
pub(crate) fn limit(text: &str) -> Result<Limit, UnitError> {
    proc_spec::parse_duration(text).map(Limit)
}

/// Reads a duration as timeout(1) does: 0 and `none` are no limit.
pub(crate) fn no_limit_at_zero(text: &str) -> Result<Limit, UnitError> {
    limit(text).map(|Limit(time)| Limit(time.filter(|time| !time.is_zero())))
}
