//! The encoding: tag, length, value; nested by putting fields inside a value.
//!
//! Little endian. A field is `tag: u8, length: u32, value`. Unknown tags are skipped, so a newer
//! peer may add fields; a missing field takes its default or is an error of its own. Nothing here
//! panics or allocates more than the input is long.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// The longest frame, in bytes after the length word.
pub const MAX_FRAME: usize = 1024 * 1024;

/// A frame or field that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// A length points past the end.
    Truncated,
    /// The frame is longer than [`MAX_FRAME`].
    TooLong(usize),
    /// A field that must be there is not.
    Missing(&'static str),
    /// A value is outside of what its field allows.
    Invalid(&'static str),
    /// The message kind is not known to this version.
    UnknownKind(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("message ends in the middle of a field"),
            Self::TooLong(n) => write!(f, "message of {n} bytes is over the limit of {MAX_FRAME}"),
            Self::Missing(what) => write!(f, "message lacks `{what}`"),
            Self::Invalid(what) => write!(f, "message has an invalid `{what}`"),
            Self::UnknownKind(kind) => write!(f, "message kind {kind} is not known"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Builds the fields of one message.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn bytes(&mut self, tag: u8, value: &[u8]) -> &mut Self {
        self.bytes.push(tag);
        // A value beyond u32 cannot be sent anyway: the frame limit refuses it.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value);
        self
    }

    pub(crate) fn str(&mut self, tag: u8, value: &str) -> &mut Self {
        self.bytes(tag, value.as_bytes())
    }

    pub(crate) fn os(&mut self, tag: u8, value: &std::ffi::OsStr) -> &mut Self {
        self.bytes(tag, value.as_bytes())
    }

    pub(crate) fn u64(&mut self, tag: u8, value: u64) -> &mut Self {
        self.bytes(tag, &value.to_le_bytes())
    }

    pub(crate) fn i64(&mut self, tag: u8, value: i64) -> &mut Self {
        self.bytes(tag, &value.to_le_bytes())
    }

    pub(crate) fn flag(&mut self, tag: u8, value: bool) -> &mut Self {
        if value { self.bytes(tag, &[1]) } else { self }
    }

    pub(crate) fn millis(&mut self, tag: u8, value: Duration) -> &mut Self {
        self.u64(tag, u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn nested(&mut self, tag: u8, fill: impl FnOnce(&mut Writer)) -> &mut Self {
        let mut inner = Writer::new();
        fill(&mut inner);
        self.bytes(tag, &inner.bytes)
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) tag: u8,
    value: &'a [u8],
}

impl<'a> Field<'a> {
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.value
    }

    pub(crate) fn string(&self, what: &'static str) -> Result<String, DecodeError> {
        String::from_utf8(self.value.to_vec()).map_err(|_| DecodeError::Invalid(what))
    }

    pub(crate) fn os(&self) -> OsString {
        OsString::from_vec(self.value.to_vec())
    }

    pub(crate) fn u64(&self, what: &'static str) -> Result<u64, DecodeError> {
        let bytes = self
            .value
            .try_into()
            .map_err(|_| DecodeError::Invalid(what))?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(crate) fn u32(&self, what: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.u64(what)?).map_err(|_| DecodeError::Invalid(what))
    }

    pub(crate) fn i64(&self, what: &'static str) -> Result<i64, DecodeError> {
        let bytes = self
            .value
            .try_into()
            .map_err(|_| DecodeError::Invalid(what))?;
        Ok(i64::from_le_bytes(bytes))
    }

    pub(crate) fn i32(&self, what: &'static str) -> Result<i32, DecodeError> {
        i32::try_from(self.i64(what)?).map_err(|_| DecodeError::Invalid(what))
    }

    pub(crate) fn flag(&self) -> bool {
        self.value == [1]
    }

    pub(crate) fn millis(&self, what: &'static str) -> Result<Duration, DecodeError> {
        Ok(Duration::from_millis(self.u64(what)?))
    }

    pub(crate) fn fields(&self) -> Reader<'a> {
        Reader::new(self.value)
    }
}

/// Walks the fields of one message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the next field, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        let Some((&tag, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        let (length, rest) = rest
            .split_first_chunk::<4>()
            .ok_or(DecodeError::Truncated)?;
        let length =
            usize::try_from(u32::from_le_bytes(*length)).map_err(|_| DecodeError::Truncated)?;
        let value = rest.get(..length).ok_or(DecodeError::Truncated)?;
        self.rest = rest.get(length..).ok_or(DecodeError::Truncated)?;
        Ok(Some(Field { tag, value }))
    }
}
