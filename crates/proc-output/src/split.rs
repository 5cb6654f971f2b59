//! Bytes into lines, with a bound on what one line may hold in memory.

use std::io::{self, Read};
#[cfg(feature = "async")]
use std::task::{Context, Poll};

/// One line, or a piece of one that is longer than the splitter's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The bytes as they came, the terminator `\n` or `\r\n` included.
    pub bytes: &'a [u8],
    /// The offset of the first byte, counted from the first byte ever pushed.
    pub offset: u64,
    /// Whether an earlier piece of the same line went before.
    pub continued: bool,
    /// Whether the line was cut here: the next piece continues it.
    pub cut: bool,
}

impl<'a> Line<'a> {
    /// Returns the bytes without `\n` or `\r\n`.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        trim_terminator(self.bytes)
    }

    /// Returns `\n`, `\r\n`, or nothing for a piece of a line and an unterminated last line.
    #[must_use]
    pub fn terminator(&self) -> &'a [u8] {
        &self.bytes[self.text().len()..]
    }
}

/// Returns the bytes without a trailing `\n` or `\r\n`.
pub(crate) fn trim_terminator(bytes: &[u8]) -> &[u8] {
    match bytes {
        [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => text,
        _ => bytes,
    }
}

/// Splits pushed bytes into lines.
///
/// Lines inside a push are handed out without being copied. A line that goes on for more than `max`
/// bytes is handed out in pieces of at most `max`, marked [`cut`](Line::cut), not inside a UTF-8
/// character; so the splitter holds at most `max` bytes, and every byte is handed out exactly once.
///
/// ```
/// let mut splitter = proc_output::LineSplitter::new(1024);
/// let mut lines = Vec::new();
/// splitter.push(b"one\r\ntw", |line| lines.push(line.text().to_vec()));
/// splitter.push(b"o\nthree", |line| lines.push(line.text().to_vec()));
/// splitter.finish(|line| lines.push(line.text().to_vec()));
/// assert_eq!(lines, [&b"one"[..], b"two", b"three"]);
/// ```
#[derive(Debug, Clone)]
pub struct LineSplitter {
    max: usize,
    held: Vec<u8>,
    offset: u64,
    continued: bool,
}

impl LineSplitter {
    /// Returns a splitter for lines of up to `max` bytes without their terminator; at least 4.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max: max.max(4),
            held: Vec::new(),
            offset: 0,
            continued: false,
        }
    }

    /// Returns a splitter whose first byte has this offset.
    #[must_use]
    pub fn at(max: usize, offset: u64) -> Self {
        Self {
            offset,
            ..Self::new(max)
        }
    }

    /// Returns how many bytes of an unfinished line are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns the offset of the next byte to be handed out.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes and calls `each` for every line that they complete.
    #[inline]
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut newlines = memchr::memchr_iter(b'\n', bytes);
        let mut start = 0;
        if self.continued || !self.held.is_empty() {
            let Some(end) = newlines.next() else {
                return self.hold(bytes, &mut each);
            };
            self.complete(&bytes[..=end], &mut each);
            start = end + 1;
        }
        // From here on lines lie in `bytes` as a whole, and nothing but the offset changes.
        let (mut offset, longest) = (self.offset, self.max + 1);
        for end in newlines {
            let line = &bytes[start..=end];
            start = end + 1;
            if line.len() > longest {
                self.offset = offset;
                self.complete(line, &mut each);
                offset = self.offset;
                continue;
            }
            each(Line {
                bytes: line,
                offset,
                continued: false,
                cut: false,
            });
            offset += line.len() as u64;
        }
        self.offset = offset;
        if start < bytes.len() {
            self.hold(&bytes[start..], &mut each);
        }
    }

    /// Hands out what is held: the last line, which has no terminator.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.hand(&held, false, &mut each);
        }
        self.continued = false;
    }

    /// Hands out what is held although the line may go on, marked as cut.
    pub fn flush(&mut self, mut each: impl FnMut(Line<'_>)) {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.hand(&held, true, &mut each);
        }
    }

    #[inline]
    fn hand(&mut self, bytes: &[u8], cut: bool, each: &mut impl FnMut(Line<'_>)) {
        let (offset, continued) = (self.offset, self.continued);
        self.offset += bytes.len() as u64;
        self.continued = cut;
        each(Line {
            bytes,
            offset,
            continued,
            cut,
        });
    }

    /// Takes the rest of a line, terminator included.
    #[cold]
    fn complete(&mut self, line: &[u8], each: &mut impl FnMut(Line<'_>)) {
        self.hold(&line[..line.len() - 1], each);
        self.held.push(b'\n');
        let held = std::mem::take(&mut self.held);
        self.hand(&held, false, each);
        // The memory stays for the next line, unless this one was a giant.
        if held.capacity() <= 4096 {
            self.held = held;
            self.held.clear();
        }
    }

    /// Takes bytes without a newline, and hands out pieces where they exceed the bound.
    fn hold(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Line<'_>)) {
        while self.held.len() + bytes.len() > self.max {
            let (now, rest) = bytes.split_at(self.max - self.held.len());
            self.held.extend_from_slice(now);
            let next = rest[0];
            let cut = char_start(&self.held, next);
            let held = std::mem::take(&mut self.held);
            self.hand(&held[..cut], true, each);
            self.held = held;
            self.held.drain(..cut);
            bytes = rest;
        }
        self.held.extend_from_slice(bytes);
    }
}

/// Returns where to cut `bytes`, followed by `next`, so that no UTF-8 character is torn.
fn char_start(bytes: &[u8], next: u8) -> usize {
    const fn continues(byte: u8) -> bool {
        byte & 0xc0 == 0x80
    }
    if !continues(next) {
        return bytes.len();
    }
    // At most three bytes back there is the first byte of the character, or this is no UTF-8.
    let start = (1..=3.min(bytes.len()))
        .map(|back| bytes.len() - back)
        .find(|&at| !continues(bytes[at]));
    start
        .filter(|&at| at > 0 && bytes[at] >= 0xc0)
        .unwrap_or(bytes.len())
}

/// A line that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedLine {
    /// The bytes as they came, the terminator included.
    pub bytes: Vec<u8>,
    /// The offset of the first byte.
    pub offset: u64,
    /// Whether an earlier piece of the same line went before.
    pub continued: bool,
    /// Whether the line was cut here.
    pub cut: bool,
}

