//! How serious a line says it is.
//!
//! Fields come first, then words:
//!
//! 1. a JSON object's `level`, `severity` and the like, by name or by the numbers of bunyan and pino;
//! 2. a logfmt field `level=warn`;
//! 3. a syslog priority `<3>` or a glog letter `E1121` at the beginning;
//! 4. a word in capitals (`ERROR`), or in any case where its surroundings mark it as a level
//!    (`error:`, `[warn]`), an exception's name (`TypeError:`), a panic. The first one counts.
//!
//! Words are whole words, and `0 ERROR` or `no error:` is none: "0 errors" is good news.

/// How serious an entry is, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Level {
    /// Every step.
    Trace,
    /// For developers.
    Debug,
    /// What is usual.
    Info,
    /// What may become a problem.
    Warn,
    /// A problem.
    Error,
    /// The last one.
    Fatal,
}

impl Level {
    /// Returns the lowercase name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// Returns the level that a word names, in any case: `warn`, `WARNING`, `crit`.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        const WORDS: [(&str, Level); 22] = [
            ("trace", Level::Trace),
            ("trc", Level::Trace),
            ("verbose", Level::Debug),
            ("debug", Level::Debug),
            ("dbg", Level::Debug),
            ("info", Level::Info),
            ("inf", Level::Info),
            ("information", Level::Info),
            ("notice", Level::Info),
            ("log", Level::Info),
            ("warn", Level::Warn),
            ("wrn", Level::Warn),
            ("warning", Level::Warn),
            ("err", Level::Error),
            ("error", Level::Error),
            ("severe", Level::Error),
            ("crit", Level::Fatal),
            ("critical", Level::Fatal),
            ("alert", Level::Fatal),
            ("emerg", Level::Fatal),
            ("fatal", Level::Fatal),
            ("panic", Level::Fatal),
        ];
        WORDS
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, level)| *level)
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::from_word(text.as_bytes()).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a level: one of trace, debug, info, warn, error, fatal")]
pub struct UnknownLevel(String);

/// No longer stretch of a line is searched.
const SEARCHED: usize = 4096;

/// Returns the level that a line states, [`Level::Info`] if it states none.
///
/// ```
/// use proc_output::{Level, detect_level};
/// assert_eq!(detect_level(br#"{"msg":"ERROR in name","level":"warn"}"#), Level::Warn);
/// assert_eq!(detect_level(b"done: 0 errors"), Level::Info);
/// ```
#[must_use]
pub fn detect_level(line: &[u8]) -> Level {
    find_level(line).unwrap_or(Level::Info)
}

/// Returns the level that a line states, if it states one.
#[must_use]
pub fn find_level(line: &[u8]) -> Option<Level> {
    let line = &line[..line.len().min(SEARCHED)];
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let text = &line[start..];
    if text[0] == b'{' {
        return json(text);
    }
    logfmt(text)
        .or_else(|| prefix(text))
        .or_else(|| words(text))
}

fn is_key(key: &[u8]) -> bool {
    const KEYS: [&str; 8] = [
        "level",
        "lvl",
        "severity",
        "loglevel",
        "log_level",
        "levelname",
        "log.level",
        "@level",
    ];
    KEYS.iter()
        .any(|name| key.eq_ignore_ascii_case(name.as_bytes()))
}

