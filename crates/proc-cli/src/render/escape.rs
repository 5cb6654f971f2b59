//! Foreign text on its way to a terminal: nothing in it may move the cursor or rename the window.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes every control character, and the invisible ones that reorder text.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        Cow::Owned(text.chars().fold(String::new(), push_escaped))
    } else {
        Cow::Borrowed(text)
    }
}

/// Escapes a line of a service's output for a terminal; colours (SGR) and tabs pass.
pub(crate) fn escape_line(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(first) = rest.chars().next() {
        if let Some(length) = color_sequence(rest) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        match first {
            '\t' => out.push('\t'),
            other => out = push_escaped(out, other),
        }
        rest = &rest[first.len_utf8()..];
    }
    out
}

/// Returns the length of the colour sequence `ESC [ … m` that `text` begins with.
fn color_sequence(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    (parameters.as_bytes()[end] == b'm').then_some(2 + end + 1)
}

fn push_escaped(mut out: String, c: char) -> String {
    if is_unsafe(c) {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x100 => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
        }
    } else {
        out.push(c);
    }
    out
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        let cases = [
            ("plain", "plain"),
            ("a\u{1b}]0;owned\u{7}b", "a\\x1b]0;owned\\x07b"),
            ("two\nlines\r", "two\\nlines\\r"),
            ("\u{9b}31m", "\\x9b31m"),
            ("right\u{202e}left", "right\\u{202e}left"),
            ("Grüße 漢字", "Grüße 漢字"),
        ];
        for (input, expected) in cases {
            assert_eq!(escape(input), expected, "{input:?}");
        }
    }

    #[test]
    fn output_keeps_colours_and_tabs_only() {
        let cases: [(&[u8], &str); 5] = [
            (b"\x1b[1;31mred\x1b[0m\tx", "\u{1b}[1;31mred\u{1b}[0m\tx"),
            (b"\x1b[2Jcleared", "\\x1b[2Jcleared"),
            (b"\x1b[", "\\x1b["),
            (b"bell\x07", "bell\\x07"),
            (b"\xff", "\u{fffd}"),
        ];
        for (input, expected) in cases {
            assert_eq!(escape_line(input), expected, "{input:?}");
        }
    }
}
