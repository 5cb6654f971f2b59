//! Tables: columns without borders, cut to the terminal's width.

use std::io::{IsTerminal, Write};

use anstyle::Style;

use super::escape;
use crate::error::CliError;

/// A table of escaped cells with a header line.
pub(crate) struct Table {
    inner: comfy_table::Table,
}

impl Table {
    /// Makes a table with the given column titles.
    pub(crate) fn new(titles: &[&str]) -> Table {
        let mut inner = comfy_table::Table::new();
        inner.load_style(comfy_table::presets::NOTHING);
        inner.set_header(titles.iter().map(|title| title.to_uppercase()));
        for column in inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Table { inner }
    }

    /// Adds a row of plain cells.
    pub(crate) fn row<I, S>(&mut self, cells: I)
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        self.inner.add_row(
            cells
                .into_iter()
                .map(|cell| escape(cell.as_ref()).into_owned()),
        );
    }

    /// Returns the table's lines, `column` coloured by `style_of` its text.
    pub(crate) fn lines(&self, column: usize, style_of: fn(&str) -> Style) -> Vec<String> {
        let text = self
            .inner
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>();
        let Some(start) = self.offset_of(column) else {
            return text;
        };
        let color = |line: String| color_word(&line, start, style_of);
        text.into_iter()
            .enumerate()
            .map(|(i, line)| if i == 0 { line } else { color(line) })
            .collect()
    }

    /// Writes the table to stdout.
    ///
    /// # Errors
    ///
    /// When stdout cannot be written.
    pub(crate) fn print(&self) -> Result<(), CliError> {
        let mut out = anstream::stdout().lock();
        for line in self.inner.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn offset_of(&self, column: usize) -> Option<usize> {
        let widths = self.inner.column_max_content_widths();
        (column < widths.len()).then(|| {
            widths[..column]
                .iter()
                .map(|width| usize::from(*width) + 2)
                .sum()
        })
    }
}

/// Colours the word of `line` that begins at display column `start`; other lines stay as they are.
fn color_word(line: &str, start: usize, style_of: fn(&str) -> Style) -> String {
    let Some((offset, _)) = line.char_indices().nth(start) else {
        return line.to_owned();
    };
    let (head, rest) = line.split_at(offset);
    let end = rest.find(' ').unwrap_or(rest.len());
    let (word, tail) = rest.split_at(end);
    let style = style_of(word);
    format!("{head}{style}{word}{style:#}{tail}")
}

/// Returns whether stdout is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
