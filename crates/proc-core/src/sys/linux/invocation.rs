//! `/proc/PID/cmdline`, `environ` and `cwd`.

use std::io;
use std::path::PathBuf;

/// The words of the command, and the variables.
pub(crate) type Words = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// Returns the words of the command, and the variables.
pub(crate) fn words(pid: u32) -> io::Result<Words> {
    Ok((read(pid, "cmdline")?, read(pid, "environ")?))
}

/// Returns the working directory.
pub(crate) fn directory(pid: u32) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd"))
}

/// Reads a file of NUL-terminated words.
fn read(pid: u32, file: &str) -> io::Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}"))?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    let words = bytes.split(|byte| *byte == 0);
    Ok(words.map(<[u8]>::to_vec).collect())
}
