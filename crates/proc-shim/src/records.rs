//! The shim's three records in `instances/<instance>/`: `shim`, `run`, `exit`.
//!
//! Plain `key=value` lines, so that they can be read and written without a parser worth the name.
//! The first line is `format=1`. Values have newlines, carriage returns and backslashes escaped.
//! Unknown keys are kept out of the way: a newer writer may add some. A later format that this reader
//! can take says `min_reader=1`; any other is refused. Each file is replaced as a
//! whole: by unique temporary name and rename, or, for `run`, in one of two [slots](crate::slots).
//! [`sync`] makes the last replacement durable. That comes later, because a record is first of all
//! for a crash of *processes*, which the page cache survives; what a power failure may take are
//! records whose boot id would not match anyway.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use proc_core::{Identity, ProcessEnd, Signal};

use crate::message::{Exited, Running};
use crate::slots;
use crate::unstored::Unstored;

/// No record is larger; what is, was not written by a shim.
const MAX_RECORD: u64 = 64 * 1024;

/// A record that makes no sense.
#[derive(Debug)]
pub enum RecordError {
    /// The file cannot be read.
    Io(io::Error),
    /// A line, key or value is not as it should be.
    Invalid(String),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Invalid(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Who keeps the instance, and where it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ShimRecord {
    /// The shim.
    pub identity: Identity,
    /// Its socket.
    pub socket: PathBuf,
    /// Whether it replaced a lost one.
    pub replacement: bool,
}

/// The current or last run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// The run.
    pub running: Running,
    /// The service's own cgroup.
    pub cgroup: Option<PathBuf>,
    /// Whether background children may outlive the leader.
    pub detached: bool,
    /// Whether the program was never executed.
    pub failed: bool,
}

/// The pairs of one record.
#[derive(Debug, Default)]
struct Pairs(BTreeMap<String, String>);

impl Pairs {
    fn parse(text: &str) -> Result<Self, RecordError> {
        let mut pairs = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=').ok_or_else(|| {
                RecordError::Invalid(format!("line `{}` has no `=`", line.escape_debug()))
            })?;
            pairs.insert(key.to_owned(), unescape(value));
        }
        if text.is_empty() || !text.ends_with('\n') {
            return Err(RecordError::Invalid("it ends in the middle".to_owned()));
        }
        match pairs.get("format").map(String::as_str) {
            Some("1") => Ok(Self(pairs)),
            Some(_) if pairs.get("min_reader").is_some_and(|oldest| oldest == "1") => {
                Ok(Self(pairs))
            }
            Some(other) => Err(RecordError::Invalid(format!(
                "format `{}` is not known",
                other.escape_debug()
            ))),
            None => Err(RecordError::Invalid("it has no `format`".to_owned())),
        }
    }

    fn text(&self, key: &str) -> Result<&str, RecordError> {
        self.0
            .get(key)
            .map(String::as_str)
            .ok_or_else(|| RecordError::Invalid(format!("it has no `{key}`")))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, RecordError> {
        self.text(key)?
            .parse()
            .map_err(|_| RecordError::Invalid(format!("`{key}` is not a number")))
    }

    fn optional<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, RecordError> {
        if self.0.contains_key(key) {
            self.number(key).map(Some)
        } else {
            Ok(None)
        }
    }

    fn flag(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| value == "1")
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.0
            .get(key)
            .map(|text| PathBuf::from(from_hex_or_text(text)))
    }

    fn identity(&self) -> Result<Identity, RecordError> {
        Ok(Identity {
            boot_id: self.text("boot_id")?.to_owned(),
            pid_ns: self.number("pid_ns")?,
            pid: self.number("pid")?,
            start_ticks: self.number("start_ticks")?,
            pidfs_ino: self.optional("pidfs_ino")?,
            handle: self.0.get("handle").cloned(),
        })
    }

    /// Reads an exit whose keys begin so.
    fn exit(&self, prefix: &str) -> Result<Exited, RecordError> {
        let key = |name: &str| format!("{prefix}{name}");
        let code = self.optional::<i32>(&key("code"))?;
        let end = match (code, self.optional::<i32>(&key("signal"))?) {
            (Some(code), None) => Some(ProcessEnd::Exited(code)),
            (None, Some(raw)) => {
                let signal = Signal::from_raw(raw)
                    .ok_or_else(|| RecordError::Invalid(format!("signal {raw} is not known")))?;
                Some(ProcessEnd::Signaled {
                    signal,
                    core_dumped: self.flag(&key("core_dumped")),
                })
            }
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err(RecordError::Invalid(
                    "it has a code and a signal".to_owned(),
                ));
            }
        };
        Ok(Exited {
            run: self.number(&key("run"))?,
            end,
            unknown: self.0.get(&key("unknown")).cloned(),
            at: self.number(&key("at_ms"))?,
            runtime_ms: self.number(&key("runtime_ms"))?,
            oom: self.optional::<u8>(&key("oom"))?.map(|value| value != 0),
            stdout_offset: self.number(&key("stdout_offset"))?,
            stderr_offset: self.number(&key("stderr_offset"))?,
        })
    }
}

