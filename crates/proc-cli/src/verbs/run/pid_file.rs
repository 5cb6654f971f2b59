//! `--pid-file`: the command's pid, for others to read while it runs.

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
    /// Takes a path that no living process has.
    ///
    /// # Errors
    ///
    /// Code 1 when a process that lives is named in it, 125 when it cannot be read.
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
            Ok(_) => Ok(CommandPid {
                path: path.to_owned(),
                written: None,
            }),
            Err(error) => Err(CliError::new(
                exit::NOT_RUN,
                format!("cannot read `{}`: {error}", path.display()),
            )),
        }
    }

    /// Writes the pid of a new run.
    pub(super) fn follow(&mut self, pid: Option<u32>) {
        if pid.is_none() || pid == self.written {
            return;
        }
        let line = pid.map(|pid| format!("{pid}\n")).unwrap_or_default();
        match atomic::write(&self.path, line.as_bytes(), 0o644) {
            Ok(_) => self.written = pid,
            Err(error) => render::error_line(&format!(
                "cannot write `{}`: {error}; the command goes on",
                self.path.display()
            )),
        }
    }
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
