//! From the pipe to the file, the cheapest way.
//!
//! A service that writes in bulk is spliced: its bytes never pass through this process. For one that
//! writes a line now and then, a splice costs more than the copy that it saves, so a stream is read
//! and written until a read comes back with a lot, and spliced until a splice moves but little.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::LogWriter;
use crate::clock::now_ms;
use crate::sys;

/// The most that is read at once, and the size of the one buffer, taken when first needed.
const CHUNK: usize = 16 * 1024;
/// A page or more at once is bulk: it goes on as splice.
const BULK: usize = 4096;
/// So many smaller ones in a row are none: one alone may be a bulk writer's first page.
const SMALL_RUN: u8 = 8;

/// What is known of the descriptor that bytes come from.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// How many more small splices it takes to read again; 0 while reading.
    bulk: u8,
    /// Whether it, or the file's file system, does not take part in splice.
    no_splice: bool,
    /// Whether bytes may never be in this process alone.
    always_splice: bool,
    reads: sys::ReadNow,
}

impl Way {
    fn moved(&mut self, n: usize) {
        self.bulk = if n >= BULK {
            SMALL_RUN
        } else {
            self.bulk.saturating_sub(1)
        };
    }
}

impl LogWriter {
    /// Moves bytes from pipe to file by splice alone, however few: then no byte is ever in this process only, and
    /// none is lost when it is killed in between. Costs a little more for a service that writes single lines.
    ///
    /// Where splice does not work (a terminal, some file systems) bytes are read and written all the same.
    pub fn always_splice(&mut self) {
        self.way.always_splice = true;
    }

    /// Takes up to `max` bytes from a pipe to the file; in bulk, without copying them through this
    /// process.
    ///
    /// Call it when the pipe is readable. Returns the bytes taken from the pipe, kept or dropped;
    /// 0 is the end of the stream. A descriptor that is not a pipe is read instead.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the pipe is empty (a blocking descriptor that is no pipe blocks instead),
    /// otherwise what reading met. Failures of the file are not errors here: see
    /// [`LogStats`](crate::LogStats).
    pub fn splice_from(&mut self, pipe: impl AsFd, max: usize) -> io::Result<usize> {
        let (pipe, now) = (pipe.as_fd(), now_ms());
        let error = match self.prepare(now) {
            Err(error) => error,
            Ok(_) if self.way.no_splice || (self.way.bulk == 0 && !self.way.always_splice) => {
                return self.copy_from(pipe, max, now);
            }
            Ok(room) => {
                let Some(live) = self.live.as_ref() else {
                    return self.copy_from(pipe, max, now);
                };
                let mut to = live.length;
                match sys::splice(pipe, &live.file, Some(&mut to), max.min(room)) {
                    Ok(n) => {
                        self.way.moved(n);
                        self.advance(n);
                        return Ok(n);
                    }
                    Err(Errno::INVAL) => {
                        self.way.no_splice = true;
                        return self.copy_from(pipe, max, now);
                    }
                    Err(errno @ (Errno::AGAIN | Errno::INTR)) => return Err(errno.into()),
                    Err(errno) => errno.into(),
                }
            }
        };
        // The file refused: what waits in the pipe is taken out all the same, or the service would
        // hang in its next write.
        let n = self.read_chunk(pipe, max)?;
        if n > 0 {
            self.drop_bytes(n, &error, now);
        }
        Ok(n)
    }

    /// Takes bytes by read and write.
    fn copy_from(&mut self, pipe: BorrowedFd<'_>, max: usize, now: i64) -> io::Result<usize> {
        let n = self.read_chunk(pipe, max)?;
        self.way.moved(n);
        let buffer = std::mem::take(&mut self.buffer);
        self.write_at(&buffer[..n], now);
        self.buffer = buffer;
        Ok(n)
    }

    fn read_chunk(&mut self, pipe: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; CHUNK];
        }
        let into = &mut self.buffer[..max.min(CHUNK)];
        self.way.reads.read(pipe, into)
    }
}