/// Collects lines.
#[derive(Debug)]
struct Lines(String);

impl Lines {
    fn new() -> Self {
        Self("format=1\n".to_owned())
    }

    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        self.0.push_str(key);
        self.0.push('=');
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                c => self.0.push(c),
            }
        }
        self.0.push('\n');
    }

    fn path(&mut self, key: &str, path: &Path) {
        self.put(key, to_hex_or_text(path));
    }

    fn identity(&mut self, identity: &Identity) {
        self.put("boot_id", &identity.boot_id);
        self.put("pid_ns", identity.pid_ns);
        self.put("pid", identity.pid);
        self.put("start_ticks", identity.start_ticks);
        if let Some(inode) = identity.pidfs_ino {
            self.put("pidfs_ino", inode);
        }
        if let Some(handle) = &identity.handle {
            self.put("handle", handle);
        }
    }

    /// Puts an exit under keys that begin so.
    fn exit(&mut self, prefix: &str, exited: &Exited) {
        let mut put = |name: &str, value: &dyn std::fmt::Display| {
            self.put(&format!("{prefix}{name}"), value);
        };
        put("run", &exited.run);
        match exited.end {
            Some(ProcessEnd::Exited(code)) => put("code", &code),
            Some(ProcessEnd::Signaled {
                signal,
                core_dumped,
            }) => {
                put("signal", &signal.raw());
                put("core_dumped", &u8::from(core_dumped));
            }
            None => {}
        }
        if let Some(reason) = &exited.unknown {
            put("unknown", reason);
        }
        put("at_ms", &exited.at);
        put("runtime_ms", &exited.runtime_ms);
        if let Some(oom) = exited.oom {
            put("oom", &u8::from(oom));
        }
        put("stdout_offset", &exited.stdout_offset);
        put("stderr_offset", &exited.stderr_offset);
    }
}

impl ShimRecord {
    pub(crate) fn encode(&self) -> String {
        let mut lines = Lines::new();
        lines.identity(&self.identity);
        lines.path("socket", &self.socket);
        lines.put("replacement", u8::from(self.replacement));
        lines.0
    }

    /// Reads `dir/shim`; `None` when there is none.
    ///
    /// # Errors
    /// [`RecordError`] for a file that is no such record.
    pub fn read(dir: &Path) -> Result<Option<Self>, RecordError> {
        read(&dir.join("shim"), Self::decode)
    }

    fn decode(text: &str) -> Result<Self, RecordError> {
        let pairs = Pairs::parse(text)?;
        let socket = pairs
            .path("socket")
            .ok_or_else(|| RecordError::Invalid("it has no `socket`".to_owned()))?;
        Ok(Self {
            identity: pairs.identity()?,
            socket,
            replacement: pairs.flag("replacement"),
        })
    }
}

impl RunRecord {
    pub(crate) fn encode(&self) -> String {
        let mut lines = Lines::new();
        lines.put("run", self.running.run);
        lines.identity(&self.running.identity);
        lines.put("pgid", self.running.pgid);
        lines.put("started_at_ms", self.running.started_at);
        lines.put("detached", u8::from(self.detached));
        lines.put("failed", u8::from(self.failed));
        if let Some(cgroup) = &self.cgroup {
            lines.path("cgroup", cgroup);
        }
        lines.0
    }

    /// Reads `dir/run`; `None` when there is none.
    ///
    /// # Errors
    /// [`RecordError`] for a file that is no such record.
    pub fn read(dir: &Path) -> Result<Option<Self>, RecordError> {
        read(&dir.join("run"), Self::decode)
    }

    fn decode(text: &str) -> Result<Self, RecordError> {
        let pairs = Pairs::parse(text)?;
        let running = Running {
            run: pairs.number("run")?,
            identity: pairs.identity()?,
            pgid: pairs.number("pgid")?,
            started_at: pairs.number("started_at_ms")?,
            downgrades: Vec::new(),
        };
        let (detached, failed) = (pairs.flag("detached"), pairs.flag("failed"));
        Ok(Self {
            running,
            cgroup: pairs.path("cgroup"),
            detached,
            failed,
        })
    }
}

/// The end of the last run, in its record, and those before it that nobody has acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitRecord {
    /// The end.
    pub exited: Exited,
    /// Whether nothing of the tree was left.
    pub tree_empty: bool,
    /// The earlier ends. Some may have been acknowledged after the record was written.
    pub unstored: Unstored,
}

impl ExitRecord {
    pub(crate) fn encode(&self) -> String {
        let mut lines = Lines::new();
        lines.exit("", &self.exited);
        lines.put("tree_empty", u8::from(self.tree_empty));
        for (number, exited) in self.unstored.exits.iter().enumerate() {
            lines.exit(&earlier(number), exited);
        }
        if self.unstored.dropped > 0 {
            lines.put("dropped", self.unstored.dropped);
            lines.put("dropped_through", self.unstored.dropped_through);
        }
        lines.0
    }

