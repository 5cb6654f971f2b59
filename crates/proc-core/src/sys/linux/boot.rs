//! Where and when numbers of processes mean something.

use super::stat::read_once;

/// The id of this boot; empty without `/proc`, where nothing else can be verified either.
pub(crate) fn id() -> String {
    let mut bytes = [0; 64];
    let read = read_once("/proc/sys/kernel/random/boot_id", &mut bytes).unwrap_or(0);
    let text = std::str::from_utf8(&bytes[..read]).unwrap_or_default();
    text.trim().to_owned()
}

/// The inode of our pid namespace, 0 when unknown.
pub(crate) fn pid_namespace() -> u64 {
    rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino)
}
