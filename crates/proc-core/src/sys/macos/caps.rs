//! What is said about a capability here in other words than everywhere.

/// Returns the line for one that works or does not; `None`: the usual one holds.
pub(crate) fn line(name: &str, works: bool) -> Option<&'static str> {
    Some(match (name, works) {
        ("pidfd", true) => {
            "not on macOS: kqueue watches the process; a signal compares the kernel's unique number and then uses the pid"
        }
        ("pidfs inode", true) => {
            "the kernel's unique number tells a process from every later owner of its pid"
        }
        ("pidfs handle", false) => {
            "not on macOS: a saved identity is reopened by pid and then verified"
        }
        ("exit info", false) => "not on macOS: only a parent learns the exit code; the shim is one",
        ("signal by group handle", _) => {
            "not on macOS: a group is signalled by number while no other process holds that number"
        }
        ("children files", false) => {
            "not on macOS: a tree is walked by looking at every process of the machine"
        }
        ("subreaper", false) => {
            "not on macOS: a process that forks twice and calls setsid escapes; every stop is best effort"
        }
        ("cgroup2" | "cgroup2 writable", false) => {
            "not on macOS: nothing limits or ends the tree of a service as one"
        }
        _ => return None,
    })
}

/// Orphans go to launchd, whoever asks for them.
pub(crate) const SUBREAPER: bool = false;

/// See [`SUBREAPER`].
pub(crate) const fn has_subreaper() -> bool {
    SUBREAPER
}

/// There are no such files.
pub(crate) const fn has_children_files() -> bool {
    false
}
