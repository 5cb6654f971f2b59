//! Several lines as one entry: stack traces and other texts whose lines are indented.

use std::time::Duration;

/// Lines that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The bytes of all lines, terminators included.
    pub bytes: Vec<u8>,
    /// The number of lines.
    pub lines: usize,
    /// Whether the entry was ended by the size bound, so that the next group continues it.
    pub cut: bool,
}

/// Groups the lines of one stream: a line that begins with a space or a tab continues the entry.
///
/// An entry ends with the next line that does not, at the end of the stream, or when nothing came for
/// the idle time. The grouper has no clock: every call is told the time, by any clock that does not
/// go backwards.
///
/// ```
/// use std::time::Duration;
/// let mut grouper = proc_output::Grouper::default();
/// let at = Duration::from_millis;
/// assert_eq!(grouper.push(b"panic: boom\n", at(0)), None);
/// assert_eq!(grouper.push(b"    at main.rs:3\n", at(1)), None);
/// assert_eq!(grouper.poll(at(250)), None);
/// let group = grouper.poll(at(251)).unwrap();
/// assert_eq!((group.lines, group.bytes.len()), (2, 29));
/// ```
#[derive(Debug, Clone)]
pub struct Grouper {
    idle: Duration,
    max_bytes: usize,
    open: Option<Group>,
    last: Duration,
}

impl Default for Grouper {
    /// Ends an entry after 250 ms, or at 256 KiB.
    fn default() -> Self {
        Self::new(Duration::from_millis(250), 256 * 1024)
    }
}

impl Grouper {
    /// Returns a grouper that ends an entry when it was idle so long, or would exceed `max_bytes`.
    #[must_use]
    pub const fn new(idle: Duration, max_bytes: usize) -> Self {
        Self {
            idle,
            max_bytes,
            open: None,
            last: Duration::ZERO,
        }
    }

    /// Takes a line at the time `now`; returns the entry that it ends, if it does.
    pub fn push(&mut self, line: &[u8], now: Duration) -> Option<Group> {
        let continues = matches!(line.first(), Some(b' ' | b'\t'));
        self.last = now;
        if let Some(open) = self.open.as_mut().filter(|_| continues) {
            if open.bytes.len() + line.len() <= self.max_bytes {
                open.bytes.extend_from_slice(line);
                open.lines += 1;
                return None;
            }
            open.cut = true;
        }
        self.open.replace(Group {
            bytes: line.to_vec(),
            lines: 1,
            cut: false,
        })
    }

    /// Returns the entry that has been idle long enough at the time `now`.
    pub fn poll(&mut self, now: Duration) -> Option<Group> {
        if self.deadline()? > now {
            return None;
        }
        self.open.take()
    }

    /// Returns the time at which [`poll`](Self::poll) will have something, by the caller's clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.open
            .as_ref()
            .map(|_| self.last.saturating_add(self.idle))
    }

    /// Returns the last entry: the stream has ended.
    pub fn finish(&mut self) -> Option<Group> {
        self.open.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn group(lines: &[&str]) -> Vec<(String, usize)> {
        let mut grouper = Grouper::default();
        let mut groups: Vec<_> = lines
            .iter()
            .filter_map(|line| grouper.push(line.as_bytes(), at(0)))
            .collect();
        groups.extend(grouper.finish());
        groups
            .into_iter()
            .map(|g| (String::from_utf8(g.bytes).unwrap(), g.lines))
            .collect()
    }

    #[test]
    fn indented_lines_continue() {
        let groups = group(&[
            "Unhandled exception\n",
            "   at A.b()\n",
            "\tat C.d()\n",
            "next\n",
            "last",
        ]);
        let want = [
            ("Unhandled exception\n   at A.b()\n\tat C.d()\n", 3),
            ("next\n", 1),
            ("last", 1),
        ];
        assert_eq!(groups, want.map(|(text, n)| (text.to_owned(), n)));
        assert_eq!(group(&["  first is indented\n", " so is this\n"]).len(), 1);
        assert_eq!(group(&[]), []);
    }

    #[test]
    fn every_line_moves_the_deadline() {
        let mut grouper = Grouper::default();
        grouper.push(b"a\n", at(0));
        grouper.push(b" b\n", at(200));
        assert_eq!(grouper.deadline(), Some(at(450)));
        assert_eq!(grouper.poll(at(449)), None);
        assert_eq!(grouper.poll(at(450)).unwrap().lines, 2);
        assert_eq!((grouper.deadline(), grouper.poll(at(9999))), (None, None));
    }

    #[test]
    fn the_bound_cuts_and_says_so() {
        let mut grouper = Grouper::new(at(250), 10);
        assert_eq!(grouper.push(b"12345678\n", at(0)), None);
        let first = grouper.push(b" more\n", at(0)).unwrap();
        assert_eq!((first.bytes.len(), first.cut), (9, true));
        assert!(!grouper.finish().unwrap().cut);
    }
}
