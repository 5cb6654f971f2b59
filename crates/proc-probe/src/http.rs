//! A minimal HTTP/1.1 GET: one request, one answer, closed. It knows content-length, chunked and
//! read-to-end bodies, and nothing else, because a probe needs nothing else.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::connect::{Stream, connect};
use crate::evidence::Verdict;
use crate::probe::HttpProbe;

/// The most bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// The most bytes of a body that are read and matched.
pub(crate) const MAX_BODY: usize = 1024 * 1024;
/// The most bytes of a body nobody asked about: taken so that the server can finish its write.
const MAX_IDLE_BODY: usize = 64 * 1024;
/// How long such a body may take; a stream without an end must not fail a probe of the status.
const IDLE_BODY_TIME: Duration = Duration::from_millis(100);

/// An answer could not be had.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("connection closed before an answer")]
    Closed,
    #[error("the answer's head is longer than {MAX_HEAD} bytes")]
    HeadTooLong,
    #[error("the answer is not HTTP/1: `{0}`")]
    NotHttp(String),
}

/// The parts of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let name = name.to_ascii_lowercase();
        self.headers
            .iter()
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value.as_slice())
    }
}

/// Asks and judges the answer.
pub(crate) async fn check(probe: &HttpProbe) -> Verdict {
    match get(probe).await {
        Ok(answer) => judge(probe, &answer),
        Err(error) => Verdict::fail(error.to_string()),
    }
}

fn judge(probe: &HttpProbe, answer: &Answer) -> Verdict {
    let status = answer.status;
    match probe.status {
        Some(wanted) if wanted != status => {
            return Verdict::fail(format!("status {status}, expected {wanted}"))
                .quoting_start(&answer.body);
        }
        None if !(200..400).contains(&status) => {
            return Verdict::fail(format!("status {status}, expected 200 to 399"))
                .quoting_start(&answer.body);
        }
        _ => {}
    }
    for (name, pattern) in &probe.header {
        let mut seen = answer.header(name).peekable();
        if seen.peek().is_none() {
            return Verdict::fail(format!("status {status}, but header `{name}` is missing"));
        }
        if !seen.any(|value| pattern.is_match(value)) {
            return Verdict::fail(format!("header `{name}` does not match `{pattern}`"));
        }
    }
    if let Some(pattern) = &probe.body
        && !pattern.is_match(&answer.body)
    {
        return Verdict::fail(format!(
            "status {status}, but the body does not match `{pattern}`"
        ))
        .quoting_start(&answer.body);
    }
    Verdict::pass(format!("status {status}"))
}

/// Sends the request and reads the answer.
pub(crate) async fn get(probe: &HttpProbe) -> Result<Answer, HttpError> {
    let mut stream = connect(probe.url.address())
        .await
        .map_err(HttpError::Connect)?;
    stream.write_all(&request(probe)).await?;
    stream.flush().await?;
    let mut buffer = Vec::with_capacity(4096);
    let mut answer = loop {
        let end = read_head(&mut stream, &mut buffer).await?;
        let answer = parse_head(&buffer[..end])?;
        buffer.drain(..end);
        // 1xx answers are announcements; the real one follows.
        if !(100..200).contains(&answer.status) || answer.status == 101 {
            break answer;
        }
    };
    let mut body = Body::new(&answer, buffer);
    if probe.body.is_some() {
        body.read(&mut stream, MAX_BODY).await?;
    } else {
        // Nobody asked about the body: whatever happens to it decides nothing.
        let _ignored = timeout(IDLE_BODY_TIME, body.read(&mut stream, MAX_IDLE_BODY)).await;
    }
    answer.body = body.bytes;
    Ok(answer)
}

fn request(probe: &HttpProbe) -> Vec<u8> {
    let mut text = format!("GET {} HTTP/1.1\r\n", probe.url.target());
    let defaults = [
        ("Host", probe.url.host()),
        ("User-Agent", "proc-probe"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ];
    for (name, value) in defaults {
        if !probe.send.keys().any(|key| key.eq_ignore_ascii_case(name)) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for (name, value) in &probe.send {
        // A line break would smuggle a second header; a config has no use for one.
        let clean = |text: &str| text.replace(['\r', '\n'], " ");
        text.push_str(&format!("{}: {}\r\n", clean(name), clean(value)));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Reads until the blank line and returns where it ends.
async fn read_head(stream: &mut Stream, buffer: &mut Vec<u8>) -> Result<usize, HttpError> {
    let mut looked = 0;
    loop {
        if let Some(end) = head_end(buffer, looked) {
            return Ok(end);
        }
        looked = buffer.len().saturating_sub(3);
        if buffer.len() > MAX_HEAD {
            return Err(HttpError::HeadTooLong);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(if buffer.is_empty() {
                HttpError::Closed
            } else {
                not_http(buffer)
            });
        }
    }
}

/// Returns the index after the blank line that ends a head; bare newlines are taken too.
pub(crate) fn head_end(buffer: &[u8], from: usize) -> Option<usize> {
    let rest = &buffer[from..];
    let crlf = rest
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| from + at + 4);
    let bare = rest
        .windows(2)
        .position(|window| window == b"\n\n")
        .map(|at| from + at + 2);
    match (crlf, bare) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (found, other) => found.or(other),
    }
}

fn not_http(buffer: &[u8]) -> HttpError {
    let start = &buffer[..buffer.len().min(40)];
    HttpError::NotHttp(String::from_utf8_lossy(start).escape_debug().to_string())
}

fn parse_head(head: &[u8]) -> Result<Answer, HttpError> {
    let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.next().unwrap_or_default();
    let mut words = first
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let version = words.next().unwrap_or_default();
    let status = words
        .next()
        .and_then(|word| std::str::from_utf8(word).ok())
        .and_then(|word| word.parse().ok())
        .filter(|status| (100..1000).contains(status));
    let Some(status) = status.filter(|_| version.starts_with(b"HTTP/1.")) else {
        return Err(not_http(head));
    };
    let headers = lines
        .filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = String::from_utf8_lossy(line[..colon].trim_ascii()).to_ascii_lowercase();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        })
        .collect();
    Ok(Answer {
        status,
        headers,
        body: Vec::new(),
    })
}

