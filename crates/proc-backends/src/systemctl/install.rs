//! Units of ours on disk: written only when they change, removed only when they are ours.

use std::path::{Path, PathBuf};

use super::options::SystemctlOptions;
use super::target::Target;
use super::tool::Tool;
use super::unit::{self, MARKER};
use crate::error::StartError;
use crate::manager::ManagerError;
use crate::spec::InstanceSpec;

/// The files of a unit of ours.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) unit: PathBuf,
    pub(crate) environment: PathBuf,
}

impl Files {
    pub(crate) fn of(options: &SystemctlOptions, target: &Target, instance: &str) -> Self {
        Self {
            unit: options.units(target.user).join(&target.unit),
            environment: options.records(instance).join("environment"),
        }
    }
}

/// Brings the unit of an instance up to its spec. Returns what could not be passed on.
pub(crate) async fn install(
    tool: &Tool<'_>,
    spec: &InstanceSpec,
) -> Result<Vec<String>, StartError> {
    let refused = |source| StartError::Manager {
        instance: spec.instance.clone(),
        source,
    };
    let options = tool.options;
    let files = Files::of(options, tool.target, &spec.instance);
    let program = crate::program::find(spec)?;
    let text = unit::render(
        spec,
        &program,
        &files.environment,
        &options.state_dir,
        tool.target.user,
    )?;
    let changed =
        write_unit(&files.unit, &spec.instance, &options.state_dir, &text.unit).map_err(refused)?;
    write(&files.environment, text.environment.as_bytes(), 0o600).map_err(refused)?;
    let stale = !changed && tool.show().await.map_err(refused)?.stale;
    if changed || stale {
        tool.daemon_reload().await.map_err(refused)?;
    }
    let facts = tool.show().await.map_err(refused)?;
    let same = same_file(Path::new(&facts.fragment), &files.unit);
    if facts.load == "loaded" && !same {
        return Err(refused(ManagerError::NotOurs {
            path: facts.fragment,
            reason: format!("it takes precedence over `{}`", files.unit.display()),
        }));
    }
    Ok(text.downgrades)
}

fn same_file(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    a == b || real(a) == real(b)
}

/// Writes the unit unless it is there; says whether it did.
fn write_unit(
    path: &Path,
    instance: &str,
    state_dir: &Path,
    text: &str,
) -> Result<bool, ManagerError> {
    match std::fs::read_to_string(path) {
        Ok(present) if present == text => return Ok(false),
        Ok(present) => check_marker(path, &present, instance, state_dir)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(ManagerError::Write {
                path: path.display().to_string(),
                source,
            });
        }
    }
    write(path, text.as_bytes(), 0o644)?;
    Ok(true)
}

fn check_marker(
    path: &Path,
    present: &str,
    instance: &str,
    state_dir: &Path,
) -> Result<(), ManagerError> {
    let first = present.lines().next().unwrap_or_default();
    if first == unit::marker(instance, state_dir) {
        return Ok(());
    }
    let reason = match first.strip_prefix(MARKER) {
        Some(whose) => format!("it was written for{whose}"),
        None => "it was written by somebody else".to_owned(),
    };
    Err(ManagerError::NotOurs {
        path: path.display().to_string(),
        reason,
    })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ManagerError> {
    let failed = |source| ManagerError::Write {
        path: path.display().to_string(),
        source,
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    proc_store::atomic::write(path, bytes, mode)
        .map_err(|error| failed(std::io::Error::new(error.io().kind(), error.to_string())))
}

/// Removes the unit of an instance if it is ours.
pub(crate) async fn remove(tool: &Tool<'_>, instance: &str) -> Result<(), ManagerError> {
    let files = Files::of(tool.options, tool.target, instance);
    let Ok(present) = std::fs::read_to_string(&files.unit) else {
        return Ok(());
    };
    check_marker(&files.unit, &present, instance, &tool.options.state_dir)?;
    std::fs::remove_file(&files.unit).map_err(|source| ManagerError::Write {
        path: files.unit.display().to_string(),
        source,
    })?;
    tool.daemon_reload().await?;
    // A failed unit stays known without its file; it is nothing to be reported if it was not failed.
    let _not_failed = tool.reset_failed().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_file_is_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p-web.service");
        let state = Path::new("/s");
        let ours = format!("{}\n[Unit]\n", unit::marker("web", state));
        assert!(write_unit(&path, "web", state, &ours).unwrap());
        assert!(!write_unit(&path, "web", state, &ours).unwrap());
        assert!(write_unit(&path, "web", state, &format!("{ours}# changed\n")).unwrap());
        let error = write_unit(&path, "web", Path::new("/other"), "x").unwrap_err();
        assert!(error.to_string().contains("not ours"), "{error}");
        std::fs::write(&path, "[Service]\nExecStart=/bin/true\n").unwrap();
        let error = write_unit(&path, "web", state, &ours).unwrap_err();
        assert!(error.to_string().contains("somebody else"), "{error}");
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains("/bin/true")
        );
    }
}
