//! The closed files of one stream: which there are, which must go, which wait for compression.

use std::collections::VecDeque;
use std::io;

use crate::directory::Directory;
use crate::names::{Names, Part};
use crate::options::LogOptions;

/// One closed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) seq: u64,
    /// Whether it still waits to be compressed.
    pub(crate) plain: bool,
}

/// The closed files, oldest first.
#[derive(Debug, Default)]
pub(crate) struct ClosedFiles {
    files: VecDeque<Closed>,
}

impl ClosedFiles {
    /// Finds the closed files of each stream, and clears away what a crash left half done.
    pub(crate) fn scan(directory: &Directory, streams: &[Names]) -> io::Result<Vec<Self>> {
        let mut found: Vec<Vec<Closed>> = vec![Vec::new(); streams.len()];
        let mut stale = Vec::new();
        directory.names(|name| {
            for (names, files) in streams.iter().zip(&mut found) {
                match names.part(name) {
                    Some(Part::Closed(seq)) => files.push(Closed { seq, plain: true }),
                    Some(Part::ClosedGz(seq)) => files.push(Closed { seq, plain: false }),
                    Some(Part::Temporary(_)) => stale.push(name.to_owned()),
                    _ => {}
                }
            }
        })?;
        for name in stale {
            directory.remove(&name)?;
        }
        Ok(found.into_iter().map(Self::of).collect())
    }

    fn of(mut files: Vec<Closed>) -> Self {
        // Where both exist, the compressor ended between its rename and its unlink, and the plain
        // one counts: it is the one known to be whole.
        files.sort_by_key(|file| (file.seq, !file.plain));
        files.dedup_by_key(|file| file.seq);
        Self {
            files: files.into(),
        }
    }

    pub(crate) fn last(&self) -> Option<Closed> {
        self.files.back().copied()
    }

    pub(crate) fn push(&mut self, seq: u64) {
        self.files.push_back(Closed { seq, plain: true });
    }

    /// Removes what is too many, too old, or too much beside a live file of full size.
    pub(crate) fn clean(
        &mut self,
        directory: &Directory,
        names: &Names,
        options: &LogOptions,
        now: i64,
    ) -> io::Result<()> {
        let keep = options.keep.map_or(usize::MAX, |keep| keep as usize);
        while self.files.len() > keep {
            self.remove_oldest(directory, names)?;
        }
        if let Some(age) = options.max_age {
            let oldest = now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
            while self
                .files
                .front()
                .is_some_and(|file| stat(directory, names, file.seq).1 < oldest)
            {
                self.remove_oldest(directory, names)?;
            }
        }
        if let Some(total) = options.stream_max() {
            let room = total.saturating_sub(options.file_limit());
            let mut sum: u64 = self
                .files
                .iter()
                .map(|file| stat(directory, names, file.seq).0)
                .sum();
            while sum > room {
                let Some(file) = self.files.front() else {
                    break;
                };
                sum -= stat(directory, names, file.seq).0.min(sum);
                self.remove_oldest(directory, names)?;
            }
        }
        Ok(())
    }

    /// Returns when the oldest file was last written, in milliseconds since the epoch.
    pub(crate) fn oldest_at(&self, directory: &Directory, names: &Names) -> Option<i64> {
        self.files
            .front()
            .map(|file| stat(directory, names, file.seq).1)
    }

    /// Returns the oldest file that is not compressed, and counts it as done.
    #[cfg(feature = "compress")]
    pub(crate) fn take_plain(&mut self) -> Option<u64> {
        let file = self.files.iter_mut().find(|file| file.plain)?;
        file.plain = false;
        Some(file.seq)
    }

    fn remove_oldest(&mut self, directory: &Directory, names: &Names) -> io::Result<()> {
        let Some(file) = self.files.front() else {
            return Ok(());
        };
        let seq = file.seq;
        // The sidecar last: a log without one is still read, a sidecar without a log is litter
        // that the next attempt finds only through its log.
        for name in [
            names.closed(seq),
            names.closed_gz(seq),
            names.closed_times(seq),
        ] {
            directory.remove(&name)?;
        }
        self.files.pop_front();
        Ok(())
    }
}

/// Returns size and time of a closed file, compressed or not; of a missing one, nothing and now.
fn stat(directory: &Directory, names: &Names, seq: u64) -> (u64, i64) {
    let plain = directory.stat(&names.closed(seq));
    plain
        .or_else(|| directory.stat(&names.closed_gz(seq)))
        .unwrap_or((0, i64::MAX))
}
