//! A record that is replaced in place, in one of two slots, so that one of them is whole at any moment.
//!
//! A rename costs a transaction of the file system, which may have to wait for those of everybody else, and ext4 sends
//! the content to the disk at once where the name was taken: a service would wait for that before its first
//! instruction. Overwriting a page that is there costs a microsecond, and works on a full disk too.
//!
//! Each slot is a block of lines, ended by its serial number and a sum over all before; newlines fill the rest. The
//! newest whole slot counts. A write goes to the other one: whatever cuts it short leaves the last record.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A page, and a block of most file systems: what tears one slot leaves the other.
const SLOT: usize = 4096;
/// How a slot begins, in place of a plain record's `format=1`.
const FORMAT: &str = "format=2\n";
const PLAIN: &str = "format=1\n";

/// An open record file of two slots.
#[derive(Debug)]
pub(crate) struct SlotFile {
    path: PathBuf,
    file: File,
    inode: (u64, u64),
    serial: u64,
}

impl SlotFile {
    /// Replaces `dir/name`, whatever it is, by a new file with this record; `None` where it is too long for a slot.
    pub(crate) fn create(dir: &Path, name: &str, text: &str) -> io::Result<Option<Self>> {
        let serial = 1;
        let Some(slot) = encode(text, serial) else {
            return Ok(None);
        };
        // On the stack, which an idle shim gives back, as is everything here that is as long as a slot.
        let mut content = [b'\n'; 2 * SLOT];
        content[SLOT..].copy_from_slice(&slot);
        let file = super::records::replace(dir, name, &content)?;
        let meta = file.metadata()?;
        Ok(Some(Self {
            path: dir.join(name),
            file,
            inode: (meta.dev(), meta.ino()),
            serial,
        }))
    }

    /// Writes the next record; `false` where a new file is needed: the old one was moved away, or has no room.
    pub(crate) fn put(&mut self, text: &str) -> io::Result<bool> {
        let serial = self.serial + 1;
        let Some(slot) = encode(text, serial) else {
            return Ok(false);
        };
        let there = fs::symlink_metadata(&self.path);
        if !there.is_ok_and(|meta| (meta.dev(), meta.ino()) == self.inode) {
            return Ok(false);
        }
        let offset = if serial.is_multiple_of(2) { 0 } else { SLOT };
        self.file.write_all_at(&slot, offset as u64)?;
        self.serial = serial;
        Ok(true)
    }
}

/// Returns whether a file is one of slots.
pub(crate) fn is_slotted(bytes: &[u8]) -> bool {
    let begins = |slot: &[u8]| slot.starts_with(FORMAT.as_bytes());
    bytes.len() == 2 * SLOT && bytes.chunks(SLOT).any(begins)
}

/// Returns the newest whole record, as the text of a plain one.
pub(crate) fn newest(bytes: &[u8]) -> Option<String> {
    let (_, text) = bytes
        .chunks(SLOT)
        .filter_map(decode)
        .max_by_key(|(serial, _)| *serial)?;
    Some(text)
}

fn encode(text: &str, serial: u64) -> Option<[u8; SLOT]> {
    let lines = text.strip_prefix(PLAIN)?;
    let mut text = format!("{FORMAT}{lines}serial={serial}\n");
    let sum = sum(text.as_bytes());
    text.push_str(&format!("sum={sum:016x}\n"));
    let mut slot = [b'\n'; SLOT];
    slot.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(slot)
}

fn decode(slot: &[u8]) -> Option<(u64, String)> {
    let text = std::str::from_utf8(slot).ok()?;
    let (before, ending) = text.split_at(text.rfind("sum=")?);
    if ending.trim_end() != format!("sum={:016x}", sum(before.as_bytes())) {
        return None;
    }
    let lines = before.strip_prefix(FORMAT)?;
    let (_, serial) = lines.rsplit_once("serial=")?;
    Some((serial.trim_end().parse().ok()?, format!("{PLAIN}{lines}")))
}

/// FNV-1a: it has to tell a torn write, not an attack.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(run: u64) -> String {
        format!("format=1\nrun={run}\nwhat=x sum=1\n")
    }

    fn read(path: &Path) -> Option<String> {
        let bytes = fs::read(path).unwrap();
        assert!(is_slotted(&bytes));
        let text = newest(&bytes)?;
        let end = text.rfind("serial=").unwrap();
        Some(text[..end].to_owned())
    }

    #[test]
    fn a_write_that_is_cut_short_anywhere_leaves_the_record_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let mut file = SlotFile::create(dir.path(), "run", &record(1))
            .unwrap()
            .unwrap();
        assert_eq!(read(&path), Some(record(1)));
        for run in 2..6 {
            let before = fs::read(&path).unwrap();
            assert!(file.put(&record(run)).unwrap());
            let after = fs::read(&path).unwrap();
            assert_eq!(read(&path), Some(record(run)));
            let changed: Vec<usize> = (0..after.len())
                .filter(|at| before[*at] != after[*at])
                .collect();
            let (first, last) = (changed[0], *changed.last().unwrap());
            for cut in first..=last {
                let mut torn = before.clone();
                torn[first..cut].copy_from_slice(&after[first..cut]);
                let text = newest(&torn).unwrap();
                assert!(text.starts_with(&record(run - 1)), "{cut}: {text}");
            }
        }
    }

    #[test]
    fn a_file_that_was_moved_away_and_a_record_that_is_too_long_need_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let mut file = SlotFile::create(dir.path(), "run", &record(1))
            .unwrap()
            .unwrap();
        assert!(
            !file
                .put(&format!("format=1\npath={}\n", "x".repeat(SLOT)))
                .unwrap()
        );
        fs::rename(&path, dir.path().join("run.unreadable-1")).unwrap();
        assert!(!file.put(&record(2)).unwrap());
        fs::write(&path, "of somebody else").unwrap();
        assert!(!file.put(&record(2)).unwrap());
    }
}
