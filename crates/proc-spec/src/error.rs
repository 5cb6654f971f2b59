//! What is wrong with a configuration, and exactly where.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// A line and a column in a file, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// One thing that is wrong: the place, the key and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as the user would name it.
    pub file: PathBuf,
    /// Where in the file.
    pub at: Position,
    /// The key's path, `service.api.instances`; empty where no key is concerned.
    pub key: String,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.to_string_lossy();
        write!(f, "{}:{}:{}: ", plain(&file), self.at.line, self.at.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", plain(&self.key))?;
        }
        f.write_str(&plain(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {}", plain(hint)),
            None => Ok(()),
        }
    }
}

/// Escapes what would move a terminal's cursor: most of an error is foreign text.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| {
        if c.is_control() {
            c.escape_debug().to_string()
        } else {
            c.to_string()
        }
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Everything that is wrong with a configuration, in the order of the files.
///
/// Displayed as one `file:line:column: key: message` a line, a hint on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The errors; never empty.
    pub errors: Vec<ConfigError>,
    /// No configuration was found at all, rather than a wrong one.
    pub not_found: bool,
}

impl ConfigErrors {
    /// The most that are kept: a broken file need not fill the screen.
    pub const MOST: usize = 50;

    pub(crate) fn new(errors: Vec<ConfigError>) -> Self {
        let mut seen = BTreeSet::new();
        let mut errors: Vec<ConfigError> = errors
            .into_iter()
            .filter(|error| seen.insert((error.file.clone(), error.at, error.message.clone())))
            .collect();
        errors.truncate(Self::MOST);
        Self {
            errors,
            not_found: false,
        }
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self {
            errors: vec![error],
            not_found: false,
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
