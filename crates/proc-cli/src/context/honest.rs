//! What a backend cannot do is said before anything starts.

use proc_backends::{Level, audit};
use proc_spec::{ConfigErrors, Project};

use super::failure;
use crate::error::CliError;

/// Adds every downgrade to the project's warnings.
///
/// # Errors
///
/// Code 2 with the line of every key that a backend cannot honour at all.
pub(crate) fn honest(mut project: Project) -> Result<Project, CliError> {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for service in &project.services {
        for finding in audit(service) {
            let key = format!("service.{}.{}", service.name, finding.key);
            let backend = service.backend.as_str();
            match finding.level {
                Level::Refusal => {
                    let message =
                        format!("not possible with backend `{backend}`: {}", finding.message);
                    errors.push(project.error_at(&key, message));
                }
                Level::Downgrade => {
                    let message = format!("weaker with backend `{backend}`: {}", finding.message);
                    warnings.push(project.error_at(&key, message));
                }
            }
        }
    }
    if errors.is_empty() {
        project.warnings.extend(warnings);
        return Ok(project);
    }
    let errors = ConfigErrors {
        errors,
        not_found: false,
    };
    Err(failure::of_config(errors))
}
