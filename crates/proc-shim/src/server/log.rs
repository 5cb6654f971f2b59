//! One stream's log: written by the shim's own thread, or behind a queue where no service may wait.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use proc_output::{LogOptions, LogStats, LogWriter, OnFull, OpenLogError, QueuedWriter};

/// Where the bytes of a stream go.
#[derive(Debug)]
pub(super) enum Log {
    /// The service waits when the disk does.
    Block(Box<LogWriter>),
    /// What a queue cannot take is dropped. Costs a thread and a pipe.
    Drop(QueuedWriter),
}

impl Log {
    /// Opens one for each stream that the options have.
    pub(super) fn open_each(
        dir: &Path,
        instance: &str,
        options: &LogOptions,
    ) -> Result<Vec<Self>, OpenLogError> {
        let writers = LogWriter::new_each(dir, instance, options.streams(), options)?;
        // A service that writes its file itself has no pipe in which bytes could wait.
        let queued = options.on_full == OnFull::Drop && !options.direct;
        let each = writers.into_iter().map(|mut writer| {
            if queued {
                return QueuedWriter::new(writer).map(Self::Drop);
            }
            // A shim may be killed at any moment; the pipe is kept by others, this memory is not.
            writer.always_splice();
            Ok(Self::Block(Box::new(writer)))
        });
        each.collect::<io::Result<_>>()
            .map_err(|source| OpenLogError::Io {
                dir: dir.to_owned(),
                file: instance.to_owned(),
                source,
            })
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
