//! What is typed, as text to pass on, and the two keys that detach.

/// Ctrl-P and Ctrl-Q, as docker has them.
const DETACH: [u8; 2] = [0x10, 0x11];

/// Turns bytes from a keyboard into text; a character may come in two pieces.
#[derive(Debug)]
pub(super) struct Keys {
    /// Whether the keys that detach are looked for: a pipe is passed on as it is.
    keyboard: bool,
    /// What is not yet a whole character, or may be the first key of the two.
    held: Vec<u8>,
}

/// What came of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) text: String,
    pub(super) detach: bool,
}

impl Keys {
    pub(super) fn new(keyboard: bool) -> Keys {
        Keys {
            keyboard,
            held: Vec::new(),
        }
    }

    /// Takes more bytes. What follows the keys that detach is dropped.
    pub(super) fn typed(&mut self, bytes: &[u8]) -> Typed {
        self.held.extend_from_slice(bytes);
        let found = self.held.windows(2).position(|pair| pair == DETACH);
        let end = found.filter(|_| self.keyboard);
        let ready = end.unwrap_or_else(|| self.held.len() - self.unfinished());
        let text = String::from_utf8_lossy(&self.held[..ready]).into_owned();
        self.held.drain(..ready);
        Typed {
            text,
            detach: end.is_some(),
        }
    }

    /// Returns how many bytes at the end have to wait for more.
    fn unfinished(&self) -> usize {
        if self.keyboard && self.held.last() == Some(&DETACH[0]) {
            return 1;
        }
        let tail = &self.held[self.held.len().saturating_sub(3)..];
        let starts = (1..=tail.len()).find(|back| tail[tail.len() - back] & 0xC0 != 0x80);
        match starts.map(|back| (back, tail[tail.len() - back])) {
            Some((back, first)) if back < char_len(first) => back,
            _ => 0,
        }
    }
}

/// Returns the length of the character that a byte begins.
fn char_len(first: u8) -> usize {
    match first {
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF8 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &mut Keys, bytes: &[u8]) -> (String, bool) {
        let Typed { text, detach } = keys.typed(bytes);
        (text, detach)
    }

    #[test]
    fn two_keys_detach_even_in_two_pieces() {
        let mut keys = Keys::new(true);
        assert_eq!(typed(&mut keys, b"ab\x10"), ("ab".into(), false));
        assert_eq!(typed(&mut keys, b"c"), ("\x10c".into(), false));
        assert_eq!(typed(&mut keys, b"d\x10"), ("d".into(), false));
        assert_eq!(typed(&mut keys, b"\x11e"), (String::new(), true));
    }

    #[test]
    fn a_pipe_may_hold_the_two_keys() {
        let mut keys = Keys::new(false);
        assert_eq!(
            typed(&mut keys, b"a\x10\x11b"),
            ("a\x10\x11b".into(), false)
        );
        assert_eq!(typed(&mut keys, b"\x10"), ("\x10".into(), false));
    }

    #[test]
    fn characters_are_passed_on_whole() {
        for text in ["ä", "€", "🦀", "a🦀b"] {
            for cut in 0..=text.len() {
                let mut keys = Keys::new(true);
                let first = typed(&mut keys, &text.as_bytes()[..cut]).0;
                let second = typed(&mut keys, &text.as_bytes()[cut..]).0;
                assert_eq!(first + &second, text, "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_text_is_not_held_for_ever() {
        let mut keys = Keys::new(true);
        assert_eq!(typed(&mut keys, b"\xFFa").0, "\u{FFFD}a");
        assert_eq!(typed(&mut keys, b"\x80\x80\x80\x80").0.chars().count(), 4);
    }
}
