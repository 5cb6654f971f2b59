//! Other crates' errors as failures: the one place that picks their exit codes.

use proc_spec::ConfigErrors;

use crate::error::CliError;
use crate::exit;

/// A configuration that cannot be used: code 2, one `error:` per mistake.
pub(crate) fn of_config(errors: ConfigErrors) -> CliError {
    let missing = errors.not_found;
    let messages = errors.errors.iter().map(ToString::to_string).collect();
    let failure = CliError::many(exit::USAGE, messages);
    if missing {
        failure.hint("proc new")
    } else {
        failure
    }
}
