//! What a verb fails with: a message, the next command to type, and the exit code.

use std::error::Error;
use std::fmt::Display;
use std::io;

use crate::exit;
use crate::render;

/// The result of a verb: the exit code, or the failure to report.
pub(crate) type Outcome = Result<u8, CliError>;

/// A failure on its way to stderr.
#[derive(Debug)]
pub(crate) struct CliError {
    code: u8,
    messages: Vec<String>,
    hint: Option<String>,
}

impl CliError {
    /// Returns its first message.
    pub(crate) fn first(&self) -> &str {
        self.messages.first().map_or("", String::as_str)
    }

    /// Makes a failure with the exit code `code`.
    pub(crate) fn new(code: u8, message: impl Display) -> CliError {
        CliError {
            code,
            messages: vec![message.to_string()],
            hint: None,
        }
    }

    /// Makes a failure from an error and everything that caused it.
    pub(crate) fn chain(code: u8, error: &(dyn Error + 'static)) -> CliError {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        CliError::new(code, text)
    }

    /// Makes a failure that prints one `error:` line per message.
    pub(crate) fn many(code: u8, messages: Vec<String>) -> CliError {
        CliError {
            code,
            messages,
            hint: None,
        }
    }

    /// Adds what followed from it, as a line of its own.
    pub(crate) fn and(mut self, message: impl Display) -> CliError {
        self.messages.push(message.to_string());
        self
    }

    /// Adds the next command worth typing.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint where there is one.
    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> CliError {
        self.hint = hint.or(self.hint);
        self
    }

    /// Returns what went wrong as one line.
    pub(crate) fn text(&self) -> String {
        self.messages.join("; ")
    }

    /// Writes `error:` and `hint:` lines to stderr and returns the exit code.
    pub(crate) fn report(&self) -> u8 {
        for message in &self.messages {
            render::error_line(message);
        }
        if let Some(hint) = &self.hint {
            render::hint_line(hint);
        }
        self.code
    }
}

impl From<io::Error> for CliError {
    /// A reader that has gone is not a failure: the verb ends quietly.
    fn from(error: io::Error) -> CliError {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return CliError::many(exit::OK, Vec::new());
        }
        CliError::chain(exit::FAILED, &error)
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> CliError {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => CliError::chain(exit::FAILED, &error),
        }
    }
}
