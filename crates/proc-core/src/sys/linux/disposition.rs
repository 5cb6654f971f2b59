//! What a process does with signals, as the kernel tells.

use std::io;

/// Reads `/proc/PID/status`.
pub(crate) fn read(pid: u32) -> io::Result<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/status"))
}
