//! Frames: `length: u32, version: u8, kind: u8, id: u32, fields`.
//!
//! `length` counts what follows it. `id` pairs a reply with its request; a notice has id 0.

use crate::wire::{DecodeError, MAX_FRAME};

/// The protocol's version. A peer that speaks another major one is refused at hello; unknown
/// fields and notices are skipped, so additions need no new number.
pub const VERSION: u8 = 1;

const HEAD: usize = 6;

/// One message as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Protocol version of the sender.
    pub version: u8,
    /// What kind of message this is.
    pub kind: u8,
    /// Pairs reply and request; 0 for notices.
    pub id: u32,
    /// The encoded fields.
    pub body: Vec<u8>,
}

impl Frame {
    /// Returns the bytes to send.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] for a frame that the peer would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let length = self.body.len() + HEAD;
        if length > MAX_FRAME {
            return Err(DecodeError::TooLong(length));
        }
        let word = u32::try_from(length).map_err(|_| DecodeError::TooLong(length))?;
        let mut bytes = Vec::with_capacity(length + 4);
        bytes.extend_from_slice(&word.to_le_bytes());
        bytes.push(self.version);
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

/// Cuts a stream of bytes into frames. Holds at most one frame that is not complete.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
}

impl Framer {
    /// Returns an empty framer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns how many bytes wait for the rest of their frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the next complete frame.
    ///
    /// # Errors
    /// [`DecodeError`] when the stream makes no sense; it cannot be resumed after that.
    pub fn take(&mut self) -> Result<Option<Frame>, DecodeError> {
        let Some(word) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*word) as usize;
        if length > MAX_FRAME {
            return Err(DecodeError::TooLong(length));
        }
        if length < HEAD {
            return Err(DecodeError::Truncated);
        }
        let Some(frame) = self.buffer.get(4..4 + length) else {
            return Ok(None);
        };
        let [version, kind, a, b, c, d, body @ ..] = frame else {
            return Err(DecodeError::Truncated);
        };
        let frame = Frame {
            version: *version,
            kind: *kind,
            id: u32::from_le_bytes([*a, *b, *c, *d]),
            body: body.to_vec(),
        };
        self.buffer.drain(..4 + length);
        // A large frame must not pin a large buffer for the rest of a shim's life.
        if self.buffer.is_empty() && self.buffer.capacity() > 64 * 1024 {
            self.buffer = Vec::new();
        }
        Ok(Some(frame))
    }
}
