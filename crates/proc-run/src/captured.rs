//! Output kept within a bound: the last bytes, and how many came before them.

use std::collections::VecDeque;
use std::fmt;

use serde::{Serialize, Serializer};

/// The bytes a command wrote, at most as many as were allowed: the last ones.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Captured {
    ring: VecDeque<u8>,
    limit: usize,
    dropped: u64,
}

impl Captured {
    /// Returns the last bytes of something that was kept elsewhere, `before` bytes into it.
    #[must_use]
    pub fn tail(bytes: &[u8], before: u64) -> Self {
        Captured {
            ring: bytes.iter().copied().collect(),
            limit: bytes.len(),
            dropped: before,
        }
    }

    pub(crate) fn new(limit: usize) -> Self {
        Captured {
            ring: VecDeque::new(),
            limit,
            dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let fits = &bytes[bytes.len().saturating_sub(self.limit)..];
        let excess = (self.ring.len() + fits.len()).saturating_sub(self.limit);
        self.ring.drain(..excess);
        self.ring.extend(fits);
        self.dropped += (bytes.len() - fits.len() + excess) as u64;
    }

    /// Returns the bytes that were kept.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (front, back) = self.ring.as_slices();
        [front, back].concat()
    }

    /// Returns them as text, with a mark for what is no UTF-8.
    #[must_use]
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.to_bytes()).into_owned()
    }

    /// Returns how many bytes were kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Tells whether nothing was kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Returns how many bytes came before those that were kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("text", &self.to_text())
            .field("dropped", &self.dropped)
            .finish()
    }
}

/// Serialises as text.
impl Serialize for Captured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_basics() {
        let mut ring = Captured::new(10);
        ring.push(b"0123456789");
        ring.push(b"abcde");
        assert_eq!(
            (ring.to_text().as_str(), ring.len(), ring.dropped()),
            ("56789abcde", 10, 5)
        );
        let copy = ring.clone();
        ring.push(&[b'x'; 25]);
        assert_eq!(
            (ring.to_text().as_str(), ring.dropped()),
            ("xxxxxxxxxx", 30)
        );
        assert_eq!(copy.to_text(), "56789abcde", "a copy is a copy");
    }

    #[test]
    fn zero_ring() {
        let mut ring = Captured::new(0);
        ring.push(b"abc");
        assert_eq!((ring.is_empty(), ring.dropped()), (true, 3));
    }
}
