//! Opening saved identities again, against file handles of pidfs.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use proc_core::{Identity, ProcessHandle, Signal};

use crate::{median, micros, pair, row, sleepers};

fn self_pidfd() -> OwnedFd {
    let me = rustix::process::getpid();
    rustix::process::pidfd_open(me, rustix::process::PidfdFlags::empty()).unwrap()
}

/// A pidfs file handle as the kernel has it: the least that names a process for later.
#[repr(C)]
struct RawHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; 128],
}

impl RawHandle {
    fn of(pid: u32) -> Self {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let mut raw = Self {
            bytes: 128,
            kind: 0,
            handle: [0; 128],
        };
        let mut mount = 0;
        // SAFETY: `raw` is a `file_handle` with room for 128 bytes, and says so; the path is empty and terminated.
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
        assert_eq!(done, 0, "no pidfs handles: nothing to compare with");
        raw
    }

    fn open(&self, root: &OwnedFd) {
        // SAFETY: a handle that the kernel made, only read.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                root.as_raw_fd(),
                &raw const *self,
                libc::O_CLOEXEC,
            )
        };
        let fd = i32::try_from(fd).unwrap();
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: just opened, and nobody else's.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// 500 processes opened ten times each: 5,000 records.
pub(crate) fn run() {
    let children = sleepers(500);
    let identities: Vec<Identity> = children
        .iter()
        .map(|child| child.identity().clone())
        .collect();
    let text: Vec<String> = identities
        .iter()
        .map(|identity| serde_json::to_string(identity).unwrap())
        .collect();
    let (by_number, ours) = pair(
        10,
        || {
            for _ in 0..10 {
                for identity in &identities {
                    drop(ProcessHandle::of(identity.pid).unwrap());
                }
            }
        },
        || {
            for _ in 0..10 {
                for text in &text {
                    let identity: Identity = serde_json::from_str(text).unwrap();
                    drop(identity.open().unwrap());
                }
            }
        },
    );
    let handles: Vec<RawHandle> = children.iter().map(|c| RawHandle::of(c.pid())).collect();
    let root = self_pidfd();
    let (raw, opened) = pair(
        10,
        || {
            for _ in 0..10 {
                handles.iter().for_each(|handle| handle.open(&root));
            }
        },
        || {
            for _ in 0..10 {
                for identity in &identities {
                    drop(identity.open().unwrap());
                }
            }
        },
    );
    row("reopen 5,000 identities / file handles", raw, opened, 1.5);
    println!(
        "{:<44} {:>10} {:>8.0}us {:>7} {:>7}",
        "  with reading the JSON (target 25 ms)",
        "",
        micros(median(ours)),
        "",
        ""
    );
    println!(
        "{:<44} {:>8.0}us",
        "  looking 5,000 up by number instead",
        micros(median(by_number))
    );
    for child in children {
        child.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