/// Looks for a level among the fields of the outermost object.
fn json(text: &[u8]) -> Option<Level> {
    let (mut at, mut depth) = (0, 0);
    let mut key: Option<&[u8]> = None;
    while at < text.len() {
        match text[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 1 => key = None,
            b'"' => {
                let end = string_end(text, at + 1)?;
                let string = &text[at + 1..end];
                at = end;
                match key {
                    _ if depth != 1 => {}
                    None => key = Some(string),
                    Some(name) if is_key(name) => {
                        if let Some(level) = Level::from_word(string) {
                            return Some(level);
                        }
                    }
                    Some(_) => {}
                }
            }
            b'0'..=b'9' if depth == 1 && key.is_some_and(is_key) => {
                let digits = text[at..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                let number = std::str::from_utf8(&text[at..at + digits])
                    .ok()?
                    .parse::<u32>()
                    .ok()?;
                return Some(match number {
                    0..=10 => Level::Trace,
                    11..=20 => Level::Debug,
                    21..=30 => Level::Info,
                    31..=40 => Level::Warn,
                    41..=50 => Level::Error,
                    _ => Level::Fatal,
                });
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns where the quote is that ends a string.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Looks for `level=warn` outside quotes.
fn logfmt(text: &[u8]) -> Option<Level> {
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'"' {
            at = string_end(text, at + 1)? + 1;
            continue;
        }
        let word = text[at..]
            .iter()
            .take_while(|b| !matches!(b, b' ' | b'\t' | b'=' | b'"'))
            .count();
        if word > 0 && text.get(at + word) == Some(&b'=') && is_key(&text[at..at + word]) {
            let value = &text[at + word + 1..];
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            let length = value
                .iter()
                .take_while(|byte| byte.is_ascii_alphabetic())
                .count();
            if let Some(level) = Level::from_word(&value[..length]) {
                return Some(level);
            }
        }
        at += word.max(1);
    }
    None
}

/// Reads `<3>` of syslog and `E1121 ` of glog.
fn prefix(text: &[u8]) -> Option<Level> {
    match text {
        [b'<', digit @ b'0'..=b'7', b'>', ..] => Some(match digit {
            b'0'..=b'2' => Level::Fatal,
            b'3' => Level::Error,
            b'4' => Level::Warn,
            b'5' | b'6' => Level::Info,
            _ => Level::Debug,
        }),
        [letter, a, b, c, d, b' ', ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => {
            match letter {
                b'I' => Some(Level::Info),
                b'W' => Some(Level::Warn),
                b'E' => Some(Level::Error),
                b'F' => Some(Level::Fatal),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Looks for the first word that is a level by its looks.
fn words(text: &[u8]) -> Option<Level> {
    const fn in_word(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
    }
    let mut at = 0;
    let mut before: &[u8] = b"";
    let mut left = b' ';
    while at < text.len() {
        if text[at] == 0x1b && text.get(at + 1) == Some(&b'[') {
            // Colours do not touch the word beside them.
            let length = text[at + 2..]
                .iter()
                .take_while(|byte| !(0x40..=0x7e).contains(*byte))
                .count();
            at += length + 3;
            continue;
        }
        if !in_word(text[at]) {
            left = text[at];
            at += 1;
            continue;
        }
        let length = text[at..].iter().take_while(|byte| in_word(**byte)).count();
        let word = &text[at..at + length];
        let mut right = &text[at + length..];
        if right.starts_with(b"\x1b[") {
            let colour = right[2..]
                .iter()
                .take_while(|byte| !(0x40..=0x7e).contains(*byte))
                .count();
            right = right.get(colour + 3..).unwrap_or(b"");
        }
        if let Some(level) = word_level(word, left, right, before) {
            return Some(level);
        }
        before = word;
        left = b'\0';
        at += length;
    }
    None
}

fn word_level(word: &[u8], left: u8, right: &[u8], before: &[u8]) -> Option<Level> {
    let next = right.first().copied().unwrap_or(b' ');
    let colon = next == b':' && right.get(1) != Some(&b':');
    if word == b"panicked" && right.starts_with(b" at") {
        return Some(Level::Fatal);
    }
    if word == b"Traceback" && right.starts_with(b" (most recent call last)") {
        return Some(Level::Error);
    }
    let exception = word.len() > 5 && (word.ends_with(b"Error") || word.ends_with(b"Exception"));
    if exception && colon && matches!(left, b' ' | b'\t' | b'.') {
        return Some(Level::Error);
    }
    let level = Level::from_word(word)?;
    let none = before == b"0"
        || before.eq_ignore_ascii_case(b"no")
        || before.eq_ignore_ascii_case(b"without");
    if none || next == b'=' {
        return None;
    }
    let short = matches!(word, b"ERR" | b"WRN" | b"INF" | b"DBG" | b"TRC");
    let capitals = short || (word.len() > 3 && word.iter().all(u8::is_ascii_uppercase));
    let apart = matches!(
        left,
        b' ' | b'\t' | b'[' | b'(' | b'<' | b'|' | b':' | b'-' | b'#' | b'"' | b'\''
    );
    let enclosed = matches!(
        (left, next),
        (b'[', b']') | (b'(', b')') | (b'<', b'>') | (b'|', b'|')
    );
    let marked = colon && matches!(left, b' ' | b'\t' | b'[' | b'|');
    (enclosed || marked || (capitals && apart && !matches!(next, b'.' | b'/' | b'(')))
        .then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        use Level::{Debug, Error, Fatal, Info, Trace, Warn};
        for (line, want) in [
            ("2026-11-21 10:00:00 ERROR failed to bind", Some(Error)),
            ("ERROR: relation \"x\" does not exist", Some(Error)),
            (
                "2026-11-21 10:00:00.000 UTC [71] LOG:  database system is ready",
                Some(Info),
            ),
            (
                "2026/11/21 10:00:00 [error] 71#71: *1 open() failed",
                Some(Error),
            ),
            (
                "2026/11/21 10:00:00 [warn] 71#71: conflicting name",
                Some(Warn),
            ),
            (
                "2026/11/21 10:00:00 [emerg] bind() to 0.0.0.0:80 failed",
                Some(Fatal),
            ),
            ("error: could not compile", Some(Error)),
            ("warning: unused variable", Some(Warn)),
            ("TypeError: x is undefined", Some(Error)),
            ("java.lang.IllegalStateException: no", Some(Error)),
            ("thread 'main' panicked at src/main.rs:3:5:", Some(Fatal)),
            ("Traceback (most recent call last):", Some(Error)),
            ("\u{1b}[31mERROR\u{1b}[0m boom", Some(Error)),
            (
                "\u{1b}[2m2026-11-21T10:00:00Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m web: slow",
                Some(Warn),
            ),
            ("\u{1b}[31merror\u{1b}[0m: boom", Some(Error)),
            ("E1121 10:00:00.000000 71 main.go:3] boom", Some(Error)),
            ("<4>disk nearly full", Some(Warn)),
            ("time=2026 level=warn msg=\"ERROR in name\"", Some(Warn)),
            ("msg=\"level=error\" level=\"debug\"", Some(Debug)),
            ("{\"level\":\"error\",\"msg\":\"x\"}", Some(Error)),
            ("{\"msg\":\"ERROR\",\"severity\":\"INFO\"}", Some(Info)),
            ("{\"level\":50,\"msg\":\"pino\"}", Some(Error)),
            ("{\"level\":10}", Some(Trace)),
            (
                "{\"a\":{\"level\":\"error\"},\"x\":\"level\",\"level\":\"info\"}",
                Some(Info),
            ),
            ("{\"msg\":\"a \\\" ERROR: b\"}", None),
            ("INFO no ERROR found", Some(Info)),
            ("DEBUG x", Some(Debug)),
            ("10:00AM ERR boom", Some(Error)),
            ("LOG in to continue", None),
            ("0 errors", None),
            ("0 ERROR", None),
            ("build finished: 0 errors, 0 warnings", None),
            ("no error: all is well", None),
            ("finished without error", None),
            ("the error rate is low", None),
            ("ERROR_COUNT 3", None),
            ("terror: a film", None),
            ("std::error::Error is a trait", None),
            ("use crate::error::Foo", None),
            ("RUST_LOG=debug DEBUG=1", None),
            ("GET /ERROR.html 200", None),
            ("hello", None),
            ("", None),
            ("   ", None),
        ] {
            assert_eq!(find_level(line.as_bytes()), want, "{line}");
        }
        assert_eq!(detect_level(b"hello"), Info);
        assert!(Trace < Debug && Info < Warn && Error < Fatal);
        assert_eq!("Warning".parse(), Ok(Warn));
        assert!("loud".parse::<Level>().is_err());
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\":,=\\\x1b level".to_vec())], 0..80)) {
            let _ = find_level(&line);
        }
    }
}