/// How far a body goes.
enum Length {
    Known(usize),
    Chunked,
    ToEnd,
}

struct Body {
    length: Length,
    raw: Vec<u8>,
    bytes: Vec<u8>,
}

impl Body {
    fn new(answer: &Answer, raw: Vec<u8>) -> Self {
        let chunked = answer
            .header("transfer-encoding")
            .any(|value| value.to_ascii_lowercase().ends_with(b"chunked"));
        let known = answer
            .header("content-length")
            .find_map(|value| std::str::from_utf8(value).ok()?.parse().ok());
        let length = match known {
            _ if matches!(answer.status, 204 | 304) => Length::Known(0),
            _ if chunked => Length::Chunked,
            Some(length) => Length::Known(length),
            None => Length::ToEnd,
        };
        Body {
            length,
            raw,
            bytes: Vec::new(),
        }
    }

    /// Reads to the end of the body or until `limit` bytes of it are there. What has arrived is
    /// kept in `bytes` even when the future is dropped.
    async fn read(&mut self, stream: &mut Stream, limit: usize) -> io::Result<()> {
        loop {
            if self.decode() || self.bytes.len() >= limit {
                self.bytes.truncate(limit);
                return Ok(());
            }
            if stream.read_buf(&mut self.raw).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Moves what is complete from `raw` to `bytes`; `true` at the end of the body.
    fn decode(&mut self) -> bool {
        match self.length {
            Length::ToEnd => {
                self.bytes.append(&mut self.raw);
                false
            }
            Length::Known(length) => {
                let missing = length.saturating_sub(self.bytes.len()).min(self.raw.len());
                self.bytes.extend(self.raw.drain(..missing));
                self.bytes.len() >= length
            }
            Length::Chunked => self.decode_chunks(),
        }
    }

    fn decode_chunks(&mut self) -> bool {
        loop {
            let Some(line) = self.raw.iter().position(|&byte| byte == b'\n') else {
                // A size line has at most 16 digits; extensions are allowed a kilobyte.
                return self.raw.len() > 1024;
            };
            let digits = self.raw[..line]
                .split(|&byte| byte == b';')
                .next()
                .unwrap_or_default();
            let size = std::str::from_utf8(digits.trim_ascii())
                .ok()
                .and_then(|digits| usize::from_str_radix(digits, 16).ok());
            let Some(size) = size.filter(|&size| size != 0) else {
                // The last chunk, or a server that does not speak chunked: nothing more to take.
                return true;
            };
            let start = line + 1;
            let Some(whole) = start.checked_add(size).and_then(|end| end.checked_add(2)) else {
                return true;
            };
            if self.raw.len() < whole {
                // A chunk larger than what is read at most is taken as far as it came.
                if self.raw.len() > MAX_BODY {
                    self.bytes.extend_from_slice(&self.raw[start..]);
                    return true;
                }
                return false;
            }
            self.bytes.extend_from_slice(&self.raw[start..start + size]);
            self.raw.drain(..whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_with_either_line_end() {
        for head in [
            &b"HTTP/1.1 200 OK\r\nA: b\r\nC:d\r\n\r\n"[..],
            b"HTTP/1.0 200\nA:  b\nc: d\n\n",
        ] {
            assert_eq!(head_end(head, 0), Some(head.len()));
            let answer = parse_head(head).unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("A").collect::<Vec<_>>(), [b"b"]);
            assert_eq!(answer.header("c").collect::<Vec<_>>(), [b"d"]);
        }
        for head in [
            &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
            b"HTTP/1.1 abc\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert!(matches!(parse_head(head), Err(HttpError::NotHttp(_))));
        }
    }

    #[test]
    fn chunks_are_joined_wherever_they_are_cut() {
        let raw = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
        for cut in 0..raw.len() {
            let mut body = Body {
                length: Length::Chunked,
                raw: Vec::new(),
                bytes: Vec::new(),
            };
            body.raw.extend_from_slice(&raw[..cut]);
            let early = body.decode();
            if !early {
                body.raw.extend_from_slice(&raw[cut..]);
                assert!(body.decode(), "ends, cut at {cut}");
            }
            assert_eq!(body.bytes, b"hello world", "cut at {cut}");
        }
    }
}
