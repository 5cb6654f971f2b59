//! One line of a service's output, in the form the reader asked for.

use std::collections::HashMap;
use std::io::{self, Write};

use anstyle::Style;
use proc_output::read::Entry;
use serde::Serialize;

use super::{escape_line, paint_for, timestamp};
use crate::sources::plain;

/// What each line begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineStyle {
    /// The instance's name.
    pub(crate) prefix: bool,
    /// The time it was written.
    pub(crate) timestamps: bool,
}

/// Writes log entries as lines with a prefix, as JSON lines, or as the bytes they are.
#[derive(Debug)]
pub(crate) struct LogPrinter {
    form: Form,
    /// What instances are called, where that is not the name of their log.
    names: HashMap<String, String>,
    /// Whether each line begins with its instance.
    pub(crate) prefix: bool,
    /// Whether each line begins with its time.
    pub(crate) timestamps: bool,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Raw,
    Json,
    Lines {
        width: usize,
        color: bool,
        terminal: bool,
    },
}

/// A line of `proc logs --json`.
#[derive(Serialize)]
struct JsonLine<'e> {
    at: Option<String>,
    instance: &'e str,
    stream: &'static str,
    offset: u64,
    line: std::borrow::Cow<'e, str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    /// Only of an entry that stands for bytes that are missing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_bytes: Option<u64>,
}

impl LogPrinter {
    /// Returns a printer of nothing but the bytes.
    pub(crate) fn raw() -> LogPrinter {
        LogPrinter {
            form: Form::Raw,
            names: HashMap::new(),
            prefix: false,
            timestamps: false,
        }
    }

    /// Returns a printer of JSON lines.
    pub(crate) fn json() -> LogPrinter {
        LogPrinter {
            form: Form::Json,
            names: HashMap::new(),
            prefix: false,
            timestamps: false,
        }
    }

    /// Returns a printer of lines with prefixes as wide as the longest name, for `stream`.
    pub(crate) fn lines<'n, S>(names: impl Iterator<Item = &'n str>, stream: &S) -> LogPrinter
    where
        S: anstream::stream::RawStream,
    {
        let width = names.map(|name| plain(name).len()).max().unwrap_or(0);
        let color = anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never;
        let terminal = stream.is_terminal();
        LogPrinter {
            form: Form::Lines {
                width,
                color,
                terminal,
            },
            names: HashMap::new(),
            prefix: true,
            timestamps: false,
        }
    }

    /// Begins each line as asked.
    pub(crate) fn styled(self, style: LineStyle) -> LogPrinter {
        LogPrinter {
            prefix: style.prefix,
            timestamps: style.timestamps,
            ..self
        }
    }

    /// Calls the instance of this log by another name.
    pub(crate) fn call(&mut self, log: &str, name: &str) {
        self.names.insert(log.to_owned(), name.to_owned());
        self.make_room(name);
    }

    fn name_of<'s>(&'s self, entry: &'s Entry) -> &'s str {
        let known = self.names.get(&*entry.instance).map(String::as_str);
        known.unwrap_or_else(|| plain(&entry.instance))
    }

    /// Widens the prefix for a name that came later.
    pub(crate) fn make_room(&mut self, name: &str) {
        if let Form::Lines { width, .. } = &mut self.form {
            *width = (*width).max(name.len());
        }
    }

    /// Writes one entry.
    ///
    /// # Errors
    ///
    /// When `out` cannot be written.
    pub(crate) fn write(&self, out: &mut impl Write, entry: &Entry) -> io::Result<()> {
        match self.form {
            Form::Raw => out.write_all(&entry.bytes),
            Form::Json => json(out, entry, self.name_of(entry)),
            Form::Lines {
                width,
                color,
                terminal,
            } => {
                self.begin(out, entry, width, color)?;
                if entry.is_gap() {
                    let style = if color {
                        Style::new().dimmed()
                    } else {
                        Style::new()
                    };
                    let bytes = entry.dropped_bytes;
                    writeln!(out, "{style}[{bytes} bytes dropped]{style:#}")
                } else if terminal {
                    writeln!(out, "{}", escape_line(entry.text()))
                } else {
                    out.write_all(entry.text())?;
                    out.write_all(b"\n")
                }
            }
        }
    }

    fn begin(
        &self,
        out: &mut impl Write,
        entry: &Entry,
        width: usize,
        color: bool,
    ) -> io::Result<()> {
        if self.timestamps {
            write!(
                out,
                "{} ",
                entry.at.map_or_else(|| "-".to_owned(), timestamp)
            )?;
        }
        if self.prefix {
            let name = self.name_of(entry);
            let style = if color { paint_for(name) } else { Style::new() };
            write!(out, "{style}{name:<width$} |{style:#} ")?;
        }
        Ok(())
    }
}

fn json(out: &mut impl Write, entry: &Entry, instance: &str) -> io::Result<()> {
    let line = JsonLine {
        at: entry.at.map(timestamp),
        instance,
        stream: entry.stream.name(),
        offset: entry.offset,
        line: String::from_utf8_lossy(entry.text()),
        cut: entry.cut,
        dropped_bytes: entry.is_gap().then_some(entry.dropped_bytes),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use proc_output::Stream;

    use super::*;

    #[test]
    fn a_gap_is_shown_where_it_is_and_is_no_byte() {
        let gap = Entry {
            instance: "web~b".into(),
            stream: Stream::Stdout,
            offset: 10,
            at: Some(0),
            bytes: Vec::new(),
            continued: false,
            cut: false,
            dropped_bytes: 4096,
        };
        let write = |printer: &LogPrinter| {
            let mut out = Vec::new();
            printer.write(&mut out, &gap).expect("memory takes it");
            String::from_utf8(out).expect("text")
        };
        let mut lines = LogPrinter {
            form: Form::Lines {
                width: 0,
                color: false,
                terminal: false,
            },
            ..LogPrinter::raw()
        };
        lines.prefix = true;
        assert_eq!(write(&lines), "web | [4096 bytes dropped]\n");
        lines.call("web~b", "web-1");
        assert_eq!(write(&lines), "web-1 | [4096 bytes dropped]\n");
        assert_eq!(write(&LogPrinter::raw()), "");
        let line: serde_json::Value =
            serde_json::from_str(&write(&LogPrinter::json())).expect("JSON");
        assert_eq!(line["dropped_bytes"], 4096);
        assert_eq!(line["instance"], "web");
    }
}
