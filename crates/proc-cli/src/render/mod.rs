//! Everything that reaches a terminal: colours, tables, escaping, times.

mod color;
mod escape;
mod event;
mod logline;
mod report;
mod status;
mod table;
mod time;

pub(crate) use color::{ColorChoice, paint_for, set_color, state_style};
pub(crate) use escape::{escape, escape_line};
pub(crate) use event::event_line;
pub(crate) use logline::{LineStyle, LogPrinter};
pub(crate) use report::{report, report_failures, survivors};
pub(crate) use status::{end, status_lines};
pub(crate) use table::{Table, stdout_is_terminal};
pub(crate) use time::{age, duration_ms, size, timestamp, until};

use std::io::Write;

use anstyle::{AnsiColor, Style};

/// Shows what the libraries trace, on stderr: warnings, and more with each `-v`. `PROC_LOG`
/// chooses instead where it is set (`proc_supervisor=trace`).
pub(crate) fn set_tracing(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("PROC_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never)
        .with_writer(std::io::stderr)
        .init();
}

/// Writes `error: …` to stderr.
pub(crate) fn error_line(message: &str) {
    labelled("error:", AnsiColor::Red, message);
}

/// Writes `hint: …` to stderr.
pub(crate) fn hint_line(message: &str) {
    labelled("hint:", AnsiColor::Cyan, message);
}

/// Writes `warning: …` to stderr.
pub(crate) fn warning_line(message: &str) {
    labelled("warning:", AnsiColor::Yellow, message);
}

/// Writes one plain line to stderr.
pub(crate) fn note(message: &str) {
    // Nobody left to tell when stderr is gone.
    let _ = writeln!(anstream::stderr(), "{}", escape(message));
}

/// Writes one line that was escaped and coloured already to stderr.
pub(crate) fn styled_note(line: &str) {
    // Nobody left to tell when stderr is gone.
    let _ = writeln!(anstream::stderr(), "{line}");
}

fn labelled(label: &str, color: AnsiColor, message: &str) {
    let style = Style::new().bold().fg_color(Some(color.into()));
    let text = escape_lines(message);
    // Nobody left to tell when stderr is gone.
    let _ = writeln!(anstream::stderr(), "{style}{label}{style:#} {text}");
}

/// Escapes foreign text but keeps its line breaks.
fn escape_lines(text: &str) -> String {
    text.lines()
        .map(|line| escape(line).into_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Writes a value as one JSON document and a newline to stdout.
///
/// # Errors
///
/// When stdout cannot be written.
pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<(), crate::error::CliError> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Writes a value as one JSON line to stderr.
pub(crate) fn json_note<T: serde::Serialize + ?Sized>(value: &T) {
    if let Ok(line) = serde_json::to_string(value) {
        // Nobody left to tell when stderr is gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Writes a value as one JSON line to stdout.
///
/// # Errors
///
/// When stdout cannot be written.
pub(crate) fn json_line<T: serde::Serialize + ?Sized>(
    value: &T,
) -> Result<(), crate::error::CliError> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}
