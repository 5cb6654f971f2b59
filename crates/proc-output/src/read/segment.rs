//! The files of one stream in their order, opened so that a rotation under way cannot mislead.

use std::fs::File;
use std::io;
#[cfg(feature = "compress")]
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::directory::Directory;
use crate::names::{Names, Part};
use crate::times::{Header, TimesReader};

/// An open log file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) seq: u64,
    /// The offset of its first byte, where its sidecar knows it.
    pub(crate) base: Option<u64>,
    /// When it was begun, where its sidecar knows it.
    pub(crate) at: Option<i64>,
    /// Whether it was the live file when it was opened.
    pub(crate) live: bool,
    pub(crate) file: File,
    pub(crate) times: Option<TimesReader>,
    inode: (u64, u64),
    kind: Kind,
}

enum Kind {
    /// With the position of the next read.
    Plain(u64),
    #[cfg(feature = "compress")]
    Gzip(Box<flate2::read::MultiGzDecoder<io::BufReader<File>>>),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            #[cfg(feature = "compress")]
            Self::Gzip(_) => "Gzip",
        })
    }
}

impl Segment {
    /// Opens a closed file, plain or compressed; `None` if it is gone.
    pub(crate) fn closed(
        directory: &Directory,
        names: &Names,
        seq: u64,
    ) -> io::Result<Option<Self>> {
        let sidecar = |directory: &Directory| directory.open_read(&names.closed_times(seq));
        if let Some(file) = directory.open_read(&names.closed(seq))? {
            return Self::open(file, Kind::Plain(0), seq, false, sidecar(directory)?).map(Some);
        }
        #[cfg(feature = "compress")]
        if let Some(file) = directory.open_read(&names.closed_gz(seq))? {
            let decoder = flate2::read::MultiGzDecoder::new(io::BufReader::new(file.try_clone()?));
            return Self::open(
                file,
                Kind::Gzip(Box::new(decoder)),
                seq,
                false,
                sidecar(directory)?,
            )
            .map(Some);
        }
        Ok(None)
    }

    /// Opens the live file; `None` if there is none, or if it was rotated in the same moment.
    pub(crate) fn live(
        directory: &Directory,
        names: &Names,
        seq_if_unknown: u64,
    ) -> io::Result<Option<Self>> {
        let Some(file) = directory.open_read(names.live())? else {
            return Ok(None);
        };
        let sidecar = directory.open_read(&names.times())?;
        let mut segment = Self::open(file, Kind::Plain(0), seq_if_unknown, true, sidecar)?;
        // A new sidecar appears only after the old log has left its name: with the log still in
        // place, the two belong together.
        Ok(segment.still_live(directory, names).then(|| {
            if let Some(Ok(Some(header))) = segment.times.as_mut().map(TimesReader::header) {
                segment.seq = header.seq;
            }
            segment
        }))
    }

    fn open(
        file: File,
        kind: Kind,
        seq: u64,
        live: bool,
        sidecar: Option<File>,
    ) -> io::Result<Self> {
        let meta = file.metadata()?;
        let mut times = sidecar.map(TimesReader::new);
        let header: Option<Header> = times
            .as_mut()
            .map(TimesReader::header)
            .transpose()?
            .flatten();
        let (base, at) = (header.map(|h| h.base), header.map(|h| h.at));
        Ok(Self {
            seq,
            base,
            at,
            live,
            file,
            times,
            inode: (meta.dev(), meta.ino()),
            kind,
        })
    }

    /// Says whether this file still is the one under the live name.
    pub(crate) fn still_live(&self, directory: &Directory, names: &Names) -> bool {
        directory.inode(names.live()) == Some(self.inode)
    }

    /// Reads the next bytes; 0 is the end, for now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::Plain(position) => {
                let n = self.file.read_at(buffer, *position)?;
                *position += n as u64;
                Ok(n)
            }
            #[cfg(feature = "compress")]
            Kind::Gzip(decoder) => decoder.read(buffer),
        }
    }

    /// Skips bytes, and returns how many there were to skip.
    pub(crate) fn skip(&mut self, n: u64) -> io::Result<u64> {
        match &mut self.kind {
            Kind::Plain(position) => {
                let to = (*position + n)
                    .min(self.file.metadata()?.len())
                    .max(*position);
                let skipped = to - *position;
                *position = to;
                Ok(skipped)
            }
            #[cfg(feature = "compress")]
            Kind::Gzip(decoder) => io::copy(&mut decoder.take(n), &mut io::sink()),
        }
    }

    /// Returns the bytes in the file; of a compressed one by reading it to its end.
    pub(crate) fn length(&mut self) -> io::Result<u64> {
        match &mut self.kind {
            Kind::Plain(_) => Ok(self.file.metadata()?.len()),
            #[cfg(feature = "compress")]
            Kind::Gzip(decoder) => io::copy(decoder, &mut io::sink()),
        }
    }

    /// Says whether positions can be read at will, which a compressed file does not allow.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain(_))
    }
}

/// Returns the numbers of all closed files of a stream, ascending.
pub(crate) fn closed_seqs(directory: &Directory, names: &Names) -> io::Result<Vec<u64>> {
    let mut seqs = Vec::new();
    directory.names(|name| {
        if let Some(Part::Closed(seq) | Part::ClosedGz(seq)) = names.part(name) {
            seqs.push(seq);
        }
    })?;
    seqs.sort_unstable();
    seqs.dedup();
    Ok(seqs)
}
