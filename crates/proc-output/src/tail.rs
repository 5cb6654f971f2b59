//! The end of a text, by bytes, lines or characters, without tearing one.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Returns the last `n` bytes, or up to three fewer so that they do not begin inside a UTF-8 character.
#[must_use]
pub fn tail_bytes(bytes: &[u8], n: usize) -> &[u8] {
    let start = bytes.len().saturating_sub(n);
    &bytes[start + torn(&bytes[..start], &bytes[start..])..]
}

/// Returns how many bytes at the start of `rest` belong to a character begun in `before`.
fn torn(before: &[u8], rest: &[u8]) -> usize {
    let tail = &before[before.len().saturating_sub(3)..];
    let Some(back) = tail.iter().rev().position(|byte| byte & 0xc0 != 0x80) else {
        return 0;
    };
    let first = tail[tail.len() - 1 - back];
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return 0,
    };
    let Some(missing) = (length - 1usize).checked_sub(back) else {
        return 0;
    };
    let there = rest
        .iter()
        .take(missing)
        .take_while(|byte| **byte & 0xc0 == 0x80)
        .count();
    // Only a whole character can be torn; anything else is no UTF-8 to begin with.
    if there == missing { missing } else { 0 }
}

/// Returns the last `n` lines with their terminators; an unterminated last line is a line.
#[must_use]
pub fn tail_lines(bytes: &[u8], n: usize) -> &[u8] {
    if n == 0 {
        return &[];
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let start = memchr::memrchr_iter(b'\n', text)
        .nth(n - 1)
        .map_or(0, |at| at + 1);
    &bytes[start..]
}

/// Returns the last `n` bytes of a file, or a few fewer so that no character is torn.
///
/// # Errors
///
/// When the file cannot be read.
pub fn tail_file(path: &Path, n: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    // Three bytes more show whether the first one is inside a character.
    let start = length.saturating_sub(n.saturating_add(3));
    let mut bytes = vec![0; usize::try_from(length - start).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break, // truncated meanwhile
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let skip = bytes.len() - tail_bytes(&bytes, n).len();
    bytes.drain(..skip);
    Ok(bytes)
}

/// Returns the end of a text in at most `budget` characters, with a first line that says how much
/// is missing: `... (truncated, 4096 earlier bytes omitted)`.
///
/// The count is exact, in bytes of the text as given. What is returned is always UTF-8: each invalid
/// sequence becomes one U+FFFD. A text that fits is returned whole; where the first line does not
/// fit, only the last characters are; of a budget of 0, nothing.
#[must_use]
pub fn truncate_tail_to_rune_budget(text: &[u8], budget: usize) -> String {
    if budget == 0 {
        return String::new();
    }
    let (runes, starts) = last_runes(text, budget);
    if runes <= budget {
        return String::from_utf8_lossy(text).into_owned();
    }
    // The marker's length depends on the count, which depends on how much the marker leaves.
    for digits in 1..=20 {
        let marker = MARKER.0.len() + digits + MARKER.1.len();
        if marker >= budget {
            break;
        }
        let omitted = starts[starts.len() - (budget - marker)];
        let count = omitted.to_string();
        if count.len() <= digits {
            let tail = String::from_utf8_lossy(&text[omitted..]);
            return format!("{}{count}{}{tail}", MARKER.0, MARKER.1);
        }
    }
    String::from_utf8_lossy(&text[starts[0]..]).into_owned()
}

const MARKER: (&str, &str) = ("... (truncated, ", " earlier bytes omitted)\n");

/// Counts the characters and returns where each of the last `n` begins.
fn last_runes(text: &[u8], n: usize) -> (usize, VecDeque<usize>) {
    let mut starts = VecDeque::new();
    let mut count = 0;
    let mut position = 0;
    let mut add = |start: usize| {
        count += 1;
        if starts.len() == n {
            starts.pop_front();
        }
        starts.push_back(start);
    };
    for chunk in text.utf8_chunks() {
        for (at, _) in chunk.valid().char_indices() {
            add(position + at);
        }
        position += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            add(position);
            position += chunk.invalid().len();
        }
    }
    (count, starts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tail_tears_no_character() {
        for (text, n, want) in [
            ("abc", 2, "bc"),
            ("abc", 9, "abc"),
            ("abc", 0, ""),
            ("a\u{e9}", 1, ""),
            ("a\u{e9}", 2, "\u{e9}"),
            ("\u{4e16}\u{4e16}", 4, "\u{4e16}"),
            ("\u{1f600}x", 4, "x"),
            ("\u{1f600}x", 5, "\u{1f600}x"),
        ] {
            assert_eq!(
                tail_bytes(text.as_bytes(), n),
                want.as_bytes(),
                "{text:?} {n}"
            );
        }
        // Bytes that are no UTF-8 stay as they are.
        assert_eq!(tail_bytes(b"\x80\x80\x80\x80", 3), b"\x80\x80\x80");
        assert_eq!(tail_bytes(b"\xe4\xb8x", 2), b"\xb8x");
    }

    #[test]
    fn tail_counts_lines() {
        for (text, n, want) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
            ("\n\n", 1, "\n"),
        ] {
            assert_eq!(
                tail_lines(text.as_bytes(), n),
                want.as_bytes(),
                "{text:?} {n}"
            );
        }
    }

    #[test]
    fn tail_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x\u{4e16}\u{4e16}").unwrap();
        assert_eq!(tail_file(file.path(), 5).unwrap(), "\u{4e16}".as_bytes());
        assert_eq!(
            tail_file(file.path(), 100).unwrap(),
            "x\u{4e16}\u{4e16}".as_bytes()
        );
        assert_eq!(tail_file(file.path(), 0).unwrap(), b"");
        assert!(tail_file(Path::new("/nonexistent"), 5).is_err());
    }

    #[test]
    fn budget_of_the_seed() {
        assert_eq!(truncate_tail_to_rune_budget(b"short", 500), "short");
        assert_eq!(truncate_tail_to_rune_budget(b"short", 0), "");
        let text = "x".repeat(10_000);
        let cut = truncate_tail_to_rune_budget(text.as_bytes(), 500);
        assert_eq!(cut.chars().count(), 500);
        assert!(
            cut.starts_with("... (truncated, 9544 earlier bytes omitted)\n"),
            "{cut}"
        );
        let text = "\u{4e16}".repeat(2000);
        let cut = truncate_tail_to_rune_budget(text.as_bytes(), 100);
        assert_eq!(cut.chars().count(), 100);
        assert!(
            cut.starts_with("... (truncated, 5832 earlier bytes omitted)\n"),
            "{cut}"
        );
        assert_eq!(
            truncate_tail_to_rune_budget(text.as_bytes(), 10),
            "\u{4e16}".repeat(10)
        );
        assert_eq!(
            truncate_tail_to_rune_budget(b"a\xff\xfe", 10),
            "a\u{fffd}\u{fffd}"
        );
    }

    proptest! {
        #[test]
        fn tail_of_text_is_text(text in "\\PC{0,40}", n in 0usize..60) {
            let tail = tail_bytes(text.as_bytes(), n);
            prop_assert!(std::str::from_utf8(tail).is_ok());
            prop_assert!(tail.len() <= n && tail.len() + 3 >= n.min(text.len()));
        }

        #[test]
        fn budget_holds_and_counts_exactly(text in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'a')], 0..600), budget in 0usize..200) {
            let cut = truncate_tail_to_rune_budget(&text, budget);
            prop_assert!(cut.chars().count() <= budget);
            if let Some(rest) = cut.strip_prefix(MARKER.0) {
                let (count, tail) = rest.split_once(MARKER.1).unwrap();
                let omitted: usize = count.parse().unwrap();
                prop_assert_eq!(tail, String::from_utf8_lossy(&text[omitted..]));
            }
        }
    }
}
