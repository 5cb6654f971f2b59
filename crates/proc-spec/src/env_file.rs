//! Environment files: `KEY=VALUE` lines in docker compose's grammar.
//!
//! * `export KEY=VALUE`, `KEY: VALUE`, blank lines, `#` comments, a byte order mark, CRLF.
//! * Unquoted values end at the line's end or at a `#` after a blank; blanks around them are dropped. `KEY=#x` is `#x`, and
//!   `KEY= # note` is empty, as in a shell; compose itself drops the blank first and takes the note for the value.
//! * Single quotes are literal (`\'` is a quote), double quotes know `\n`, `\t`, `\"`, `\\`, `\$` and
//!   their like; both may span lines.
//! * `$X`, `${X}`, `${X:-default}`, `${X:?message}` expand outside single quotes, from the keys above
//!   in the file, then from the lookup; `$$` is a dollar sign.
//! * A bare `NAME` takes its value from the lookup, and is left out when there is none.

use crate::interpolate::{Expansion, expand_shell_like};

/// A key of an environment file, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvLine {
    /// The line the key stands on, from 1.
    pub line: usize,
    /// The key.
    pub key: String,
    /// The value after quotes and variables.
    pub value: String,
    /// The byte in the text where the key starts.
    pub(crate) offset: usize,
}

/// What is wrong with an environment file, and on which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct EnvFileError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The byte in the text.
    pub(crate) offset: usize,
}

