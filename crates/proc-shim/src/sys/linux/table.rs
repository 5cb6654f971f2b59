//! Who is whose child, as `/proc` shows it.

use std::fs;

/// What one line of `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) ppid: u32,
    pub(crate) pgid: u32,
    pub(crate) sid: u32,
}

/// Returns the children of a process, of all its threads.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return found;
    };
    for thread in threads.flatten() {
        if let Ok(text) = fs::read_to_string(thread.path().join("children")) {
            found.extend(
                text.split_ascii_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    found
}

/// Returns the numbers of all processes.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Reads a process.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, parentheses too.
    let after = bytes.iter().rposition(|b| *b == b')')? + 1;
    let text = std::str::from_utf8(bytes.get(after..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let mut number = || {
        fields
            .next()?
            .parse::<i64>()
            .ok()
            .and_then(|n| u32::try_from(n).ok())
    };
    Some(Stat {
        state,
        ppid: number()?,
        pgid: number()?,
        sid: number()?,
    })
}

/// Says whether the table is that of our own pid namespace.
pub(crate) fn is_own_table() -> bool {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let shown = fs::read_link("/proc/self").ok();
    shown.and_then(|name| name.to_str()?.parse().ok()) == Some(me)
}
