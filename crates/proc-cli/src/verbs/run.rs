//! `proc run -- CMD`: one command in the foreground under a policy.
//!
//! It is a project of one service, in a private directory that goes when it ends: the same machine, the same
//! arithmetic, the same shim that takes the tree along when we are killed.

mod drive;
mod pid_file;
mod service;
mod signals;
mod state;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ValueEnum;
use proc_core::Signal;

use crate::args::{Limit, limit, no_limit_at_zero};
use crate::context::Context;
use crate::error::Outcome;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// End it after this time; 0 and `none` are never
    #[arg(long, value_name = "DURATION", value_parser = no_limit_at_zero, allow_hyphen_values = true)]
    timeout: Option<Limit>,
    /// What it gets first at a timeout
    #[arg(long, short, value_name = "SIGNAL", default_value = "TERM")]
    signal: Signal,
    /// Time before KILL; `none` is never
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "5s", allow_hyphen_values = true)]
    grace: Limit,
    /// After a timeout, end with the command's own code instead of 124 or 137
    #[arg(long)]
    preserve_status: bool,
    /// Stay in the caller's process group, so that it can use the terminal
    #[arg(long)]
    foreground: bool,
    /// Which ends are followed by a restart
    #[arg(long, value_name = "MODE", default_value = "never")]
    restart: Mode,
    /// Give up after so many restarts; `none` is never
    #[arg(long, value_name = "N")]
    max_restarts: Option<String>,
    /// The first delay before a restart
    #[arg(long, value_name = "DURATION", value_parser = duration_text)]
    delay: Option<String>,
    /// The longest delay before a restart
    #[arg(long, value_name = "DURATION", value_parser = duration_text)]
    max_delay: Option<String>,
    /// Exact delays
    #[arg(long)]
    no_jitter: bool,
    /// Try so often again when it fails within --start-seconds
    #[arg(long, value_name = "N")]
    retry: Option<u32>,
    /// How long it must stay up to count as started
    #[arg(long, value_name = "DURATION", value_parser = duration_text)]
    start_seconds: Option<String>,
    /// A name for prefixes, events and PROC_NAME, instead of the program's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Environment variable; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Environment file; repeatable, later files override
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Start with an empty environment
    #[arg(long)]
    clear_env: bool,
    /// Run as this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Run as this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Mode bits that new files do not get
    #[arg(long, value_name = "MODE")]
    umask: Option<String>,
    /// Niceness, from -20 to 19
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    nice: Option<i32>,
    /// Resource limit such as `nofile=1024`; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    limit: Vec<(String, String)>,
    /// Write the command's pid here, and remove it at the end
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Append its output to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prefix", "timestamps"])]
    output: Option<PathBuf>,
    /// Begin each line with the name
    #[arg(long)]
    prefix: bool,
    /// Begin each line with the time
    #[arg(long)]
    timestamps: bool,
    /// Command around start or stop, such as `pre_start=./migrate`; repeatable
    #[arg(long, value_name = "PHASE=CMD", value_parser = pair)]
    hook: Vec<(String, String)>,
    /// Ready when this address accepts connections
    #[arg(long, value_name = "ADDR", group = "ready")]
    ready_tcp: Option<String>,
    /// Ready when this URL answers
    #[arg(long, value_name = "URL", group = "ready")]
    ready_http: Option<String>,
    /// Ready when this command succeeds
    #[arg(long, value_name = "CMD", group = "ready")]
    ready_exec: Option<String>,
    /// Ready when a line of its output matches; we copy the output then
    #[arg(long, value_name = "REGEX", group = "ready", conflicts_with = "output")]
    ready_log: Option<String>,
    /// Ready when this file exists
    #[arg(long, value_name = "PATH", group = "ready")]
    ready_file: Option<String>,
    /// Open this socket for it (LISTEN_FDS), such as `tcp:127.0.0.1:8080`; repeatable
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Its children in the background may outlive it
    #[arg(long)]
    detach_allowed: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Which ends are followed by a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Never,
    OnFailure,
    Always,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let state = state::PrivateState::make()?;
    let service = service::load(context, args)?;
    drive::run(context, args, service, &state)
}

/// Reads `KEY=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Checks that a text is a duration; the configuration reads it again.
fn duration_text(text: &str) -> Result<String, proc_spec::UnitError> {
    proc_spec::parse_duration(text).map(|_| text.to_owned())
}
