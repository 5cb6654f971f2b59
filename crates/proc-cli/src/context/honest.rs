//! What a backend or this machine cannot do is said before anything starts.

use proc_backends::{audit_host, audit_project};
use proc_core::caps::Capabilities;
use proc_spec::{ConfigErrors, Project};

use super::failure;
use crate::error::CliError;

/// Returns what the project's backends, and this machine, do less well than it is written, a line each.
///
/// # Errors
///
/// Code 2 with the line of every key that a backend cannot honour at all.
pub(crate) fn honest(project: &Project) -> Result<Vec<String>, CliError> {
    let audited = audit_project(project);
    if audited.refusals.is_empty() {
        let root = rustix::process::geteuid().is_root();
        let here = audit_host(project, root, Capabilities::probe);
        let weaker = audited.downgrades.iter().chain(&here);
        return Ok(weaker.map(ToString::to_string).collect());
    }
    Err(failure::of_config(ConfigErrors {
        errors: audited.refusals,
        not_found: false,
    }))
}
