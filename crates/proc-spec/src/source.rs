//! The files a configuration is read from, and where in them a byte is.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{ConfigError, Position};

/// The largest file that is read as configuration.
pub(crate) const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A place in one of the [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    pub(crate) source: usize,
    pub(crate) offset: usize,
}

/// One file that was read.
pub(crate) struct Source {
    /// As shown to the user.
    pub(crate) shown: PathBuf,
    pub(crate) text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// Shows the name only: the text may hold secrets.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&self.shown).finish()
    }
}

impl Source {
    fn position(&self, offset: usize) -> Position {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines[line - 1];
        // A line may be the whole file; a column beyond this helps nobody.
        let rest = &self.text[start..];
        let column = rest
            .char_indices()
            .take(10_000)
            .take_while(|(at, _)| start + at < offset)
            .count();
        Position {
            line,
            column: column + 1,
        }
    }
}

/// All files that were read, in order.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) list: Vec<Source>,
}

impl Sources {
    pub(crate) fn add(&mut self, shown: PathBuf, text: String) -> usize {
        let breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        self.list.push(Source { shown, text, lines });
        self.list.len() - 1
    }

    /// The file and the position; what is not in a file stands on the command line.
    pub(crate) fn place(&self, at: Origin) -> (PathBuf, Position) {
        self.list.get(at.source).map_or_else(
            || {
                (
                    PathBuf::from("command line"),
                    Position { line: 1, column: 1 },
                )
            },
            |source| (source.shown.clone(), source.position(at.offset)),
        )
    }

    pub(crate) fn error(
        &self,
        at: Origin,
        key: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> ConfigError {
        let (file, at) = self.list.get(at.source).map_or_else(
            || {
                (
                    PathBuf::from("command line"),
                    Position { line: 1, column: 1 },
                )
            },
            |source| (source.shown.clone(), source.position(at.offset)),
        );
        ConfigError {
            file,
            at,
            key: key.into(),
            message: message.into(),
            hint,
        }
    }
}

/// Counts the line and column of a byte offset.
pub(crate) fn position(text: &str, offset: usize) -> Position {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line: before.bytes().filter(|b| *b == b'\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// Reads a configuration file: a regular file, bounded, valid UTF-8 and without NUL bytes.
pub(crate) fn read(path: &Path, shown: &Path) -> Result<String, ConfigError> {
    let text = String::from_utf8(read_bytes(path, shown)?).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
        fail(
            shown,
            position(&before, good),
            "is not text: invalid UTF-8",
            None,
        )
    })?;
    match text.find('\0') {
        Some(nul) => Err(fail(
            shown,
            position(&text, nul),
            "is not text: it has a NUL byte",
            None,
        )),
        None => Ok(text),
    }
}

/// Reads a regular file of at most [`MAX_BYTES`]. Opened without blocking, so that a FIFO is refused rather than
/// waited for.
pub(crate) fn read_bytes(path: &Path, shown: &Path) -> Result<Vec<u8>, ConfigError> {
    let start = Position { line: 1, column: 1 };
    let cannot = |error: std::io::Error| {
        fail(
            shown,
            start,
            &format!("cannot be read: {}", plain(&error)),
            None,
        )
    };
    let regular = |kind: std::fs::FileType| match kind {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(fail(shown, start, "is a directory, not a file", None)),
        _ => {
            let hint = "a FIFO, socket or device is never read as configuration";
            Err(fail(shown, start, "is not a regular file", Some(hint)))
        }
    };
    // A device may act on being opened, so look before opening; the check after it is the one that counts.
    regular(std::fs::metadata(path).map_err(cannot)?.file_type())?;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(cannot)?;
    regular(file.metadata().map_err(cannot)?.file_type())?;
    let mut bytes = Vec::new();
    file.by_ref()
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(fail(shown, start, "is larger than 4MiB", None));
    }
    Ok(bytes)
}

fn fail(shown: &Path, at: Position, message: &str, hint: Option<&str>) -> ConfigError {
    ConfigError {
        file: shown.to_owned(),
        at,
        key: String::new(),
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    }
}

/// The system's words for an error, without "(os error 2)".
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let text = "a = 1\nü = 2\n";
        for (offset, line, column) in [
            (0, 1, 1),
            (4, 1, 5),
            (6, 2, 1),
            (8, 2, 2),
            (9, 2, 3),
            (99, 3, 1),
        ] {
            assert_eq!(
                position(text, offset),
                Position { line, column },
                "{offset}"
            );
        }
        assert_eq!(
            position(text, 7),
            Position { line: 2, column: 1 },
            "inside a character"
        );
    }
}
