//! Where a program is, for managers that want its absolute path.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::error::StartError;
use crate::spec::InstanceSpec;

/// Finds a program as the service's own `PATH` would.
///
/// # Errors
/// When there is none, or none that can be executed.
pub(crate) fn find(spec: &InstanceSpec) -> Result<PathBuf, StartError> {
    let first = spec.argv.first().cloned().unwrap_or_default();
    let program = first.to_string_lossy().into_owned();
    let not_found = || StartError::NotFound {
        program: program.clone(),
    };
    if first.is_empty() {
        return Err(not_found());
    }
    if first.as_bytes().contains(&b'/') {
        return Ok(spec.cwd.join(&first));
    }
    let path = spec.env.iter().find(|(name, _)| name == "PATH");
    let dirs = path.map_or_else(
        || "/usr/local/bin:/usr/bin:/bin".into(),
        |(_, value)| value.clone(),
    );
    std::env::split_paths(&dirs)
        .map(|dir| spec.cwd.join(dir).join(&first))
        .find(|file| {
            file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
        })
        .ok_or_else(not_found)
}