    /// Reads `dir/exit`; `None` when there is none.
    ///
    /// # Errors
    /// [`RecordError`] for a file that is no such record.
    pub fn read(dir: &Path) -> Result<Option<Self>, RecordError> {
        read(&dir.join("exit"), Self::decode)
    }

    fn decode(text: &str) -> Result<Self, RecordError> {
        let pairs = Pairs::parse(text)?;
        let mut unstored = Unstored {
            exits: Vec::new(),
            dropped: pairs.optional("dropped")?.unwrap_or(0),
            dropped_through: pairs.optional("dropped_through")?.unwrap_or(0),
        };
        for number in 0.. {
            let prefix = earlier(number);
            if !pairs.0.contains_key(&format!("{prefix}run")) {
                break;
            }
            unstored.exits.push(pairs.exit(&prefix)?);
        }
        Ok(Self {
            exited: pairs.exit("")?,
            tree_empty: pairs.flag("tree_empty"),
            unstored,
        })
    }
}

/// Returns how the keys of an earlier exit begin.
fn earlier(number: usize) -> String {
    format!("earlier.{number}.")
}

fn read<T>(
    path: &Path,
    decode: impl Fn(&str) -> Result<T, RecordError>,
) -> Result<Option<T>, RecordError> {
    // A FIFO in place of a record must not hold anybody up, hence O_NONBLOCK.
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RecordError::Io(error)),
    };
    if !file.metadata().map_err(RecordError::Io)?.is_file() {
        return Err(RecordError::Invalid("it is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_RECORD + 1)
        .read_to_end(&mut bytes)
        .map_err(RecordError::Io)?;
    if bytes.len() as u64 > MAX_RECORD {
        return Err(RecordError::Invalid("it is too long".to_owned()));
    }
    let text = if slots::is_slotted(&bytes) {
        slots::newest(&bytes).ok_or_else(|| RecordError::Invalid("no slot is whole".to_owned()))?
    } else {
        String::from_utf8(bytes).map_err(|_| RecordError::Invalid("it is not text".to_owned()))?
    };
    decode(&text).map(Some)
}

/// Replaces `dir/name`, and returns the new file. The content is there for every other process at once; see [`sync`].
pub(crate) fn replace(dir: &Path, name: &str, content: &[u8]) -> io::Result<File> {
    let temporary = dir.join(format!(".{name}.{}", std::process::id()));
    let create = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(&temporary)
    };
    let created = create().or_else(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        // The name is this process's own, so this is of a failed attempt of ours or of a dead process that had the
        // same number.
        fs::remove_file(&temporary)?;
        create()
    });
    let written = created.and_then(|mut file| {
        file.write_all(content)?;
        fs::rename(&temporary, dir.join(name))?;
        Ok(file)
    });
    if written.is_err() {
        let _absent = fs::remove_file(&temporary);
    }
    written
}

/// Makes the last replacement of `dir/name` survive a power failure.
pub(crate) fn sync(dir: &Path, name: &str) -> io::Result<()> {
    File::open(dir.join(name))?.sync_data()?;
    File::open(dir)?.sync_all()
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some(other)) => out.push(other),
            (c, _) => out.push(c),
        }
    }
    out
}

/// Writes a path as text if it is text, else as `hex:…`.
fn to_hex_or_text(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    match path.to_str() {
        Some(text) if !text.starts_with("hex:") => text.to_owned(),
        _ => {
            let bytes = path.as_os_str().as_bytes();
            let mut out = "hex:".to_owned();
            for byte in bytes {
                out.push_str(&format!("{byte:02x}"));
            }
            out
        }
    }
}

fn from_hex_or_text(text: &str) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt as _;
    let Some(hex) = text.strip_prefix("hex:") else {
        return text.into();
    };
    let digits: Vec<u8> = hex
        .bytes()
        .filter_map(|b| char::from(b).to_digit(16))
        .map(|d| d as u8)
        .collect();
    std::ffi::OsString::from_vec(
        digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |sum, d| sum * 16 + d))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unstored::KEPT_EXITS;

    #[test]
    fn a_record_of_as_many_exits_as_are_kept_can_be_read() {
        let exited = |run| Exited {
            run,
            end: None,
            unknown: Some("\\".repeat(10_000)),
            at: u64::MAX,
            runtime_ms: u64::MAX,
            oom: Some(true),
            stdout_offset: u64::MAX,
            stderr_offset: u64::MAX,
        };
        let mut unstored = Unstored::default();
        for run in 0..=KEPT_EXITS as u64 {
            unstored.keep(exited(u64::MAX - 100 + run));
        }
        let record = ExitRecord {
            exited: exited(u64::MAX),
            tree_empty: true,
            unstored,
        };
        let text = record.encode();
        assert!((text.len() as u64) < MAX_RECORD, "{} bytes", text.len());
        let read = ExitRecord::decode(&text).expect("it was written so");
        assert_eq!(read, record);
    }
}
