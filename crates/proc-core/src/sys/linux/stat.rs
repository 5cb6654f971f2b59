//! `/proc/PID/stat`, the part that is needed, from bytes.

use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::clock;

/// More than the kernel ever writes: 52 fields, of which the name has 64 bytes at most and the others 20 digits.
const LONGEST: usize = 2048;

/// The fields of `/proc/PID/stat` that we use. Reading it never waits for the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// Bytes between the first `(` and the last `)`: a name may hold both.
    pub(crate) comm: Vec<u8>,
    pub(crate) state: u8,
    pub(crate) ppid: u32,
    pub(crate) pgid: u32,
    pub(crate) sid: u32,
    pub(crate) threads: u32,
    /// Clock ticks since boot as the initial time namespace counts them, never converted to a time.
    pub(crate) start_ticks: u64,
    pub(crate) rss_pages: u64,
}

impl Stat {
    /// Reads a process of our own `/proc`.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        Self::read(Path::new("/proc"), pid)
    }

    /// Reads a process below another mount of procfs.
    pub(crate) fn read(root: &Path, pid: u32) -> io::Result<Self> {
        let mut bytes = [0; LONGEST];
        let read = read_once(root.join(format!("{pid}/stat")), &mut bytes).map_err(|error| {
            // A process that ends between open and read.
            if error.raw_os_error() == Some(libc::ESRCH) {
                io::ErrorKind::NotFound.into()
            } else {
                error
            }
        })?;
        let mut stat = Self::parse(&bytes[..read])
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed stat"))?;
        stat.start_ticks = clock::outside(stat.start_ticks);
        Ok(stat)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let open = bytes.iter().position(|byte| *byte == b'(')?;
        let close = bytes.iter().rposition(|byte| *byte == b')')?;
        let comm = bytes.get(open + 1..close)?.to_vec();
        let pid = std::str::from_utf8(bytes.get(..open)?)
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let mut fields = std::str::from_utf8(bytes.get(close + 1..)?)
            .ok()?
            .split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        // What follows the state are fields 4 and up of proc_pid_stat(5).
        let rest: Vec<i64> = fields.map(|field| field.parse().unwrap_or(-1)).collect();
        let number = |field: usize| rest.get(field - 4).copied();
        let id = |field: usize| number(field).map(|value| u32::try_from(value).unwrap_or(0));
        Some(Self {
            pid,
            comm,
            state,
            ppid: id(4)?,
            pgid: id(5)?,
            sid: id(6)?,
            threads: id(20)?,
            start_ticks: u64::try_from(number(22)?).ok()?,
            rss_pages: u64::try_from(number(24)?).unwrap_or(0),
        })
    }

    /// Says whether it has ended and waits to be reaped. A leader whose threads still run has not.
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state == b'T'
    }

    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&self.comm).into_owned()
    }
}

/// Reads a file that comes whole in one piece: open, read, close, nothing more, because stops read thousands.
pub(super) fn read_once(path: impl rustix::path::Arg, into: &mut [u8]) -> io::Result<usize> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    loop {
        match rustix::io::read(&file, &mut *into) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_spaces_and_newlines() {
        let tail =
            "S 1 7 8 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 8812 1000 55 18446744073709551615";
        for comm in ["sh", "a) S 9 (b", "with space", ") (", "line\nbreak", ""] {
            let stat = Stat::parse(format!("42 ({comm}) {tail}").as_bytes()).unwrap();
            assert_eq!(stat.comm, comm.as_bytes());
            assert_eq!((stat.pid, stat.ppid, stat.pgid, stat.sid), (42, 1, 7, 8));
            assert_eq!(
                (stat.start_ticks, stat.rss_pages, stat.threads, stat.state),
                (8812, 55, 3, b'S')
            );
        }
    }

    #[test]
    fn a_torn_line_is_refused() {
        for text in [
            "",
            "42",
            "42 (sh",
            "42 (sh)",
            "42 (sh) S",
            "x (sh) S 1 2 3",
            ") 42 (",
        ] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text}");
        }
    }
}
