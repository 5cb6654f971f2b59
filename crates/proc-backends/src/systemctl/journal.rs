//! Copies a unit's lines from the journal into our log files, so that `proc logs` knows no
//! difference. A cursor is kept: a copy that is resumed misses nothing and doubles nothing.
//!
//! The journal does not tell standard output from standard error; both go to the merged log.
//! For a foreign unit of a *user's* manager, the lines of a process that is gone before the journal
//! looked it up belong to no unit and are missing (measured: 3 of 100 runs that end at once).
//! Units of ours are found by their identifier and do not have that gap, as long as the caller may
//! read the system's journal, where such lines go.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_output::{LogOptions, LogWriter, Stream};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::call::{Call, Owned};

/// The largest entry of the journal that is read.
const LARGEST: u64 = 4 << 20;
/// How long the end of the journal may take to be read after an exit.
const DRAIN: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);

/// What is copied.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// journalctl(1), possibly behind ssh(1), up to its own options.
    pub(crate) journalctl: Call,
    /// The matches that are the unit's lines.
    pub(crate) matches: Vec<String>,
    /// Whose lines count, where others could write under the same name. A line whose writer was
    /// gone before the journal looked has no owner in it; it counts.
    pub(crate) uid: Option<u32>,
    /// Whether the journal can be asked to take in everything that was written so far.
    pub(crate) sync: bool,
    /// Whether arguments pass another shell.
    pub(crate) quoted: bool,
}

/// Where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) dir: PathBuf,
    pub(crate) instance: String,
    pub(crate) options: LogOptions,
    /// Where the cursor is kept.
    pub(crate) cursor: PathBuf,
}

enum Order {
    Follow { since_us: u64 },
    Drain(oneshot::Sender<u64>),
    Rotate(oneshot::Sender<io::Result<()>>),
}

/// A running copy. Dropping it ends it; the next one goes on where it was.
#[derive(Debug)]
pub(crate) struct Copy {
    orders: mpsc::Sender<Order>,
    task: AbortHandle,
    trouble: watch::Receiver<Option<String>>,
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Copy {
    /// Opens the log; nothing is copied before [`follow`](Self::follow).
    pub(crate) fn new(source: Source, target: Target) -> io::Result<Self> {
        let writer = LogWriter::new(
            &target.dir,
            &target.instance,
            Stream::Merged,
            &target.options,
        )
        .map_err(io::Error::other)?;
        let (orders, receiver) = mpsc::channel(8);
        let (told, trouble) = watch::channel(None);
        let place = Position::read(&target.cursor);
        let worker = Worker {
            skip: place.skip(writer.offset()),
            place,
            source,
            cursor: target.cursor,
            writer,
            since_us: None,
            told,
        };
        let task = tokio::spawn(worker.run(receiver)).abort_handle();
        Ok(Self {
            orders,
            task,
            trouble,
        })
    }

    /// Copies from now on, beginning at the cursor or, without one, at this time.
    pub(crate) async fn follow(&self, since_us: u64) {
        let _ended = self.orders.send(Order::Follow { since_us }).await;
    }

    /// Copies everything that the journal has, then pauses; returns the log's length.
    pub(crate) async fn drain(&self) -> u64 {
        let (done, answer) = oneshot::channel();
        let asked = async {
            let _ended = self.orders.send(Order::Drain(done)).await;
            answer.await.unwrap_or(0)
        };
        tokio::time::timeout(DRAIN * 2, asked).await.unwrap_or(0)
    }

    /// Begins a new file.
    pub(crate) async fn rotate(&self) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        let _ended = self.orders.send(Order::Rotate(done)).await;
        answer
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Says what is wrong at the moment.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }
}

/// Up to where was copied: the journal's cursor, and how long our log was then.
#[derive(Debug, Default, Clone, PartialEq)]
struct Position {
    cursor: String,
    offset: u64,
}

impl Position {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let offset = lines.next().and_then(|line| line.parse().ok());
        let cursor = lines.next().unwrap_or_default().to_owned();
        match offset {
            Some(offset) if !cursor.is_empty() => Self { cursor, offset },
            _ => Self::default(),
        }
    }

    fn write(&self, path: &Path) {
        let text = format!("{}\n{}\n", self.offset, self.cursor);
        if let Err(error) = proc_store::atomic::write(path, text.as_bytes(), 0o600) {
            tracing::warn!(%error, "the journal's cursor could not be kept");
        }
    }

    /// Bytes in the log that came after the cursor was last kept: they would come again.
    fn skip(&self, length: u64) -> u64 {
        if self.cursor.is_empty() {
            0
        } else {
            length.saturating_sub(self.offset)
        }
    }
}

