//! The sidecar of a log file: which bytes arrived when, what was dropped, when runs began and ended.
//!
//! It is kept apart so that the log file itself is nothing but the service's bytes. One line of text,
//! then records; numbers are LEB128, differences of time zigzag:
//!
//! ```text
//! proc-log-times 1 seq=7 base=73400320 dropped=0 at=1795244400123\n
//! 01 Δoffset Δms               from this offset on, the bytes arrived at this time
//! 02 Δoffset Δms length text   a marker: "start pid=71", "stop exit=0"
//! 03 Δoffset Δms total         so many bytes were dropped since the first run, as seen here
//! 04 Δoffset Δms               the file was closed; it ends here
//! ```
//!
//! Offsets count every byte kept since the first run, over all rotations: `base` is the offset of the
//! file's first byte. A record is written before the bytes it speaks of, so whoever sees the bytes
//! knows their time. A torn end (a crash, a full disk) is cut off; nothing behind it is believed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: &str = "proc-log-times 1 ";
/// Longer texts of markers are cut: a record has a bound.
pub(crate) const MARK_MAX: usize = 200;
/// The closest that two times may be, in milliseconds.
const RESOLUTION_MS: i64 = 10;

/// The first line of a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    /// The number that the file gets when it is closed.
    pub(crate) seq: u64,
    /// The offset of the file's first byte.
    pub(crate) base: u64,
    /// Bytes dropped before this file.
    pub(crate) dropped: u64,
    /// When the file was begun, in milliseconds since the epoch.
    pub(crate) at: i64,
}

impl Header {
    fn encode(&self) -> String {
        let Self {
            seq,
            base,
            dropped,
            at,
        } = self;
        format!("{MAGIC}seq={seq} base={base} dropped={dropped} at={at}\n")
    }

    /// Returns the header and its length in bytes.
    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = memchr::memchr(b'\n', bytes)?;
        let line = std::str::from_utf8(&bytes[..end])
            .ok()?
            .strip_prefix(MAGIC)?;
        let mut header = Self::default();
        let mut fields = line.split(' ');
        let mut number = |key: &str| fields.next()?.strip_prefix(key)?.strip_prefix('=');
        header.seq = number("seq")?.parse().ok()?;
        header.base = number("base")?.parse().ok()?;
        header.dropped = number("dropped")?.parse().ok()?;
        header.at = number("at")?.parse().ok()?;
        Some((header, end + 1))
    }
}

/// What a record says, beside its offset and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Time,
    Mark(String),
    Dropped(u64),
    End,
}

/// One record, with differences resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: u64,
    pub(crate) at: i64,
    pub(crate) what: What,
}

/// The place where differences start from.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    at: i64,
}

impl Place {
    /// Decodes the record at the start of `bytes`; `None` if it is incomplete or not a record.
    fn decode(&mut self, bytes: &[u8]) -> Option<(Record, usize)> {
        let mut rest = bytes;
        let tag = take_byte(&mut rest)?;
        let offset = self.offset.checked_add(take_number(&mut rest)?)?;
        let at = self.at.checked_add(unzigzag(take_number(&mut rest)?))?;
        let what = match tag {
            1 => What::Time,
            2 => {
                let length = usize::try_from(take_number(&mut rest)?).ok()?;
                let text = rest.get(..length).filter(|_| length <= MARK_MAX)?;
                rest = &rest[length..];
                What::Mark(String::from_utf8_lossy(text).into_owned())
            }
            3 => What::Dropped(take_number(&mut rest)?),
            4 => What::End,
            _ => return None,
        };
        *self = Self { offset, at };
        Some((Record { offset, at, what }, bytes.len() - rest.len()))
    }
}

/// Appends to a sidecar.
#[derive(Debug)]
pub(crate) struct TimesWriter {
    file: File,
    length: u64,
    place: Place,
    last_time: Option<i64>,
    /// The size at which times become coarser, and finally cease.
    limit: u64,
}

impl TimesWriter {
    /// Begins a sidecar in an empty file.
    pub(crate) fn begin(file: File, header: Header, limit: u64) -> io::Result<Self> {
        let line = header.encode();
        file.write_all_at(line.as_bytes(), 0)?;
        let place = Place {
            offset: header.base,
            at: header.at,
        };
        Ok(Self {
            file,
            length: line.len() as u64,
            place,
            last_time: None,
            limit,
        })
    }

