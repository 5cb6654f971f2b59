//! The table of processes, as libproc tells it. There is no other machine's to look at.

use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;

use super::info;
use super::stat::Stat;

/// The kernel's table.
pub(crate) struct Table;

impl Table {
    /// Our own: the one whose numbers can be signalled.
    pub(crate) const fn own() -> Self {
        Self
    }

    /// The same: `HOST_PROC` means nothing here.
    pub(crate) const fn chosen() -> Self {
        Self
    }

    /// Returns the numbers of all processes.
    #[expect(clippy::unused_self, reason = "the shape that every system has")]
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        info::pids()
    }

    /// Reads one process.
    #[expect(clippy::unused_self, reason = "the shape that every system has")]
    pub(crate) fn stat(&self, pid: u32) -> io::Result<Stat> {
        Stat::of(pid)
    }

    /// Returns its effective user.
    #[expect(clippy::unused_self, reason = "the shape that every system has")]
    pub(crate) fn owner(&self, pid: u32) -> io::Result<u32> {
        Stat::of(pid).map(|stat| stat.uid)
    }

    /// Returns its executable, where that may be read.
    #[expect(clippy::unused_self, reason = "the shape that every system has")]
    pub(crate) fn executable(&self, pid: u32) -> io::Result<PathBuf> {
        info::path(pid)
    }
}

/// Finds children, from one look at everything.
pub(crate) struct Children<'a> {
    scanned: HashMap<u32, Vec<u32>>,
    of: PhantomData<&'a Table>,
}

impl<'a> Children<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        let mut scanned: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in table.pids().unwrap_or_default() {
            if let Ok(info) = info::short(pid) {
                scanned.entry(info.ppid).or_default().push(pid);
            }
        }
        Self {
            scanned,
            of: PhantomData,
        }
    }

    /// Returns the children of a process that was read.
    pub(crate) fn of_known(&mut self, stat: &Stat) -> Vec<u32> {
        self.of(stat.pid)
    }

    /// Returns the children of one process, as of the look at everything.
    pub(crate) fn of(&mut self, pid: u32) -> Vec<u32> {
        self.scanned.get(&pid).cloned().unwrap_or_default()
    }
}
