//! What runs on this machine: from `stat`, `comm`-length names and owners only.
//!
//! Never reads `/proc/PID/cmdline`: for a process stuck in the kernel that can block for ever. Honours `HOST_PROC`, so
//! that a container can look at its host.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;

use crate::sys::table::{Children, Table};

/// One process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u32,
    /// Its parent's number; 0 is the kernel or a parent outside this namespace.
    pub ppid: u32,
    /// Its process group.
    pub pgid: u32,
    /// Its session.
    pub sid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its name, at most 15 bytes, as the kernel has it.
    pub comm: String,
    /// What it is doing.
    pub state: State,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

/// What a process is doing, in the kernel's distinction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "kebab-case")
)]
pub enum State {
    /// On a CPU or waiting for one.
    Running,
    /// Waits and can be interrupted.
    Sleep,
    /// Waits and cannot be interrupted, most often for a disk.
    DiskSleep,
    /// Stopped by a signal.
    Stopped,
    /// Stopped by a debugger.
    TracingStop,
    /// Has ended and was not reaped.
    Zombie,
    /// Is just being removed.
    Dead,
    /// An idle thread of the kernel.
    Idle,
    /// A letter newer than this library.
    Other,
}

impl State {
    /// Returns the word that `proc count` prints.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleep => "sleep",
            Self::DiskSleep => "disk-sleep",
            Self::Stopped => "stopped",
            Self::TracingStop => "tracing-stop",
            Self::Zombie => "zombie",
            Self::Dead => "dead",
            Self::Idle => "idle",
            Self::Other => "other",
        }
    }

    const fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleep,
            b'D' => Self::DiskSleep,
            b'T' => Self::Stopped,
            b't' => Self::TracingStop,
            b'Z' => Self::Zombie,
            b'X' | b'x' => Self::Dead,
            b'I' => Self::Idle,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How [`find`] compares names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The whole name. Names longer than the kernel's 15 bytes are compared with the executable's where that may be
    /// read, else as far as the kernel's name goes.
    Exact,
    /// Anywhere in the kernel's name.
    Substring,
}

/// Returns every process, by number. One that ends meanwhile is left out.
///
/// # Errors
/// When there is no procfs.
pub fn all() -> io::Result<Vec<ProcessInfo>> {
    let table = Table::chosen();
    Ok(table
        .pids()?
        .into_iter()
        .filter_map(|pid| read(&table, pid).ok())
        .collect())
}

/// Returns one process.
///
/// # Errors
/// `NotFound` when nothing has the number.
pub fn get(pid: u32) -> io::Result<ProcessInfo> {
    read(&Table::chosen(), pid)
}

/// Returns the children of a process.
///
/// # Errors
/// `NotFound` when nothing has the number.
pub fn children(pid: u32) -> io::Result<Vec<ProcessInfo>> {
    let table = Table::chosen();
    read(&table, pid)?;
    Ok(Children::new(&table)
        .of(pid)
        .into_iter()
        .filter_map(|child| read(&table, child).ok())
        .collect())
}

/// Returns the descendants of a process, parents before their children, the process itself not among them.
///
/// A snapshot: what is born meanwhile may be missing, which is why a stop proves its end in another way.
///
/// # Errors
/// `NotFound` when nothing has the number.
pub fn descendants(pid: u32) -> io::Result<Vec<ProcessInfo>> {
    let table = Table::chosen();
    read(&table, pid)?;
    let mut children = Children::new(&table);
    let (mut found, mut seen, mut next) = (Vec::new(), HashSet::from([pid]), 0);
    let mut queue = children.of(pid);
    while let Some(pid) = queue.get(next).copied() {
        next += 1;
        if seen.insert(pid)
            && let Ok(info) = read(&table, pid)
        {
            found.push(info);
            queue.extend(children.of(pid));
        }
    }
    Ok(found)
}

/// Finds processes by name, without those that have ended.
///
/// # Errors
/// When there is no procfs.
pub fn find(name: &str, how: Match) -> io::Result<Vec<ProcessInfo>> {
    let table = Table::chosen();
    let mut found = all()?;
    found.retain(|info| {
        !matches!(info.state, State::Zombie | State::Dead)
            && match how {
                Match::Substring => info.comm.contains(name),
                Match::Exact => is_named(&table, info, name),
            }
    });
    Ok(found)
}

/// Counts processes by state.
///
/// # Errors
/// When there is no procfs.
pub fn count_by_state() -> io::Result<BTreeMap<State, usize>> {
    let table = Table::chosen();
    let mut counts = BTreeMap::new();
    for pid in table.pids()? {
        if let Ok(stat) = table.stat(pid) {
            *counts.entry(State::from_letter(stat.state)).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

/// The kernel's limit for a name, its NUL aside.
const COMM: usize = 15;

fn is_named(table: &Table, info: &ProcessInfo, name: &str) -> bool {
    if name.len() <= COMM {
        return info.comm == name;
    }
    let cut = String::from_utf8_lossy(&name.as_bytes()[..COMM]);
    if info.comm != cut {
        return false;
    }
    let Ok(exe) = table.executable(info.pid) else {
        return true;
    };
    let Some(file) = exe.file_name() else {
        return true;
    };
    let file = file.to_string_lossy();
    let file = file.strip_suffix(" (deleted)").unwrap_or(&file);
    // A script has its own name and its interpreter's executable: then the kernel's name is all there is.
    file == name || !file.starts_with(&*cut)
}

fn read(table: &Table, pid: u32) -> io::Result<ProcessInfo> {
    let stat = table.stat(pid)?;
    Ok(ProcessInfo {
        pid,
        ppid: stat.ppid,
        pgid: stat.pgid,
        sid: stat.sid,
        uid: table.owner(pid)?,
        state: State::from_letter(stat.state),
        start_ticks: stat.start_ticks,
        rss_bytes: stat
            .rss_pages
            .saturating_mul(rustix::param::page_size() as u64),
        comm: stat.name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_find_ourselves() {
        let me = get(std::process::id()).unwrap();
        assert!(me.rss_bytes > 0);
        assert!(all().unwrap().iter().any(|info| info.pid == me.pid));
        assert!(
            find(&me.comm, Match::Exact)
                .unwrap()
                .iter()
                .any(|info| info.pid == me.pid)
        );
        assert!(
            find(&me.comm[1..4], Match::Substring)
                .unwrap()
                .iter()
                .any(|info| info.pid == me.pid)
        );
        assert!(count_by_state().unwrap().values().sum::<usize>() > 0);
        assert!(children(u32::MAX).is_err());
    }

    #[test]
    fn a_long_name_is_known_by_its_executable() {
        // The test binary is `proc_core-<hash>`, longer than the kernel's name for it.
        let exe = std::env::current_exe().unwrap();
        let name = exe.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.len() > COMM);
        let me = crate::sys::stat::Stat::of(std::process::id()).unwrap();
        if me.comm == name.as_bytes()[..COMM] {
            let found = |name: &str| {
                find(name, Match::Exact)
                    .unwrap()
                    .iter()
                    .any(|info| info.pid == me.pid)
            };
            assert!(found(&name));
            assert!(!found(&format!("{name}x")));
        }
    }
}
