//! Finding a program before anything is started.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::command::Command;
use crate::run::{Finished, Run, RunError};

/// A program that was found: the absolute path of an executable file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
}

/// A program was not found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FindError {
    /// No directory of `PATH` has it.
    #[error("program `{name}` not found in PATH (`{path}`)")]
    NotInPath {
        /// The name as given.
        name: String,
        /// The `PATH` that was searched.
        path: String,
    },
    /// There is nothing at the path.
    #[error("program `{0}` not found")]
    NotFound(String),
    /// It is there, but not an executable file.
    #[error("`{0}` is not an executable file")]
    NotExecutable(String),
}

impl Program {
    /// Finds a program: a path if `name` holds a `/`, else the first executable file of that name
    /// in the `PATH` of this process. An empty entry of `PATH` is skipped, not taken for the
    /// working directory.
    ///
    /// # Errors
    /// Says what was looked for and where.
    pub fn find(name: impl AsRef<OsStr>) -> Result<Self, FindError> {
        Program::find_in(name.as_ref(), std::env::var_os("PATH").as_deref())
    }

    /// Finds a program in a `PATH` given by the caller.
    ///
    /// # Errors
    /// Says what was looked for and where.
    pub fn find_in(name: &OsStr, path: Option<&OsStr>) -> Result<Self, FindError> {
        let shown = || name.to_string_lossy().into_owned();
        if name.as_bytes().contains(&b'/') {
            return match executable(Path::new(name)) {
                Some(true) => Ok(Program {
                    path: absolute(Path::new(name)),
                }),
                Some(false) => Err(FindError::NotExecutable(shown())),
                None => Err(FindError::NotFound(shown())),
            };
        }
        let path = path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
        let mut denied = None;
        if !name.is_empty() {
            for dir in std::env::split_paths(path).filter(|dir| !dir.as_os_str().is_empty()) {
                let file = dir.join(name);
                match executable(&file) {
                    Some(true) => {
                        return Ok(Program {
                            path: absolute(&file),
                        });
                    }
                    Some(false) => denied = denied.or(Some(file)),
                    None => {}
                }
            }
        }
        match denied {
            Some(file) => Err(FindError::NotExecutable(file.display().to_string())),
            None => {
                let path = path.to_string_lossy().into_owned();
                Err(FindError::NotInPath {
                    name: shown(),
                    path,
                })
            }
        }
    }

    /// Returns the absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a command that runs it.
    pub fn command(&self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Command {
        Command::new(&self.path).args(args)
    }

    /// Runs it in the working directory of this process and returns its combined output, also
    /// when it fails: look at [`Finished::success`].
    ///
    /// # Errors
    /// Only when it could not be run at all.
    pub async fn run(
        &self,
        args: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Finished, RunError> {
        Run::new(self.command(args)).run().await
    }

    /// Runs it in a directory; see [`Program::run`].
    ///
    /// # Errors
    /// Only when it could not be run at all, for example because there is no such directory.
    pub async fn run_in(
        &self,
        dir: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Finished, RunError> {
        Run::new(self.command(args).cwd(dir)).run().await
    }
}

/// Tells whether a file can be executed; `None` when there is nothing.
fn executable(file: &Path) -> Option<bool> {
    let meta = std::fs::metadata(file).ok()?;
    let allowed = rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    Some(meta.is_file() && allowed)
}

fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}
