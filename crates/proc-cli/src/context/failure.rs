//! Other crates' errors as failures: the one place that picks their exit codes.

use proc_api::ClientError;
use proc_spec::ConfigErrors;

use super::Place;
use crate::error::CliError;
use crate::exit;

/// A configuration that cannot be used: code 2, one `error:` per mistake.
pub(crate) fn of_config(errors: ConfigErrors) -> CliError {
    if let (true, Some(error)) = (errors.not_found, errors.errors.first()) {
        // Nothing has a place in a file that is not there.
        let text = format!("{} {}", error.file.display(), error.message);
        return CliError::new(exit::USAGE, text).hint("proc new");
    }
    let messages = errors.errors.iter().map(ToString::to_string).collect();
    CliError::many(exit::USAGE, messages)
}

/// A request that failed: the supervisor's own code, or that there is none.
pub(crate) fn of_client(place: &Place, error: ClientError) -> CliError {
    match error {
        ClientError::NoSupervisor => no_supervisor(place),
        ClientError::Refused(problem) => {
            CliError::new(problem.code, problem.error).maybe_hint(problem.hint)
        }
        ClientError::Lost(_) => CliError::chain(exit::FAILED, &error).hint("proc status"),
        error => CliError::chain(exit::FAILED, &error),
    }
}

fn no_supervisor(place: &Place) -> CliError {
    let text = format!("no supervisor is running for project `{}`", place.project);
    CliError::new(exit::NO_SUPERVISOR, text).hint("proc up -d")
}
