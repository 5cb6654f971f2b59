//! What is said about a capability here in other words than everywhere.

/// Returns the line for one that works or does not; `None`: the usual one holds.
pub(crate) const fn line(_name: &str, _works: bool) -> Option<&'static str> {
    None
}

/// Whether the orphans of a tree can come to a process that asks for them.
pub(crate) const SUBREAPER: bool = true;

/// Says whether a process of ours can inherit the orphans of its tree.
pub(crate) fn has_subreaper() -> bool {
    rustix::process::child_subreaper().is_ok()
}

/// Says whether the kernel has `/proc/PID/task/TID/children`.
pub(crate) fn has_children_files() -> bool {
    super::table::has_children_files()
}
