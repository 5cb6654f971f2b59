//! `proc.toml` from what other supervisors read, with a report of what could not be carried over.

mod draft;
mod ini;
mod literals;
mod pm2;
mod process_compose;
mod procfile;
mod supervisord;
mod systemd;
mod tree;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::source::read;

/// A format that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImportFormat {
    /// `name: command` lines.
    Procfile,
    /// `supervisord.conf`, its includes resolved.
    Supervisord,
    /// A unit file, or several in a directory.
    Systemd,
    /// An ecosystem file of pm2: JSON, YAML, or JavaScript that computes nothing.
    Pm2,
    /// `process-compose.yaml`, what it extends resolved.
    ProcessCompose,
}

impl ImportFormat {
    /// Every format, in the order of the help.
    pub const ALL: [Self; 5] = [
        Self::Procfile,
        Self::Supervisord,
        Self::Pm2,
        Self::ProcessCompose,
        Self::Systemd,
    ];

    /// Returns the word for it on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Procfile => "procfile",
            Self::Supervisord => "supervisord",
            Self::Systemd => "systemd",
            Self::Pm2 => "pm2",
            Self::ProcessCompose => "process-compose",
        }
    }
}

impl FromStr for ImportFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| UnknownFormat(text.escape_debug().to_string()))
    }
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known format")]
pub struct UnknownFormat(pub(crate) String);

/// Something that could not be carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The file it stands in.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// Its key: `program:web.stopasgroup`.
    pub key: String,
    /// What became of it.
    pub why: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |text: &str| text.escape_debug().to_string();
        write!(
            f,
            "{}:{}: {}: {}",
            self.file.display(),
            self.line,
            escape(&self.key),
            self.why
        )
    }
}

/// An imported project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The `proc.toml`.
    pub toml: String,
    /// What is not in it.
    pub losses: Vec<Loss>,
}

/// Why nothing could be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", file.display())]
pub struct ImportError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads `path` (for systemd also a directory of units) and writes it as `proc.toml`.
///
/// # Errors
/// [`ImportError`] when a file cannot be read or parsed, or has nothing to import.
pub fn import(format: ImportFormat, path: &Path) -> Result<Imported, ImportError> {
    match format {
        ImportFormat::Procfile => procfile::import(path),
        ImportFormat::Supervisord => supervisord::import(path),
        ImportFormat::Systemd => systemd::import(path),
        ImportFormat::Pm2 => pm2::import(path),
        ImportFormat::ProcessCompose => process_compose::import(path),
    }
}

fn read_file(path: &Path) -> Result<String, ImportError> {
    read(path, path).map_err(|error| ImportError {
        file: error.file,
        line: error.at.line,
        message: error.message,
    })
}

fn nothing(path: &Path, what: &str) -> ImportError {
    ImportError {
        file: path.to_owned(),
        line: 1,
        message: format!("has no {what}"),
    }
}