struct Worker {
    source: Source,
    cursor: PathBuf,
    writer: LogWriter,
    place: Position,
    skip: u64,
    since_us: Option<u64>,
    told: watch::Sender<Option<String>>,
}

impl Worker {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut following = false;
        loop {
            let order = if following {
                tokio::select! {
                    order = orders.recv() => order,
                    failed = self.copy(true) => {
                        let error = failed.err().unwrap_or_else(|| io::Error::other("journalctl ended"));
                        self.told.send_replace(Some(error.to_string()));
                        tokio::select! {
                            order = orders.recv() => order,
                            () = tokio::time::sleep(RETRY) => continue,
                        }
                    }
                }
            } else {
                orders.recv().await
            };
            match order {
                None => return,
                Some(Order::Follow { since_us }) => {
                    self.since_us = Some(since_us);
                    following = true;
                }
                Some(Order::Drain(done)) => {
                    following = false;
                    let _best_effort = tokio::time::timeout(DRAIN, self.drain()).await;
                    let _nobody_waits = done.send(self.writer.offset());
                }
                Some(Order::Rotate(done)) => {
                    let _nobody_waits = done.send(self.writer.rotate_now());
                }
            }
        }
    }

    async fn drain(&mut self) {
        if self.since_us.is_none() && self.place.cursor.is_empty() {
            return;
        }
        if self.source.sync {
            let mut call = self.source.journalctl.clone();
            call.args.push("--sync".to_owned());
            let _best_effort = call.run().await;
        }
        match self.copy(false).await {
            Ok(()) => drop(self.told.send_replace(None)),
            Err(error) => drop(self.told.send_replace(Some(error.to_string()))),
        }
    }

    /// Copies until journalctl ends, which it does not when it follows.
    async fn copy(&mut self, follow: bool) -> io::Result<()> {
        let mut owned = self.start(follow)?;
        let stdout = owned.child().take_stdout();
        drop(owned.child().take_stderr());
        let Some(stdout) = stdout else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut reader = BufReader::new(Receiver::from_owned_fd(stdout)?);
        let mut line = Vec::new();
        loop {
            let unsaved = self.writer.offset() != self.place.offset;
            if unsaved && reader.buffer().is_empty() {
                self.save();
            }
            line.clear();
            if reader.fill_buf().await?.is_empty() {
                break;
            }
            // From here to the end of the entry nothing is lost if this is dropped: it is read again.
            (&mut reader)
                .take(LARGEST)
                .read_until(b'\n', &mut line)
                .await?;
            self.entry(&line);
        }
        self.save();
        let end = owned.child().exited().await?;
        if end.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("journalctl {end}")))
    }

    fn save(&mut self) {
        if self.place.cursor.is_empty() {
            return;
        }
        self.place.offset = self.writer.offset();
        if self.skip == 0 {
            self.place.write(&self.cursor);
        }
        if self.told.borrow().is_some() {
            self.told.send_replace(None);
        }
    }

    fn start(&self, follow: bool) -> io::Result<Owned> {
        let mut call = self.source.journalctl.clone();
        let mut args: Vec<String> = [
            "--output=json",
            "--output-fields=MESSAGE,_LINE_BREAK,_TRANSPORT,_UID",
            "--no-pager",
            "--quiet",
            "--all",
        ]
        .map(str::to_owned)
        .into();
        if follow {
            args.push("--follow".to_owned());
            args.push("--no-tail".to_owned());
        }
        if self.place.cursor.is_empty() {
            let us = self.since_us.unwrap_or(0);
            args.push(format!("--since=@{}.{:06}", us / 1_000_000, us % 1_000_000));
        } else {
            args.push(format!("--after-cursor={}", self.place.cursor));
        }
        args.extend(self.source.matches.iter().cloned());
        if self.source.quoted {
            args = args.iter().map(|arg| shell_word(arg)).collect();
        }
        call.args.extend(args);
        call.start(proc_core::Stdio::Null).map_err(io::Error::other)
    }

    fn entry(&mut self, line: &[u8]) {
        let Some(entry) = Entry::parse(line, self.source.uid) else {
            tracing::warn!(line = %String::from_utf8_lossy(line).escape_debug(), "unreadable journal entry");
            return;
        };
        let mut bytes = entry.bytes.as_slice();
        if self.skip > 0 {
            let known = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            bytes = &bytes[known..];
            self.skip -= known as u64;
        }
        if !bytes.is_empty() {
            let _counted_in_stats = self.writer.write_at(bytes, entry.at_ms);
        }
        self.place.cursor = entry.cursor;
    }
}