impl OwnedLine {
    /// Returns the bytes without `\n` or `\r\n`.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        trim_terminator(&self.bytes)
    }
}

impl From<Line<'_>> for OwnedLine {
    fn from(line: Line<'_>) -> Self {
        Self {
            bytes: line.bytes.to_vec(),
            offset: line.offset,
            continued: line.continued,
            cut: line.cut,
        }
    }
}

/// The lines of anything that can be read, as an iterator; of an async source (feature `async`) as a
/// `futures_core::Stream`.
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    splitter: LineSplitter,
    ready: std::collections::VecDeque<OwnedLine>,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R> Lines<R> {
    /// Returns the lines of `source`, each piece at most `max` bytes long.
    pub fn new(source: R, max: usize) -> Self {
        let buffer = vec![0; 16 * 1024];
        Self {
            source,
            splitter: LineSplitter::new(max),
            ready: std::collections::VecDeque::new(),
            buffer,
            ended: false,
        }
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = io::Result<OwnedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            if self.ended {
                return None;
            }
            match self.source.read(&mut self.buffer) {
                Ok(0) => {
                    self.ended = true;
                    self.splitter
                        .finish(|line| self.ready.push_back(line.into()));
                }
                Ok(n) => self
                    .splitter
                    .push(&self.buffer[..n], |line| self.ready.push_back(line.into())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(feature = "async")]
impl<R: tokio::io::AsyncRead + Unpin> Lines<R> {
    /// Returns the next line, or `None` at the end. Dropping the future loses no byte.
    ///
    /// # Errors
    ///
    /// What reading the source meets.
    pub async fn next_line(&mut self) -> io::Result<Option<OwnedLine>> {
        let next = std::future::poll_fn(|context| self.poll_line(context)).await;
        next.transpose()
    }

    pub(crate) fn poll_line(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<OwnedLine>>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(line)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let mut into = tokio::io::ReadBuf::new(&mut self.buffer);
            match std::pin::Pin::new(&mut self.source).poll_read(context, &mut into) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Ok(())) => {}
            }
            let n = into.filled().len();
            let each = |line: Line<'_>| self.ready.push_back(line.into());
            if n == 0 {
                self.ended = true;
                self.splitter.finish(each);
            } else {
                self.splitter.push(&self.buffer[..n], each);
            }
        }
    }
}

#[cfg(feature = "async")]
impl<R: tokio::io::AsyncRead + Unpin> futures_core::Stream for Lines<R> {
    type Item = io::Result<OwnedLine>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_line(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pushes: &[&[u8]], max: usize) -> Vec<OwnedLine> {
        let mut splitter = LineSplitter::new(max);
        let mut lines = Vec::new();
        for bytes in pushes {
            splitter.push(bytes, |line| lines.push(line.into()));
            assert!(splitter.held() <= max.max(4));
        }
        splitter.finish(|line| lines.push(line.into()));
        lines
    }

    fn texts(lines: &[OwnedLine]) -> Vec<&[u8]> {
        lines.iter().map(OwnedLine::text).collect()
    }

