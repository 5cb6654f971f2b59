//! Versioned JSON records: one file, one object, `{"format":1,…}`.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Disk;
use crate::atomic::{self, WriteError};

/// The largest record that is read, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// A type that is stored as a record.
///
/// | | old data | new data |
/// |---|---|---|
/// | old reader | reads it | reads it if the data's `min_reader` allows, ignoring unknown fields (so no `deny_unknown_fields`); else sets it aside |
/// | new reader | [`Record::migrate`]s it | reads it |
///
/// ```
/// use proc_store::{Disk, Read, Record, record};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Wanted { up: bool }
/// impl Record for Wanted { const FORMAT: u32 = 1; }
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("web.json");
/// record::write_json(&Disk::real(), &path, &Wanted { up: true })?;
/// assert_eq!(std::fs::read_to_string(&path)?, "{\"format\":1,\"min_reader\":1,\"up\":true}\n");
/// let Read::Value(wanted) = record::read_json::<Wanted>(&Disk::real(), &path)? else { panic!() };
/// assert!(wanted.up);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Record: Serialize + DeserializeOwned {
    /// The format that this program writes, from 1.
    const FORMAT: u32;

    /// The oldest reader that understands what this program writes: fields may be added without
    /// raising it. Default: only readers of the same format.
    const MIN_READER: u32 = Self::FORMAT;

    /// Turns an object of the older `format` into one of [`Record::FORMAT`]; `format` 0 is an
    /// object without a `format` field. Default: takes fields as they are, except from format 0.
    ///
    /// # Errors
    /// Why it cannot, as a lowercase fragment; the record is then set aside.
    fn migrate(format: u32, object: Map<String, Value>) -> Result<Map<String, Value>, String> {
        match format {
            0 => Err("no `format` field".to_owned()),
            _ => Ok(object),
        }
    }
}

/// The outcome of reading a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Read<T> {
    /// The record.
    Value(T),
    /// There is none.
    Absent,
    /// There was something unreadable; it was set aside.
    SetAside(SetAside),
}

impl<T> Read<T> {
    /// Returns the record, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::SetAside(_) => None,
        }
    }
}

/// A file that could not be read and was renamed, to be reported and looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is unreadable ({reason}); set aside as `{aside}`")]
pub struct SetAside {
    /// Where it was.
    pub path: PathBuf,
    /// Where it is now: `NAME.unreadable-N`.
    pub aside: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Writes `value` to `path`, atomically, mode 0600.
///
/// # Errors
/// As [`atomic::write()`]; a value that JSON cannot express is an [`io::ErrorKind::InvalidInput`].
pub fn write_json<T: Record>(disk: &Disk, path: &Path, value: &T) -> Result<(), WriteError> {
    let bytes = to_bytes(value).map_err(|error| WriteError::Write {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, error),
    })?;
    atomic::write_on(disk, path, &bytes, 0o600)
}

/// What a record looks like on the disk.
#[derive(Serialize)]
struct Envelope<'a, T> {
    format: u32,
    min_reader: u32,
    #[serde(flatten)]
    value: &'a T,
}

pub(crate) fn to_bytes<T: Record>(value: &T) -> serde_json::Result<Vec<u8>> {
    let envelope = Envelope {
        format: T::FORMAT,
        min_reader: T::MIN_READER,
        value,
    };
    let mut bytes = serde_json::to_vec(&envelope)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads the record at `path`. What cannot be understood (not a regular file, not JSON, of a newer
/// format, refused by its migration) is renamed to `NAME.unreadable-N` and reported.
///
/// # Errors
/// What the system says: a record that cannot be *read* (EIO, EMFILE, no permission) is left where
/// it is, since it may be fine.
pub fn read_json<T: Record>(disk: &Disk, path: &Path) -> io::Result<Read<T>> {
    let reason = match disk.read(path, LIMIT) {
        Ok(bytes) => match parse(&bytes) {
            Ok(value) => return Ok(Read::Value(value)),
            Err(reason) => reason,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Absent),
        Err(error) => wrong_kind(&error).ok_or(error)?,
    };
    Ok(Read::SetAside(set_aside(disk, path, reason)?))
}

/// Returns what is wrong with the file itself, if `error` says so.
pub(crate) fn wrong_kind(error: &io::Error) -> Option<String> {
    let symbolic_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    match error.kind() {
        _ if symbolic_link => Some("a symbolic link".to_owned()),
        io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => {
            Some("not a regular file".to_owned())
        }
        io::ErrorKind::FileTooLarge => Some(format!("more than {LIMIT} bytes")),
        _ => None,
    }
}

/// Understands the bytes of a record of any format.
///
/// # Errors
/// What is wrong with them, as a lowercase fragment.
pub fn parse<T: Record>(bytes: &[u8]) -> Result<T, String> {
    let mut object: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let format = number(&mut object, "format")?.unwrap_or(0);
    let min_reader = number(&mut object, "min_reader")?.unwrap_or(format);
    if format > T::FORMAT && min_reader > T::FORMAT {
        return Err(format!(
            "format {format} is newer than format {}",
            T::FORMAT
        ));
    }
    if format < T::FORMAT {
        object = T::migrate(format, object)?;
    }
    serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
}

/// Takes a small number out of the envelope.
fn number(object: &mut Map<String, Value>, key: &str) -> Result<Option<u32>, String> {
    let Some(value) = object.remove(key) else {
        return Ok(None);
    };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .map(Some)
        .ok_or_else(|| format!("`{key}` is not a number of a format"))
}

/// Renames `path` to the first free `NAME.unreadable-N`, N from 1.
///
/// # Errors
/// What the system says; the file is then where it was.
pub fn set_aside(disk: &Disk, path: &Path, reason: String) -> io::Result<SetAside> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = (1_u64..)
        .map(|n| path.with_file_name(format!("{name}.unreadable-{n}")))
        .find(|aside| std::fs::symlink_metadata(aside).is_err())
        .expect("some number below 2^64 is free");
    disk.rename(path, &aside)?;
    Ok(SetAside {
        path: path.to_owned(),
        aside,
        reason,
    })
}

/// Everything that [`read_all`] found.
#[derive(Debug)]
pub struct Found<T> {
    /// The records, by file name without `.json`, in order of name.
    pub records: Vec<(String, T)>,
    /// What was set aside.
    pub set_aside: Vec<SetAside>,
    /// What could not be read and was left where it is.
    pub failed: Vec<(PathBuf, io::Error)>,
}

/// Reads every `NAME.json` of the directory `dir`; one that cannot be read never stops the rest. A
/// missing directory holds none.
///
/// # Errors
/// What the system says about reading the directory.
pub fn read_all<T: Record>(disk: &Disk, dir: &Path) -> io::Result<Found<T>> {
    let mut found = Found {
        records: Vec::new(),
        set_aside: Vec::new(),
        failed: Vec::new(),
    };
    for (name, path) in json_files(dir)? {
        match read_json(disk, &path) {
            Ok(Read::Value(value)) => found.records.push((name, value)),
            Ok(Read::SetAside(aside)) => found.set_aside.push(aside),
            Ok(Read::Absent) => {}
            Err(error) => found.failed.push((path, error)),
        }
    }
    Ok(found)
}

/// Lists `NAME.json` in `dir`, by name.
pub(crate) fn json_files(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(stem) = name
            .strip_suffix(".json")
            .filter(|stem| !stem.starts_with('.'))
        {
            files.push((stem.to_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}