    /// Continues a sidecar, after cutting off what is torn or speaks of bytes beyond `end`.
    /// Returns the bytes dropped so far with it; `None` if the file has no valid header.
    pub(crate) fn resume(
        file: File,
        end: u64,
        limit: u64,
    ) -> io::Result<Option<(Self, Header, u64)>> {
        let mut reader = TimesReader::new(file.try_clone()?);
        let Some(header) = reader.header()? else {
            return Ok(None);
        };
        let mut dropped = header.dropped;
        let mut last_time = None;
        let mut place = Place {
            offset: header.base,
            at: header.at,
        };
        let mut length = reader.position();
        while let Some(record) = reader.next()? {
            if record.offset > end || record.what == What::End {
                break;
            }
            match record.what {
                What::Dropped(total) => dropped = total,
                What::Time => last_time = Some(record.at),
                What::Mark(_) | What::End => {}
            }
            place = Place {
                offset: record.offset,
                at: record.at,
            };
            length = reader.position();
        }
        file.set_len(length)?;
        Ok(Some((
            Self {
                file,
                length,
                place,
                last_time,
                limit,
            },
            header,
            dropped,
        )))
    }

    /// Says whether a time at `now` would be recorded, given the resolution.
    pub(crate) fn due(&self, now: i64) -> bool {
        let Some(last) = self.last_time else {
            return true;
        };
        // A clock that was set back is a fact worth recording at once.
        if now < last {
            return self.length < self.limit;
        }
        // Each eighth of the limit doubles the distance between times, so that a service
        // of one-byte writes cannot make the sidecar larger than its log.
        let eighths = self.length.saturating_mul(8) / self.limit.max(1);
        eighths < 8 && now - last >= RESOLUTION_MS << eighths
    }

    /// Records that the bytes from `offset` on arrive at `now`.
    pub(crate) fn time(&mut self, offset: u64, now: i64) -> io::Result<()> {
        self.append(1, offset, now, |_| {})?;
        self.last_time = Some(now);
        Ok(())
    }

    pub(crate) fn mark(&mut self, offset: u64, now: i64, text: &str) -> io::Result<()> {
        let text = &text[..text.floor_char_boundary(MARK_MAX)];
        self.append(2, offset, now, |out| {
            put_number(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        })
    }

    pub(crate) fn dropped(&mut self, offset: u64, now: i64, total: u64) -> io::Result<()> {
        self.append(3, offset, now, |out| put_number(out, total))
    }

    pub(crate) fn end(&mut self, offset: u64, now: i64) -> io::Result<()> {
        self.append(4, offset, now, |_| {})
    }

    fn append(
        &mut self,
        tag: u8,
        offset: u64,
        now: i64,
        more: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        let mut record = Vec::with_capacity(32);
        record.push(tag);
        put_number(&mut record, offset.saturating_sub(self.place.offset));
        put_number(&mut record, zigzag(now.saturating_sub(self.place.at)));
        more(&mut record);
        if let Err(error) = self.file.write_all_at(&record, self.length) {
            // A record half written would hide whatever follows it. If even this fails,
            // the next record overwrites the same place.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += record.len() as u64;
        self.place = Place { offset, at: now };
        Ok(())
    }
}

/// Reads a sidecar that may still be growing.
#[derive(Debug)]
pub(crate) struct TimesReader {
    file: File,
    buffer: Vec<u8>,
    /// Where `buffer` begins in the file.
    start: u64,
    /// How much of `buffer` is consumed.
    used: usize,
    place: Option<Place>,
    header: Option<Header>,
}

const BLOCK: usize = 4096;

impl TimesReader {
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            start: 0,
            used: 0,
            place: None,
            header: None,
        }
    }

    /// Returns the header, or `None` where there is no valid one (yet).
    pub(crate) fn header(&mut self) -> io::Result<Option<Header>> {
        if self.header.is_none() {
            self.fill()?;
            if let Some((header, length)) = Header::decode(&self.buffer[self.used..]) {
                self.used += length;
                self.place = Some(Place {
                    offset: header.base,
                    at: header.at,
                });
                self.header = Some(header);
            }
        }
        Ok(self.header)
    }

