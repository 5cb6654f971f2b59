//! The file system behind pidfds: inodes that are never used twice, and file handles that reopen a process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::pidfd::Pidfd;

/// `f_type` of pidfs ("PIDF").
const PIDFS_MAGIC: u64 = 0x5049_4446;
/// "The root of pidfs" in place of a mount descriptor (Linux 6.17).
const FD_PIDFS_ROOT: RawFd = -10002;
/// `MAX_HANDLE_SZ`.
const MAX_HANDLE: usize = 128;

/// The kernel's `struct file_handle` with room for the largest handle.
#[repr(C)]
struct RawHandle {
    bytes: u32,
    kind: i32,
    data: [u8; MAX_HANDLE],
}

/// A pidfs file handle: a type and some bytes that mean something only to this kernel until its next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileHandle {
    kind: i32,
    data: Vec<u8>,
}

impl FileHandle {
    /// Writes it as eight hex digits of type, then the bytes.
    pub(crate) fn to_hex(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{:08x}", self.kind);
        for byte in &self.data {
            let _infallible = write!(text, "{byte:02x}");
        }
        text
    }

    /// Reads what `to_hex` wrote.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        if !text.is_ascii()
            || text.len() < 10
            || !text.len().is_multiple_of(2)
            || text.len() > 8 + 2 * MAX_HANDLE
        {
            return None;
        }
        let (kind, rest) = text.split_at(8);
        let kind = u32::from_str_radix(kind, 16).ok()?.cast_signed();
        let data = (0..rest.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&rest[at..at + 2], 16).ok())
            .collect::<Option<Vec<u8>>>()?;
        Some(Self { kind, data })
    }
}

/// Returns the inode of a pidfd, where it is one of pidfs (Linux 6.9) and so unique until the next boot.
pub(crate) fn inode(fd: &Pidfd) -> Option<u64> {
    let on_pidfs =
        u64::try_from(rustix::fs::fstatfs(fd).ok()?.f_type).is_ok_and(|kind| kind == PIDFS_MAGIC);
    if !on_pidfs {
        return None;
    }
    Some(rustix::fs::fstat(fd).ok()?.st_ino)
}

/// Returns the inode of what [`open`] has opened.
pub(crate) fn inode_of_opened(fd: &Pidfd) -> Option<u64> {
    Some(rustix::fs::fstat(fd).ok()?.st_ino)
}

/// Returns the file handle of a pidfd on pidfs, where the kernel gives one (Linux 6.14). Before pidfs a pidfd was an
/// anonymous inode, whose "handle" would not mean the process: ask [`inode`] first.
pub(crate) fn handle(fd: &Pidfd) -> Option<FileHandle> {
    let mut raw = RawHandle {
        bytes: MAX_HANDLE as u32,
        kind: 0,
        data: [0; MAX_HANDLE],
    };
    let mut mount: libc::c_int = 0;
    // SAFETY: the path is a NUL-terminated empty string, `raw` says how many bytes it has, `mount` is writable.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            fd.as_raw_fd(),
            c"".as_ptr(),
            &raw mut raw,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if done < 0 {
        return None;
    }
    let data = raw.data.get(..raw.bytes as usize)?.to_vec();
    Some(FileHandle {
        kind: raw.kind,
        data,
    })
}

/// Opens the process a handle was taken from. ESTALE: it has been reaped.
pub(crate) fn open(handle: &FileHandle) -> io::Result<Pidfd> {
    match open_at(FD_PIDFS_ROOT, handle) {
        // Before 6.17 there is no such root: any pidfd, our own for one, names the file system.
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
            let own = super::pidfd::open(std::process::id())?;
            open_at(own.as_fd().as_raw_fd(), handle)
        }
        result => result,
    }
}

fn open_at(mount: RawFd, handle: &FileHandle) -> io::Result<OwnedFd> {
    let length = handle.data.len();
    if length > MAX_HANDLE {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut raw = RawHandle {
        bytes: length as u32,
        kind: handle.kind,
        data: [0; MAX_HANDLE],
    };
    raw.data[..length].copy_from_slice(&handle.data);
    // SAFETY: `raw` is a live handle that states its own length; `mount` is a borrowed descriptor or a constant.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount,
            &raw mut raw,
            libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it. The mount is pidfs itself, so
    // whatever the handle says, this is a process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_reads_back_from_its_text() {
        let handle = FileHandle {
            kind: 0xfe,
            data: vec![0x53, 0x6f, 0, 1],
        };
        assert_eq!(FileHandle::from_hex(&handle.to_hex()), Some(handle));
        for text in [
            "",
            "000000fe",
            "000000feé",
            "000000fe0",
            "zz0000fe00",
            &"0".repeat(300),
        ] {
            assert_eq!(FileHandle::from_hex(text), None, "{text}");
        }
    }
}
