//! The last bytes of a stream, in memory.

use std::io::{self, Write};

/// Keeps the last `capacity` bytes pushed; older ones are overwritten.
///
/// Memory is taken as it is used, never more than the capacity. A capacity of 0 discards everything.
///
/// ```
/// let mut ring = proc_output::ByteRing::new(10);
/// ring.push(b"0123456789abcde");
/// assert_eq!(ring.to_vec(), b"56789abcde");
/// assert_eq!((ring.len(), ring.total()), (10, 15));
/// ```
#[derive(Debug, Clone, Default)]
pub struct ByteRing {
    bytes: Vec<u8>,
    capacity: usize,
    /// Where the oldest byte is, once the ring is full.
    start: usize,
    total: u64,
}

impl ByteRing {
    /// Returns an empty ring for exactly `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self {
            bytes: Vec::new(),
            capacity,
            start: 0,
            total: 0,
        }
    }

    /// Appends bytes, overwriting the oldest where there is no room.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let end = self.start.saturating_add(bytes.len());
        // The usual case: the ring is full, and there is room up to its end.
        if self.bytes.len() == self.capacity && end < self.capacity {
            self.bytes[self.start..end].copy_from_slice(bytes);
            self.start = end;
            return;
        }
        self.wrap(bytes);
    }

    fn wrap(&mut self, bytes: &[u8]) {
        // Of more than a ring's worth only the end can stay.
        let bytes = &bytes[bytes.len().saturating_sub(self.capacity)..];
        let (fresh, over) = bytes.split_at(bytes.len().min(self.capacity - self.bytes.len()));
        self.grow(fresh);
        // The ring is full from here on, or there is nothing left to do.
        let (to_end, from_start) = over.split_at(over.len().min(self.bytes.len() - self.start));
        self.bytes[self.start..self.start + to_end.len()].copy_from_slice(to_end);
        self.bytes[..from_start.len()].copy_from_slice(from_start);
        self.start += over.len();
        if self.start >= self.capacity {
            self.start -= self.capacity;
        }
    }

    fn grow(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let need = self.bytes.len() + bytes.len();
        if need > self.bytes.capacity() {
            // Doubling as a vector does, but never beyond the bound.
            let room = need.max(self.bytes.capacity() * 2).min(self.capacity);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the number of bytes kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Says whether nothing is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the largest number of bytes kept.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of bytes ever pushed: the offset behind the newest byte.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Returns the bytes kept, oldest first, as two slices of which the second follows the first.
    #[must_use]
    pub fn as_slices(&self) -> (&[u8], &[u8]) {
        let (newer, older) = self.bytes.split_at(self.start);
        (older, newer)
    }

    /// Returns a copy of the bytes kept, oldest first.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let (older, newer) = self.as_slices();
        [older, newer].concat()
    }

    /// Returns a copy of the last `n` bytes, or of fewer so that no UTF-8 character is torn.
    #[must_use]
    pub fn tail(&self, n: usize) -> Vec<u8> {
        let all = self.to_vec();
        crate::tail::tail_bytes(&all, n).to_vec()
    }

    /// Forgets the bytes and returns their memory; [`total`](Self::total) goes on.
    pub fn clear(&mut self) {
        self.bytes = Vec::new();
        self.start = 0;
    }
}

impl Write for ByteRing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn capacity_zero_discards() {
        let mut ring = ByteRing::new(0);
        ring.push(b"abc");
        assert_eq!((ring.to_vec(), ring.len(), ring.total()), (vec![], 0, 3));
    }

    #[test]
    fn a_copy_does_not_change_with_the_ring() {
        let mut ring = ByteRing::new(4);
        ring.push(b"abcd");
        let copy = ring.to_vec();
        ring.push(b"ef");
        assert_eq!((copy, ring.to_vec()), (b"abcd".to_vec(), b"cdef".to_vec()));
    }

    #[test]
    fn memory_is_taken_as_used_and_given_back() {
        let mut ring = ByteRing::new(1 << 30);
        ring.push(&[0; 1000]);
        assert!(ring.bytes.capacity() <= 2000, "{}", ring.bytes.capacity());
        ring.clear();
        assert_eq!(ring.bytes.capacity(), 0);
        let mut ring = ByteRing::new(1500);
        (0..100).for_each(|_| ring.push(&[0; 100]));
        assert_eq!(ring.bytes.capacity(), 1500);
    }

    proptest! {
        #[test]
        fn keeps_exactly_the_last(capacity in 0usize..40, pushes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let mut ring = ByteRing::new(capacity);
            let mut all = Vec::new();
            for bytes in pushes {
                ring.push(&bytes);
                all.extend(bytes);
                let want = &all[all.len().saturating_sub(capacity)..];
                prop_assert_eq!(ring.to_vec(), want);
                prop_assert_eq!((ring.len(), ring.total()), (want.len(), all.len() as u64));
                prop_assert!(ring.bytes.capacity() <= capacity);
            }
        }
    }
}