    /// Returns the next record, or `None` where the valid part ends (for now).
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        if self.header()?.is_none() {
            return Ok(None);
        }
        let Some(place) = self.place.as_mut() else {
            return Ok(None);
        };
        if let Some((record, length)) = place.decode(&self.buffer[self.used..]) {
            self.used += length;
            return Ok(Some(record));
        }
        self.fill()?;
        let Some(place) = self.place.as_mut() else {
            return Ok(None);
        };
        let Some((record, length)) = place.decode(&self.buffer[self.used..]) else {
            return Ok(None);
        };
        self.used += length;
        Ok(Some(record))
    }

    /// Returns the position behind the last record, in bytes of the sidecar.
    fn position(&self) -> u64 {
        self.start + self.used as u64
    }

    /// Reads what follows the unconsumed bytes, one block at a time.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.used);
        self.start += self.used as u64;
        self.used = 0;
        let have = self.buffer.len();
        // A record is far smaller than a block: this much unconsumed is not a sidecar.
        if have >= BLOCK {
            return Ok(());
        }
        self.buffer.resize(have + BLOCK, 0);
        let read = self
            .file
            .read_at(&mut self.buffer[have..], self.start + have as u64);
        self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
        read.map(drop)
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, tail) = rest.split_first()?;
    *rest = tail;
    Some(first)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(rest)?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = (u64, i64, What)> {
        let what = prop_oneof![
            Just(What::Time),
            "[a-z =0-9]{0,40}".prop_map(What::Mark),
            any::<u32>().prop_map(|n| What::Dropped(n.into())),
        ];
        (0u64..100_000, -50i64..100_000, what)
    }

    fn write(records: &[(u64, i64, What)]) -> (File, Vec<Record>) {
        let file = tempfile::tempfile().unwrap();
        let header = Header {
            seq: 3,
            base: 1000,
            dropped: 5,
            at: 1_795_000_000_000,
        };
        let mut writer = TimesWriter::begin(file.try_clone().unwrap(), header, u64::MAX).unwrap();
        let (mut offset, mut at) = (header.base, header.at);
        let mut all = Vec::new();
        for (more, later, what) in records.iter().cloned() {
            offset += more;
            at += later;
            match &what {
                What::Time => writer.time(offset, at).unwrap(),
                What::Mark(text) => writer.mark(offset, at, text).unwrap(),
                What::Dropped(total) => writer.dropped(offset, at, *total).unwrap(),
                What::End => writer.end(offset, at).unwrap(),
            }
            all.push(Record { offset, at, what });
        }
        (file, all)
    }

    fn read(file: &File) -> Vec<Record> {
        let mut reader = TimesReader::new(file.try_clone().unwrap());
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn records_come_back(records in prop::collection::vec(record(), 0..300)) {
            let (file, all) = write(&records);
            prop_assert_eq!(read(&file), all);
        }

        #[test]
        fn a_torn_end_costs_only_itself(records in prop::collection::vec(record(), 1..40), cut in 1u64..200, noise in prop::collection::vec(any::<u8>(), 0..3)) {
            let (file, all) = write(&records);
            let length = file.metadata().unwrap().len();
            file.set_len(length.saturating_sub(cut).max(1)).unwrap();
            file.write_all_at(&[0; 1], file.metadata().unwrap().len()).unwrap();
            file.write_all_at(&noise, file.metadata().unwrap().len()).unwrap();
            let kept = read(&file);
            // Every record that is whole is there, and behind the tear nothing is invented:
            // a zero where a record starts ends the valid part.
            let whole = kept.iter().zip(&all).take_while(|(a, b)| a == b).count();
            prop_assert!(kept.len() <= whole + 1, "{} records, {} of them right", kept.len(), whole);
            if let Some((mut writer, header, _)) = TimesWriter::resume(file.try_clone().unwrap(), u64::MAX, u64::MAX).unwrap() {
                prop_assert_eq!(header.base, 1000);
                writer.mark(u64::MAX / 2, 0, "after").unwrap();
                let again = read(&file);
                prop_assert_eq!(again.len(), kept.len() + 1);
                prop_assert_eq!(&again[kept.len()].what, &What::Mark("after".into()));
            }
        }
    }

    #[test]
    fn the_limit_makes_times_coarser_and_then_ends_them() {
        let file = tempfile::tempfile().unwrap();
        let header = Header {
            seq: 1,
            base: 0,
            dropped: 0,
            at: 0,
        };
        let mut writer = TimesWriter::begin(file, header, 4096).unwrap();
        let mut now = 0;
        for offset in 0..100_000 {
            now += 10;
            if writer.due(now) {
                writer.time(offset, now).unwrap();
            }
        }
        assert!((4096..4160).contains(&writer.length), "{}", writer.length);
        assert!(!writer.due(i64::MAX) && !writer.due(0));
    }

    #[test]
    fn records_beyond_the_log_are_cut_off() {
        let (file, _) = write(&[
            (10, 5, What::Time),
            (10, 5, What::Dropped(9)),
            (500, 5, What::Time),
        ]);
        let (_, _, dropped) = TimesWriter::resume(file.try_clone().unwrap(), 1100, u64::MAX)
            .unwrap()
            .unwrap();
        assert_eq!(dropped, 9);
        assert_eq!(read(&file).len(), 2);
    }

    #[test]
    fn no_header_is_no_sidecar() {
        for bytes in [
            &b""[..],
            b"proc-log-times 1 seq=1 base=",
            b"garbage\n",
            b"proc-log-times 2 seq=1 base=0 dropped=0 at=0\n",
        ] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            assert!(TimesWriter::resume(file, u64::MAX, 1).unwrap().is_none());
        }
    }
}
