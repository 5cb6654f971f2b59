//! The state of a process as `proc_pidinfo` tells it, in the words of `/proc/PID/stat`.

use std::io;

use super::info;

/// What we use of it. Reading it never waits for the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) comm: Vec<u8>,
    /// A letter of Linux.
    pub(crate) state: u8,
    pub(crate) ppid: u32,
    pub(crate) pgid: u32,
    pub(crate) sid: u32,
    /// Its effective user.
    pub(super) uid: u32,
    /// Microseconds of the wall clock as it was then; 0 for another user's process, of which it is not told.
    pub(crate) start_ticks: u64,
    pub(crate) rss_pages: u64,
}

impl Stat {
    /// Reads a process.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let read = match info::full(pid) {
            Ok(info) => Ok(Self::from_full(pid, &info)),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                info::short(pid).map(|info| Self::from_short(pid, &info))
            }
            Err(error) => Err(error),
        };
        read.map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
            _ => error,
        })
    }

    fn from_full(pid: u32, info: &libc::proc_bsdinfo) -> Self {
        let seconds = info.pbi_start_tvsec.saturating_mul(1_000_000);
        Self {
            pid,
            comm: name(&info.pbi_comm.map(|byte| byte as u8)),
            state: letter(info.pbi_status),
            ppid: info.pbi_ppid,
            pgid: info.pbi_pgid,
            sid: session(pid),
            uid: info.pbi_uid,
            start_ticks: seconds.saturating_add(info.pbi_start_tvusec),
            rss_pages: info::resident(pid).unwrap_or(0) / rustix::param::page_size() as u64,
        }
    }

    fn from_short(pid: u32, info: &info::Short) -> Self {
        Self {
            pid,
            comm: name(&info.comm),
            state: letter(info.status),
            ppid: info.ppid,
            pgid: info.pgid,
            sid: session(pid),
            uid: info.uid,
            start_ticks: 0,
            rss_pages: 0,
        }
    }

    /// Says whether it has ended and waits to be reaped.
    pub(crate) const fn is_zombie(&self) -> bool {
        self.state == b'Z'
    }

    pub(crate) const fn is_stopped(&self) -> bool {
        self.state == b'T'
    }

    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&self.comm).into_owned()
    }
}

fn name(bytes: &[u8]) -> Vec<u8> {
    let name = bytes.split(|byte| *byte == 0).next();
    name.unwrap_or_default().to_vec()
}

/// 0 is unknown.
fn session(pid: u32) -> u32 {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed());
    let session = pid.and_then(|pid| rustix::process::getsid(Some(pid)).ok());
    session.map_or(0, |sid| sid.as_raw_nonzero().get().cast_unsigned())
}

const fn letter(status: u32) -> u8 {
    match status {
        libc::SIDL | libc::SRUN => b'R',
        libc::SSLEEP => b'S',
        libc::SSTOP => b'T',
        libc::SZOMB => b'Z',
        _ => b'?',
    }
}