    #[test]
    fn table() {
        type Case<'a> = (&'a [&'a [u8]], &'a [&'a [u8]]);
        let cases: [Case<'_>; 8] = [
            (&[b""], &[]),
            (&[b"\n"], &[b""]),
            (&[b"a\nb"], &[b"a", b"b"]),
            (&[b"a\r\nb\r"], &[b"a", b"b\r"]),
            (&[b"a\r", b"\nb\n"], &[b"a", b"b"]),
            (&[b"\0\xff\xfe\n\x80"], &[b"\0\xff\xfe", b"\x80"]),
            (&[b"12345678\n"], &[b"12345678"]),
            (&[b"123456789\n"], &[b"12345678", b"9"]),
        ];
        for (pushes, want) in cases {
            assert_eq!(texts(&split(pushes, 8)), want, "{pushes:?}");
        }
    }

    #[test]
    fn a_cut_is_marked_and_tears_no_character() {
        let lines = split(&["aaaaaaa\u{4e16}bcdefgh\nx".as_bytes()], 8);
        assert_eq!(
            texts(&lines),
            [
                "aaaaaaa".as_bytes(),
                "\u{4e16}bcdef".as_bytes(),
                b"gh",
                b"x"
            ]
        );
        let marks: Vec<_> = lines
            .iter()
            .map(|line| (line.continued, line.cut))
            .collect();
        assert_eq!(
            marks,
            [(false, true), (true, true), (true, false), (false, false)]
        );
    }

    #[test]
    fn ten_megabytes_without_newline_stay_bounded() {
        let chunk = vec![b'x'; 64 * 1024];
        let mut splitter = LineSplitter::new(16 * 1024);
        let mut sum = 0;
        for _ in 0..160 {
            splitter.push(&chunk, |line| sum += line.bytes.len());
            assert!(splitter.held.capacity() <= 64 * 1024);
        }
        splitter.finish(|line| sum += line.bytes.len());
        assert_eq!(sum, 160 * chunk.len());
    }

    #[test]
    fn iterator_delivers_the_unterminated_line() {
        let lines: Vec<_> = Lines::new(&b"a\nb"[..], 100).map(Result::unwrap).collect();
        assert_eq!(texts(&lines), [b"a", b"b"]);
    }

    #[cfg(feature = "async")]
    #[test]
    fn async_lines_equal_the_iterators() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut lines = Lines::new(&b"a\r\nb\nlast"[..], 100);
        let mut got = Vec::new();
        while let Some(line) = runtime.block_on(lines.next_line()).unwrap() {
            got.push(line);
        }
        assert_eq!(texts(&got), [&b"a"[..], b"b", b"last"]);
    }

    #[cfg(feature = "async")]
    #[test]
    fn a_stream_of_lines_equals_the_iterator() {
        use futures_core::Stream as _;
        let text = &b"a\r\nb\n\nlast"[..];
        let want: Vec<_> = Lines::new(text, 100).map(Result::unwrap).collect();
        let mut lines = std::pin::pin!(Lines::new(text, 100));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut got = Vec::new();
        while let Poll::Ready(Some(line)) = lines.as_mut().poll_next(&mut context) {
            got.push(line.unwrap());
        }
        assert_eq!(got, want);
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte =
            prop_oneof![3 => Just(b'a'), 2 => Just(b'\n'), 1 => Just(b'\r'), 1 => any::<u8>()];
        prop::collection::vec(byte, 0..200)
    }

    proptest! {
        #[test]
        fn every_byte_comes_out_once_and_pushes_do_not_matter(pushes in prop::collection::vec(bytes(), 0..6), max in 4usize..60) {
            let whole = pushes.concat();
            let lines = split(&pushes.iter().map(Vec::as_slice).collect::<Vec<_>>(), max);
            prop_assert_eq!(&lines, &split(&[&whole], max));
            let mut offset = 0;
            for line in &lines {
                prop_assert_eq!(line.offset, offset);
                offset += line.bytes.len() as u64;
                prop_assert!(line.bytes.len() <= max + 1);
                prop_assert!(!line.bytes.is_empty());
                prop_assert_eq!(line.cut, !line.bytes.ends_with(b"\n") && offset < whole.len() as u64);
            }
            prop_assert_eq!(lines.into_iter().flat_map(|line| line.bytes).collect::<Vec<_>>(), whole);
        }

        #[test]
        fn without_cuts_it_is_split_inclusive(input in bytes()) {
            let lines = split(&[&input], 1000);
            let want: Vec<_> = input.split_inclusive(|b| *b == b'\n').collect();
            prop_assert_eq!(lines.iter().map(|line| line.bytes.as_slice()).collect::<Vec<_>>(), want);
        }
    }
}
