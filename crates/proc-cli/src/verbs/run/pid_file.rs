//! `--pid-file`: the command's pid, for others to read while it runs.

use std::io;
use std::path::{Path, PathBuf};

use proc_store::{PidFile, ReadPid, atomic};

use crate::error::CliError;
use crate::exit;
use crate::render;

/// A file that holds the command's pid while there is one.
#[derive(Debug)]
pub(super) struct CommandPid {
    path: PathBuf,
    written: Option<u32>,
}

impl CommandPid {
    /// Takes a path that no living process has. What it names of the past is gone before the command looks.
    ///
    /// # Errors
    ///
    /// Code 1 when a process that lives is named in it, 125 when it can be neither read nor written.
    pub(super) fn claim(path: &Path) -> Result<CommandPid, CliError> {
        match PidFile::read(path) {
            Ok(ReadPid::Record(record)) if record.liveness().is_alive() => {
                let text = format!(
                    "already running: `{}` names pid {}",
                    path.display(),
                    record.pid
                );
                Err(CliError::new(exit::FAILED, text))
            }
            Ok(found) => {
                make_room(path, &found).map_err(|error| cannot("write", path, &error))?;
                Ok(CommandPid {
                    path: path.to_owned(),
                    written: None,
                })
            }
            Err(error) => Err(cannot("read", path, &error)),
        }
    }

    /// Writes the pid of a new run.
    pub(super) fn follow(&mut self, pid: u32) {
        match atomic::write(&self.path, format!("{pid}\n").as_bytes(), 0o644) {
            Ok(()) => self.written = Some(pid),
            Err(error) => render::error_line(&format!(
                "cannot write `{}`: {error}; the command goes on",
                self.path.display()
            )),
        }
    }
}

/// Makes sure that the path can be written, as it is: by a new file beside it that takes its place.
fn make_room(path: &Path, found: &ReadPid) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        // A device or the like would be replaced.
        Ok(meta) if !meta.is_file() && !meta.is_symlink() => {
            return Err(io::Error::other("it is not a regular file"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(".proc-pid-")
        .tempfile_in(dir.unwrap_or(Path::new(".")))?
        .close()?;
    match found {
        ReadPid::Absent => Ok(()),
        // Replaced in a moment anyway, but the command must not read it first.
        _ => std::fs::remove_file(path),
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::new(
        exit::NOT_RUN,
        format!("cannot {what} `{}`: {error}", path.display()),
    )
}

impl Drop for CommandPid {
    /// Removes the file if it still names our command.
    fn drop(&mut self) {
        let ours = matches!(PidFile::read(&self.path), Ok(ReadPid::Record(record)) if Some(record.pid) == self.written);
        if ours {
            // Best effort: a file that stays names a dead process.
            _ = std::fs::remove_file(&self.path);
        }
    }
}
