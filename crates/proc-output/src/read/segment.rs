//! The files of one stream in their order, opened so that a rotation under way cannot mislead.

use std::collections::HashMap;
use std::fs::File;
use std::io;
#[cfg(feature = "compress")]
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::directory::Directory;
use crate::names::{self, Names, Part};
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
        let plain = directory.open_read(&names.closed(seq))?;
        let (file, kind) = match plain {
            Some(file) => (file, Kind::Plain(0)),
            #[cfg(feature = "compress")]
            None => match directory.open_read(&names.closed_gz(seq))? {
                Some(file) => {
                    let reader = io::BufReader::new(file.try_clone()?);
                    let decoder = flate2::read::MultiGzDecoder::new(reader);
                    (file, Kind::Gzip(Box::new(decoder)))
                }
                None => return Ok(None),
            },
            #[cfg(not(feature = "compress"))]
            None => return Ok(None),
        };
        let sidecar = sidecar_of(directory, names, seq)?;
        if sidecar.is_none() && !exists(directory, names, seq) {
            return Ok(None); // removed between the two looks
        }
        Self::open(file, kind, seq, false, sidecar).map(Some)
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

/// Opens the sidecar of a closed file. Rotation renames it after its log: until then it is under the
/// live name, and between two looks it may have left that too.
fn sidecar_of(directory: &Directory, names: &Names, seq: u64) -> io::Result<Option<File>> {
    if let Some(file) = directory.open_read(&names.closed_times(seq))? {
        return Ok(Some(file));
    }
    if let Some(file) = directory.open_read(&names.times())? {
        let header = TimesReader::new(file.try_clone()?).header()?;
        if header.is_some_and(|header| header.seq == seq) {
            return Ok(Some(file));
        }
    }
    directory.open_read(&names.closed_times(seq))
}

/// Says whether there is a closed file of this number, compressed or not.
fn exists(directory: &Directory, names: &Names, seq: u64) -> bool {
    directory
        .inode(&names.closed(seq))
        .or_else(|| directory.inode(&names.closed_gz(seq)))
        .is_some()
}

/// Returns the numbers of all closed files of a stream, ascending.
pub(crate) fn closed_seqs(directory: &Directory, names: &Names) -> io::Result<Vec<u64>> {
    let mut seqs = Vec::new();
    directory.names(|name| {
        if let Some(Part::Closed(seq) | Part::ClosedGz(seq)) = names.part(name) {
            seqs.push(seq);
        }
    })?;
    complete(directory, names, &mut seqs);
    Ok(seqs)
}

/// Adds what a listing may lack: a name that comes into being while a directory is read may be
/// missing although a later one is there, by rotation and by compression alike.
fn complete(directory: &Directory, names: &Names, seqs: &mut Vec<u64>) {
    /// A larger hole is none of the kind: files were removed.
    const HOLE: u64 = 64;
    let exists = |seq: u64| exists(directory, names, seq);
    seqs.sort_unstable();
    seqs.dedup();
    let (Some(&first), Some(&last)) = (seqs.first(), seqs.last()) else {
        return;
    };
    let inside = seqs
        .windows(2)
        .flat_map(|pair| pair[0] + 1..pair[1].min(pair[0] + 1 + HOLE));
    let mut missed: Vec<u64> = inside.filter(|seq| exists(*seq)).collect();
    missed.extend((1..first).rev().take_while(|seq| exists(*seq)));
    missed.extend((last + 1..).take_while(|seq| exists(*seq)));
    seqs.extend(missed);
    seqs.sort_unstable();
}

/// Returns the numbers of all closed files in a directory, ascending, by the name of the live file.
pub(crate) fn inventory(directory: &Directory) -> io::Result<HashMap<String, Vec<u64>>> {
    let mut all: HashMap<String, Vec<u64>> = HashMap::new();
    directory.names(|name| {
        let Some((instance, stream, part)) = names::parse(name) else {
            return;
        };
        let seqs = all
            .entry(Names::new(instance, stream).live().to_owned())
            .or_default();
        if let Part::Closed(seq) | Part::ClosedGz(seq) = part {
            seqs.push(seq);
        }
    })?;
    for (live, seqs) in &mut all {
        complete(directory, &Names::of(live), seqs);
    }
    Ok(all)
}

/// Opens the files of a stream one after the other, from the live one back over those listed.
pub(crate) fn newest_first(
    directory: &Directory,
    names: &Names,
    closed: &[u64],
) -> io::Result<impl Iterator<Item = Segment>> {
    let live = Segment::live(directory, names, u64::MAX)?;
    // Closed between the listing and this look: then it is in the list as well.
    let live = live.filter(|segment| closed.last().is_none_or(|last| segment.seq > *last));
    // Opened and not listed: those between the last listed one and the live one.
    let from = closed.last().map_or(1, |last| last + 1);
    let to = live
        .as_ref()
        .map_or(0, |segment| segment.seq)
        .min(from.saturating_add(100));
    let between = (from..to).rev();
    let closed = between.chain(closed.iter().rev().copied());
    let closed = closed.filter_map(|seq| Segment::closed(directory, names, seq).ok().flatten());
    Ok(live.into_iter().chain(closed))
}