/// Parses an environment file. Later keys override earlier ones, so collect in order.
///
/// `lookup` answers variables that the file itself has not set, and bare names.
///
/// # Errors
/// [`EnvFileError`] for an unterminated quote, a malformed key or expansion, or a `${X:?}` that is unset.
///
/// ```
/// let lines = proc_spec::parse_env_file("A=1\nB=\"${A}${C:-2}\" # note\n", |_| None).unwrap();
/// assert_eq!(lines[1].key, "B");
/// assert_eq!(lines[1].value, "12");
/// ```
pub fn parse_env_file(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<EnvLine>, EnvFileError> {
    let after_mark = text.strip_prefix('\u{feff}').unwrap_or(text);
    let shift = text.len() - after_mark.len();
    let mut parser = Parser {
        text: after_mark,
        at: 0,
        shift,
        lines: Vec::new(),
        lookup: &lookup,
    };
    while parser.skip_to_statement() {
        parser.statement()?;
    }
    Ok(parser.lines)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The length of the byte order mark.
    shift: usize,
    lines: Vec<EnvLine>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

/// Blanks inside a line.
fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, message: impl Into<String>) -> EnvFileError {
        let position = crate::source::position(self.text, at);
        EnvFileError {
            line: position.line,
            column: position.column,
            message: message.into(),
            offset: self.shift + at,
        }
    }

    /// Skips blank lines and comments; false at the end.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            if !self.rest().starts_with('#') {
                return self.at < self.text.len();
            }
            self.at = self
                .rest()
                .find('\n')
                .map_or(self.text.len(), |end| self.at + end);
        }
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
    }

    fn statement(&mut self) -> Result<(), EnvFileError> {
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.at += "export".len();
            self.skip_blanks();
        }
        let start = self.at;
        let line = crate::source::position(self.text, start).line;
        let (key, inherited) = self.key()?;
        if key.is_empty() {
            return Err(self.error(start, "a line has no key before its `=`"));
        }
        let value = if inherited {
            (self.lookup)(&key)
        } else {
            self.skip_blanks();
            Some(self.value()?)
        };
        if let Some(value) = value {
            if value.contains('\0') {
                return Err(self.error(start, format!("the value of `{key}` has a NUL byte")));
            }
            self.lines.push(EnvLine {
                line,
                key,
                value,
                offset: self.shift + start,
            });
        }
        Ok(())
    }

    /// Reads a key and the `=` or `:` after it; a key alone on its line is inherited.
    fn key(&mut self) -> Result<(String, bool), EnvFileError> {
        let start = self.at;
        let mut gap = None;
        for (offset, c) in self.rest().char_indices() {
            match c {
                '=' | ':' | '\n' => {
                    self.at = start + offset + 1;
                    let key = self.text[start..start + offset].trim_end().to_owned();
                    return Ok((key, c == '\n'));
                }
                '#' if gap.is_some() => {
                    self.at = start + offset; // `NAME # note`: the comment is skipped next.
                    return Ok((self.text[start..self.at].trim_end().to_owned(), true));
                }
                c if is_blank(c) => gap = gap.or(Some(offset)),
                c if c.is_alphanumeric() || "_.-[]".contains(c) => {
                    if gap.is_some() {
                        return Err(self.error(start, "a key cannot contain a space"));
                    }
                }
                c => {
                    let message = format!("unexpected character `{}` in a key", c.escape_debug());
                    return Err(self.error(start + offset, message));
                }
            }
        }
        self.at = self.text.len();
        Ok((self.text[start..].trim_end().to_owned(), true))
    }

    fn value(&mut self) -> Result<String, EnvFileError> {
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => self.unquoted(),
        }
    }

    fn unquoted(&mut self) -> Result<String, EnvFileError> {
        let start = self.at;
        let end = self
            .rest()
            .find('\n')
            .map_or(self.text.len(), |end| self.at + end);
        self.at = end;
        let line = &self.text[start..end];
        // The blank may be one that was skipped before the value.
        let before = |at: usize| self.text[..start + at].chars().next_back();
        let comment = line
            .char_indices()
            .find(|(at, c)| *c == '#' && before(*at).is_some_and(is_blank));
        let value = comment.map_or(line, |(at, _)| &line[..at]).trim_end();
        self.expand(value, start)
    }

    fn quoted(&mut self, quote: char) -> Result<String, EnvFileError> {
        let start = self.at;
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            if c == quote {
                self.at = start + offset + 1;
                self.after_quote()?;
                return if quote == '"' {
                    self.expand(&value, start)
                } else {
                    Ok(value)
                };
            }
            if c != '\\' {
                value.push(c);
                continue;
            }
            let Some((_, escaped)) = chars.next() else {
                break;
            };
            match escaped {
                c if c == quote => value.push(c),
                c if quote == '\'' => value.extend(['\\', c]),
                '0' => {
                    let digits: String = self.text[start + offset + 2..]
                        .chars()
                        .take(3)
                        .take_while(|c| ('0'..='7').contains(c))
                        .collect();
                    for _ in 0..digits.len() {
                        chars.next();
                    }
                    value.push(
                        u32::from_str_radix(&format!("0{digits}"), 8)
                            .ok()
                            .and_then(char::from_u32)
                            .unwrap_or('\0'),
                    );
                }
                c => match simple_escape(c) {
                    Some(text) => value.push_str(text),
                    None => value.extend(['\\', c]),
                },
            }
        }
        Err(self.error(start, "unterminated quoted value"))
    }

    /// After a closing quote only a comment or the line's end may follow.
    fn after_quote(&mut self) -> Result<(), EnvFileError> {
        self.skip_blanks();
        let rest = self.rest();
        if rest.is_empty() || rest.starts_with(['\n', '#']) {
            return Ok(());
        }
        Err(self.error(self.at, "unexpected text after a quoted value"))
    }

    fn expand(&self, value: &str, at: usize) -> Result<String, EnvFileError> {
        let find = |name: &str| {
            let own = self.lines.iter().rev().find(|line| line.key == name);
            own.map(|line| line.value.clone())
                .or_else(|| (self.lookup)(name))
        };
        match expand_shell_like(value, &find) {
            Ok(Expansion { text, .. }) => Ok(text),
            Err(problem) => Err(self.error(at, problem.message)),
        }
    }
}