/// One line of the unit.
#[derive(Debug, PartialEq)]
struct Entry {
    cursor: String,
    at_ms: i64,
    bytes: Vec<u8>,
}

impl Entry {
    /// Reads an entry; what is not a line of the unit itself has no bytes.
    fn parse(line: &[u8], uid: Option<u32>) -> Option<Self> {
        let json: serde_json::Value = serde_json::from_slice(line).ok()?;
        let text = |key: &str| json.get(key).and_then(|value| value.as_str());
        let at_us: i64 = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
        let mut bytes = match json.get("MESSAGE") {
            Some(serde_json::Value::String(text)) => text.clone().into_bytes(),
            // What is not UTF-8 comes as an array of numbers.
            Some(serde_json::Value::Array(numbers)) => numbers
                .iter()
                .filter_map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok()))
                .collect(),
            _ => Vec::new(),
        };
        // A line that was cut for its length goes on in the next entry; the last one may have had no end.
        if !matches!(text("_LINE_BREAK"), Some("line-max" | "eof")) {
            bytes.push(b'\n');
        }
        if !matches!(text("_TRANSPORT"), Some("stdout" | "syslog" | "journal")) {
            bytes.clear();
        }
        let owner = text("_UID").and_then(|owner| owner.parse::<u32>().ok());
        if uid.is_some() && owner.is_some() && owner != uid {
            bytes.clear();
        }
        Some(Self {
            cursor: text("__CURSOR")?.to_owned(),
            at_ms: at_us / 1000,
            bytes,
        })
    }
}

/// Quotes a word for the shell at the other end of ssh(1).
pub(crate) fn shell_word(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_lines_whatever_their_bytes() {
        let entry = |fields: &str| {
            let line = format!(
                r#"{{"__CURSOR":"c","__REALTIME_TIMESTAMP":"1700000000123456","_TRANSPORT":"stdout",{fields}}}"#
            );
            Entry::parse(line.as_bytes(), Some(7)).unwrap()
        };
        assert_eq!(entry(r#""MESSAGE":"hi""#).bytes, b"hi\n");
        assert_eq!(entry(r#""MESSAGE":"hi","_UID":"7""#).bytes, b"hi\n");
        assert_eq!(entry(r#""MESSAGE":"hi","_UID":"8""#).bytes, b"");
        assert_eq!(entry(r#""MESSAGE":"hi""#).at_ms, 1_700_000_000_123);
        assert_eq!(entry(r#""MESSAGE":[104,255]"#).bytes, b"h\xff\n");
        assert_eq!(
            entry(r#""MESSAGE":"part","_LINE_BREAK":"line-max""#).bytes,
            b"part"
        );
        assert_eq!(
            entry(r#""MESSAGE":"end","_LINE_BREAK":"eof""#).bytes,
            b"end"
        );
        let manager =
            br#"{"__CURSOR":"c","__REALTIME_TIMESTAMP":"1","_TRANSPORT":"audit","MESSAGE":"x"}"#;
        assert_eq!(Entry::parse(manager, None).unwrap().bytes, b"");
        for garbage in [&b""[..], b"{}", b"[1]", b"\xff", br#"{"__CURSOR":1}"#] {
            assert_eq!(Entry::parse(garbage, None), None);
        }
    }

    #[test]
    fn a_position_reads_back_and_counts_what_came_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let place = Position {
            cursor: "s=1;i=2".into(),
            offset: 100,
        };
        place.write(&path);
        assert_eq!(Position::read(&path), place);
        assert_eq!((place.skip(130), place.skip(90)), (30, 0));
        std::fs::write(&path, "x\n").unwrap();
        assert_eq!(Position::read(&path), Position::default());
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
