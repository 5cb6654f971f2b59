//! One stream's log: written by the shim's own thread, or behind a queue where no service may wait.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use proc_output::{LogOptions, LogStats, LogWriter, OnFull, OpenLogError, QueuedWriter, Stream};

/// Where the bytes of a stream go.
#[derive(Debug)]
pub(super) enum Log {
    /// The service waits when the disk does.
    Block(Box<LogWriter>),
    /// What a queue cannot take is dropped. Costs a thread and a pipe.
    Drop(QueuedWriter),
}

impl Log {
    pub(super) fn open(
        dir: &Path,
        instance: &str,
        stream: Stream,
        options: &LogOptions,
    ) -> Result<Self, OpenLogError> {
        // A service that writes its file itself has no pipe in which bytes could wait.
        if options.on_full == OnFull::Drop && !options.direct {
            return QueuedWriter::open(dir, instance, stream, options).map(Self::Drop);
        }
        let mut writer = LogWriter::new(dir, instance, stream, options)?;
        // A shim may be killed at any moment; the pipe is kept by others, this memory is not.
        writer.always_splice();
        Ok(Self::Block(Box::new(writer)))
    }

    pub(super) fn splice_from(&mut self, pipe: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        match self {
            Self::Block(writer) => writer.splice_from(pipe, max),
            Self::Drop(writer) => writer.splice_from(pipe, max),
        }
    }

    /// Gives the queue, if there is one, a moment to reach the file.
    pub(super) fn settle(&self, patience: Duration) {
        if let Self::Drop(writer) = self {
            let _counted_later = writer.settle(patience);
        }
    }

    pub(super) fn direct(&mut self) -> io::Result<OwnedFd> {
        match self {
            Self::Block(writer) => writer.direct(),
            Self::Drop(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Block(writer) => writer.offset(),
            Self::Drop(writer) => writer.offset(),
        }
    }

    pub(super) fn stats(&self) -> LogStats {
        match self {
            Self::Block(writer) => writer.stats(),
            Self::Drop(writer) => writer.stats(),
        }
    }

    pub(super) fn rotate(&mut self) -> io::Result<()> {
        match self {
            Self::Block(writer) => writer.rotate_now(),
            Self::Drop(writer) => {
                writer.rotate();
                Ok(())
            }
        }
    }

    /// Notes a moment beside the bytes; a full disk does not matter here.
    pub(super) fn mark(&mut self, text: &str) {
        match self {
            Self::Block(writer) => {
                let _unimportant = writer.mark(text);
            }
            Self::Drop(writer) => writer.mark(text),
        }
    }

    /// Does what time asks for; returns when the next call is due. A queue's thread does it itself.
    pub(super) fn housekeep(&mut self) -> Option<Duration> {
        match self {
            Self::Block(writer) => writer.housekeep(),
            Self::Drop(_) => None,
        }
    }

    /// Ends it when what it holds is written, but not later than `patience` allows.
    pub(super) fn finish(self, patience: Duration) {
        if let Self::Drop(writer) = self {
            let _nothing_left_to_do = writer.finish(patience);
        }
    }
}