/// The escapes of double quotes; `\$` becomes `$$`, which the expansion turns into a dollar sign.
fn simple_escape(c: char) -> Option<&'static str> {
    Some(match c {
        'a' => "\u{7}",
        'b' => "\u{8}",
        'f' => "\u{c}",
        'n' => "\n",
        'r' => "\r",
        't' => "\t",
        'v' => "\u{b}",
        '\\' => "\\",
        '$' => "$$",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outside(name: &str) -> Option<String> {
        matches!(name, "HOME" | "OUT").then(|| format!("<{name}>"))
    }

    fn parsed(text: &str) -> Vec<(String, String)> {
        let lines = parse_env_file(text, outside).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        lines
            .into_iter()
            .map(|line| (line.key, line.value))
            .collect()
    }

    #[test]
    fn single_lines() {
        let table: &[(&str, &str)] = &[
            ("A=1", "1"),
            ("export A=1", "1"),
            ("export\tA=1", "1"),
            ("  A = 1 ", "1"),
            ("A: 1", "1"),
            ("A=", ""),
            ("A=  # note", ""),
            ("A=\t# note", ""),
            ("A: # note", ""),
            ("A=#ff0000", "#ff0000"),
            ("A=#a # note", "#a"),
            ("A=##", "##"),
            ("A=b c", "b c"),
            ("A=b # note", "b"),
            ("A=b# no note", "b# no note"),
            ("A='b # c'", "b # c"),
            ("A=\"b # c\" # note", "b # c"),
            ("A='$HOME ${X:?}'", "$HOME ${X:?}"),
            ("A='Let\\'s go'", "Let's go"),
            ("A='a\\n'", "a\\n"),
            ("A=\"a\\nb\\tc\"", "a\nb\tc"),
            ("A=\"a\\\"b\"", "a\"b"),
            ("A=\"a\\\\n\"", "a\\n"),
            ("A=\"\\$HOME $$x\"", "$HOME $x"),
            ("A=\"\\0101\"", "A"),
            ("A=\"\\q\"", "\\q"),
            ("A=$HOME/x", "<HOME>/x"),
            ("A=${HOME}", "<HOME>"),
            ("A=${NO:-d}", "d"),
            ("A=${NO-d}", "d"),
            ("A=${HOME:+yes}", "yes"),
            ("A=${NO:-${OUT}x}", "<OUT>x"),
            ("A=$NO", ""),
            ("A=a=b", "a=b"),
            ("A.b-c[0]=1", "1"),
            ("A=\"one\ntwo\"", "one\ntwo"),
            ("A='one\r\ntwo'", "one\r\ntwo"),
            ("\u{feff}A=1\r\n", "1"),
            ("A=ü", "ü"),
        ];
        for (text, value) in table {
            let lines = parsed(text);
            assert_eq!(lines.len(), 1, "{text:?}");
            assert_eq!(lines[0].1, *value, "{text:?}");
        }
    }

    #[test]
    fn several_lines() {
        let text = "# head\r\n\r\nA=1\r\nB=$A$A\r\nOUT\nNOT_SET\nexport HOME # note\nC='x'\n";
        let expected = [
            ("A", "1"),
            ("B", "11"),
            ("OUT", "<OUT>"),
            ("HOME", "<HOME>"),
            ("C", "x"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(parsed(text), expected);
    }

    #[test]
    fn the_file_beats_the_lookup() {
        assert_eq!(parsed("HOME=mine\nA=$HOME")[1].1, "mine");
    }

    #[test]
    fn errors_name_their_line() {
        for (text, line, part) in [
            ("A=1\nB=\"x\n\ny", 2, "unterminated"),
            ("A='x", 1, "unterminated"),
            ("A=\"x\\", 1, "unterminated"),
            ("A=1\n\nfoo bar=1", 3, "space"),
            ("lol$wut", 1, "unexpected character `$`"),
            ("=1", 1, "no key"),
            ("A='x' y", 1, "after a quoted value"),
            ("A=1\nB=${NO:?must be set}", 2, "must be set"),
            ("B=${A", 1, "${A"),
            ("B=x$1", 1, "$$"),
        ] {
            let error = parse_env_file(text, outside).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.message.contains(part), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A-Z=:'\"\\\\$#{}\\-? \r\n0é]{0,60}") {
            let _ = parse_env_file(&text, outside);
        }

        #[test]
        fn single_quotes_keep_everything(value in "[^'\\\\\0]*") {
            let lines = parse_env_file(&format!("A='{value}'\nB=1"), outside).unwrap();
            prop_assert_eq!(&lines[0].value, &value);
            prop_assert_eq!(lines.len(), 2);
        }
    }
}
