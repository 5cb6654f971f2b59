//! What this system can do, found out by trying it, and what is done where it cannot.

use std::fmt;

use crate::sys::pidfd::{self, Pidfd, Whom};
use crate::sys::{self, pidfs};
use crate::{Cgroup, Signal};

/// One thing a system may or may not have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Capability {
    /// A short name: `pidfd`, `cgroup.kill`.
    pub name: &'static str,
    /// Whether it works here, for this user.
    pub works: bool,
    /// What it is used for, or where it does not work what is done instead.
    pub line: String,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            if self.works { "yes" } else { "no " },
            self.name,
            self.line
        )
    }
}

/// Everything that matters to this library; each was tried, none is concluded from a version number.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Capabilities {
    /// In the order of importance.
    pub all: Vec<Capability>,
}

impl Capabilities {
    /// Tries everything; takes about a millisecond, starts one `true`, and leaves nothing behind.
    pub fn probe() -> Self {
        let own = pidfd::open(std::process::id()).ok();
        let own = own.as_ref();
        let on_pidfs = own.filter(|fd| pidfs::inode(fd).is_some());
        let handle = on_pidfs.and_then(pidfs::handle);
        let cgroup = Cgroup::own();
        let mut all = Vec::new();
        let mut add = |name, works: bool, uses: &str, instead: &str| {
            all.push(Capability {
                name,
                works,
                line: sys::caps::line(name, works)
                    .unwrap_or(if works { uses } else { instead })
                    .to_owned(),
            });
        };
        add(
            "pidfd",
            own.is_some_and(|fd| pidfd::send(fd, Signal::PROBE, Whom::Process).is_ok()),
            "signals and waits name a process, not a number",
            "processes cannot be watched; a signal compares the start time and then uses the number",
        );
        add(
            "pidfs inode",
            on_pidfs.is_some(),
            "tells a process from every later owner of its number",
            "a process is told from a later owner of its number by its start time, to 10 ms",
        );
        add(
            "pidfs handle",
            handle.is_some_and(|handle| pidfs::open(&handle).is_ok()),
            "a saved identity reopens its process without a look at numbers",
            "a saved identity is reopened by number and then verified",
        );
        add(
            "exit info",
            own.is_some_and(knows_exit_info),
            "the exit code of a process that is not our child can be read",
            "only a parent learns the exit code; the shim is one",
        );
        add(
            "signal by group handle",
            own.is_some_and(knows_group_signals),
            "a group is signalled by its leader's handle, also after the leader's end",
            "a group is signalled by number while its leader still holds that number",
        );
        add(
            "children files",
            sys::caps::has_children_files(),
            "a tree is walked at the cost of its own size",
            "a tree is walked by scanning every process of the machine",
        );
        add(
            "subreaper",
            sys::caps::has_subreaper(),
            "the shim inherits every orphan of its tree and proves that nobody is left",
            "orphans escape; a stop is best effort",
        );
        add(
            "cgroup2",
            cgroup.is_some(),
            "found; a service can have a cgroup of its own where that is writable",
            "no cgroup version 2 here; trees are ended by their subreaper",
        );
        let writable = cgroup
            .as_ref()
            .is_some_and(|cgroup| cgroup.procs_file().is_ok() && can_make(cgroup));
        add(
            "cgroup2 writable",
            writable,
            "a service gets a cgroup of its own",
            "no cgroup of its own for a service; trees are ended by their subreaper",
        );
        let Some(cgroup) = cgroup else {
            return Self { all };
        };
        add(
            "cgroup.kill",
            writable && knows_kill(),
            "a tree is ended by one write",
            "a tree is ended process by process",
        );
        for (name, controller) in [
            ("memory controller", "memory"),
            ("pids controller", "pids"),
            ("cpu controller", "cpu"),
        ] {
            let there = controllers(&cgroup)
                .is_some_and(|list| list.split_ascii_whitespace().any(|word| word == controller));
            add(
                name,
                there,
                "limits the tree of a service",
                "not here: `limits` fall back to those of each process, or are not applied",
            );
        }
        Self { all }
    }

    /// Says whether one works; `false` for a name that is not known.
    pub fn works(&self, name: &str) -> bool {
        self.all
            .iter()
            .any(|capability| capability.name == name && capability.works)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all
            .iter()
            .try_for_each(|capability| writeln!(f, "{capability}"))
    }
}

/// Whether the kernel tells an end can only be seen after one: a child that ends at once.
fn knows_exit_info(fd: &Pidfd) -> bool {
    if !pidfd::has_exit_status(fd) {
        return false;
    }
    let child = crate::Spawn::new("true")
        .stdin(crate::Stdio::Null)
        .stdout(crate::Stdio::Null)
        .spawn();
    child.is_ok_and(|child| child.wait().is_ok() && child.handle().exit_info().is_some())
}

/// An older kernel refuses the flag, whoever is in the group.
fn knows_group_signals(fd: &Pidfd) -> bool {
    !pidfd::send(fd, Signal::PROBE, Whom::Group)
        .is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

fn can_make(cgroup: &Cgroup) -> bool {
    rustix::fs::access(cgroup.path(), rustix::fs::Access::WRITE_OK).is_ok()
}

fn controllers(cgroup: &Cgroup) -> Option<String> {
    std::fs::read_to_string(cgroup.path().join("cgroup.controllers")).ok()
}

/// The root cgroup has no such file, so an empty one below it is made and removed again.
fn knows_kill() -> bool {
    let probe = Cgroup::create(&format!("proc-probe-{}", std::process::id()));
    probe.is_ok_and(|probe| {
        let knows = probe.can_kill();
        let _ours_and_empty = probe.remove();
        knows
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_line_and_a_name_of_its_own() {
        let capabilities = Capabilities::probe();
        let names: std::collections::HashSet<_> =
            capabilities.all.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), capabilities.all.len());
        assert!(capabilities.all.iter().all(|one| !one.line.is_empty()));
        assert!(capabilities.works("pidfd"), "{capabilities}");
        assert!(!capabilities.works("teleport"));
    }
}
