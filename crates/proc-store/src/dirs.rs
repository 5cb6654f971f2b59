//! Where state and sockets live: a function of the user and of an environment passed in.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directories of one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectDirs {
    /// Records, logs and the journal; survives a reboot.
    pub state: PathBuf,
    /// Sockets; need not survive a reboot.
    pub runtime: PathBuf,
}

/// An environment that tells no place for state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither `XDG_STATE_HOME` nor `HOME` names an absolute directory")]
pub struct NoHomeError;

/// Returns the directories of `project` for the user `uid`.
///
/// With `state_dir` that directory is the project's state and its `run` the runtime directory.
///
/// # Errors
/// [`NoHomeError`] where the environment names no place and `state_dir` is absent.
pub fn project_dirs(
    uid: u32,
    env: &BTreeMap<String, String>,
    project: &str,
    state_dir: Option<&Path>,
) -> Result<ProjectDirs, NoHomeError> {
    if let Some(state) = state_dir {
        return Ok(ProjectDirs {
            state: state.to_owned(),
            runtime: state.join("run"),
        });
    }
    Ok(ProjectDirs {
        state: state_dir_of(uid, env, project)?,
        runtime: runtime_dir(uid, env, project),
    })
}

/// Returns `$XDG_STATE_HOME/proc/PROJECT`, by default below `$HOME/.local/state`; for root
/// `/var/lib/proc/PROJECT` whatever the environment says.
///
/// # Errors
/// [`NoHomeError`] where the environment names no place.
pub fn state_dir_of(
    uid: u32,
    env: &BTreeMap<String, String>,
    project: &str,
) -> Result<PathBuf, NoHomeError> {
    if uid == 0 {
        return Ok(Path::new("/var/lib/proc").join(project));
    }
    let base = absolute(env, "XDG_STATE_HOME")
        .or_else(|| Some(absolute(env, "HOME")?.join(".local/state")))
        .ok_or(NoHomeError)?;
    Ok(base.join("proc").join(project))
}

/// Returns `$XDG_RUNTIME_DIR/proc/PROJECT`, for root `/run/proc/PROJECT`, else
/// `/tmp/proc-UID/PROJECT`, whose owner [`ensure_private`] checks.
pub fn runtime_dir(uid: u32, env: &BTreeMap<String, String>, project: &str) -> PathBuf {
    runtime_base(uid, env).join(project)
}

/// Returns the directory of the registry of daemons: `.registry` beside the projects' runtime
/// directories, a name that no project can have.
pub fn registry_dir(uid: u32, env: &BTreeMap<String, String>) -> PathBuf {
    runtime_base(uid, env).join(".registry")
}

fn runtime_base(uid: u32, env: &BTreeMap<String, String>) -> PathBuf {
    if uid == 0 {
        return PathBuf::from("/run/proc");
    }
    absolute(env, "XDG_RUNTIME_DIR").map_or_else(
        || PathBuf::from(format!("/tmp/proc-{uid}")),
        |base| base.join("proc"),
    )
}

/// Returns the variable if it names an absolute path; the XDG rules ignore others.
fn absolute(env: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    env.get(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// A directory that cannot be private.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// It cannot be created or looked at.
    #[error("cannot open the directory `{path}`")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something else is in its place, such as a file or a symbolic link.
    #[error("`{path}` is not a directory")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// It is a directory that users share, such as `/tmp` itself.
    #[error("the directory `{path}` is shared by all users")]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[error("the directory `{path}` belongs to uid {owner}, not to uid {uid}")]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        uid: u32,
    },
}

/// Creates `path` and its missing parents with mode 0700, and makes sure that it is a real
/// directory (no symbolic link) of the user `uid` that nobody else can enter.
///
/// A directory directly below the world-writable `/tmp` is checked likewise where it is a parent
/// of `path`, so that nobody can lie in wait there.
///
/// # Errors
/// See [`DirError`]; a directory that was created stays.
pub fn ensure_private(path: impl AsRef<Path>, uid: u32) -> Result<(), DirError> {
    let path = path.as_ref();
    for parent in shared_parents(path) {
        private(&parent, uid)?;
    }
    create(path)?;
    private(path, uid)
}

/// Returns the ancestors of `path` whose own parent anybody may write to (such as `/tmp`).
fn shared_parents(path: &Path) -> Vec<PathBuf> {
    let shared =
        |dir: &Path| std::fs::metadata(dir).is_ok_and(|meta| meta.mode() & 0o1002 == 0o1002);
    let mut found: Vec<PathBuf> = path
        .ancestors()
        .skip(1)
        .filter(|dir| dir.parent().is_some_and(shared) && looks_fallback(dir))
        .map(Path::to_owned)
        .collect();
    found.reverse();
    found
}

/// Returns whether `dir` is one of our own fallback directories: `proc-` and a user's number, nothing else.
fn looks_fallback(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str());
    let uid = name.and_then(|name| name.strip_prefix("proc-"));
    uid.is_some_and(|uid| !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit()))
}

fn create(path: &Path) -> Result<(), DirError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| io_error(path, source))
}

/// Creates one directory if needed and checks its kind, owner and mode.
fn private(path: &Path, uid: u32) -> Result<(), DirError> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io_error(path, error));
        }
        _ => {}
    }
    let meta = std::fs::symlink_metadata(path).map_err(|source| io_error(path, source))?;
    if !meta.is_dir() {
        return Err(DirError::NotADirectory {
            path: path.to_owned(),
        });
    }
    if meta.uid() != uid {
        return Err(DirError::Owner {
            path: path.to_owned(),
            owner: meta.uid(),
            uid,
        });
    }
    if meta.mode() & 0o1000 != 0 {
        return Err(DirError::Shared {
            path: path.to_owned(),
        });
    }
    if meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700))
        .map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> DirError {
    match source.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => DirError::NotADirectory {
            path: path.to_owned(),
        },
        _ => DirError::Io {
            path: path.to_owned(),
            source,
        },
    }
}
