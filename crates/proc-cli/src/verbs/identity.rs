//! `proc identity PID`: the record by which a process is known later.

use proc_core::{Identity, IdentityError, OpenOptions};

use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The process
    pid: u32,
}

pub(crate) fn run(args: Args) -> Outcome {
    render::json(&of(args.pid)?)?;
    Ok(exit::OK)
}

/// Returns the identity of a process; code 4 when there is none.
pub(crate) fn of(pid: u32) -> Result<Identity, CliError> {
    Identity::of(pid).map_err(|error| {
        let code = match error {
            IdentityError::NotFound { .. } => exit::UNKNOWN,
            IdentityError::NotInspectable { .. } => exit::FAILED,
        };
        CliError::chain(code, &error)
    })
}

/// How a record from the command line is opened: it may have been put together from two.
pub(crate) const EVERY_FIELD: OpenOptions = OpenOptions {
    force_step: None,
    every_field: true,
};

/// Reads an identity from the command line; malformed JSON is a usage error.
pub(crate) fn parse(text: &str) -> Result<Identity, String> {
    serde_json::from_str(text).map_err(|error| format!("not an identity record: {error}"))
}
