//! The table of processes: procfs, our own or that of `HOST_PROC`.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::stat::Stat;

/// A mount of procfs.
pub(crate) struct Table {
    root: PathBuf,
}

impl Table {
    /// Our own: the one whose numbers can be signalled.
    pub(crate) fn own() -> Self {
        Self {
            root: PathBuf::from("/proc"),
        }
    }

    /// That of `HOST_PROC`, else our own: for looking only.
    pub(crate) fn chosen() -> Self {
        let root = std::env::var_os("HOST_PROC").filter(|root| !root.is_empty());
        root.map_or_else(Self::own, |root| Self { root: root.into() })
    }

    /// Returns the numbers of all processes.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids: Vec<u32> = std::fs::read_dir(&self.root)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// Reads one process.
    pub(crate) fn stat(&self, pid: u32) -> io::Result<Stat> {
        Stat::read(&self.root, pid)
    }

    /// Returns its effective user.
    pub(crate) fn owner(&self, pid: u32) -> io::Result<u32> {
        Ok(std::fs::metadata(self.root.join(pid.to_string()))?.uid())
    }

    /// Returns its executable, where that may be read.
    pub(crate) fn executable(&self, pid: u32) -> io::Result<PathBuf> {
        std::fs::read_link(self.root.join(format!("{pid}/exe")))
    }
}

/// Finds children: from the `children` files, whose cost does not depend on how much else runs, or where the kernel
/// has none from one scan of everything.
pub(crate) struct Children<'a> {
    root: &'a Path,
    scanned: Option<HashMap<u32, Vec<u32>>>,
}

impl<'a> Children<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        let root = table.root.as_path();
        let has_files = has_children_files();
        let scanned = (!has_files).then(|| {
            let mut map: HashMap<u32, Vec<u32>> = HashMap::new();
            for pid in table.pids().unwrap_or_default() {
                if let Ok(stat) = table.stat(pid) {
                    map.entry(stat.ppid).or_default().push(pid);
                }
            }
            map
        });
        Self { root, scanned }
    }

    /// Returns the children of a process whose number of threads is known: with one, there is one file to read.
    pub(crate) fn of_known(&mut self, stat: &Stat) -> Vec<u32> {
        if self.scanned.is_some() || stat.threads != 1 {
            return self.of(stat.pid);
        }
        let (pid, mut found) = (stat.pid, Vec::new());
        read_children(
            &self.root.join(format!("{pid}/task/{pid}/children")),
            &mut found,
        );
        found
    }

    /// Returns the children of one process. A hint: entries may be missing while siblings end.
    pub(crate) fn of(&mut self, pid: u32) -> Vec<u32> {
        if let Some(map) = &self.scanned {
            return map.get(&pid).cloned().unwrap_or_default();
        }
        let mut found = Vec::new();
        let Ok(threads) = std::fs::read_dir(self.root.join(format!("{pid}/task"))) else {
            return found;
        };
        for thread in threads.flatten() {
            read_children(&thread.path().join("children"), &mut found);
        }
        found
    }
}

fn read_children(file: &Path, found: &mut Vec<u32>) {
    // Most have none, so the least that tells is open, read, close.
    let Ok(mut file) = std::fs::File::open(file) else {
        return;
    };
    let (mut bytes, mut pid) = ([0; 4096], None);
    while let Ok(read @ 1..) = file.read(&mut bytes) {
        for byte in &bytes[..read] {
            if byte.is_ascii_digit() {
                let digit = u32::from(byte - b'0');
                pid = Some(pid.unwrap_or(0_u32).wrapping_mul(10).wrapping_add(digit));
            } else {
                found.extend(pid.take());
            }
        }
    }
    found.extend(pid);
}

/// Says whether the kernel has `/proc/PID/task/TID/children` (CONFIG_PROC_CHILDREN).
pub(crate) fn has_children_files() -> bool {
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *HAS.get_or_init(|| {
        let pid = std::process::id();
        std::fs::read(format!("/proc/{pid}/task/{pid}/children")).is_ok()
    })
}
