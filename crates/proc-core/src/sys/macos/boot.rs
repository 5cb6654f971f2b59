//! Where and when numbers of processes mean something.

/// The id of this boot, `kern.bootsessionuuid`; empty where the kernel does not tell.
pub(crate) fn id() -> String {
    let mut bytes = [0_u8; 64];
    let mut length = bytes.len();
    // SAFETY: a NUL-terminated name; the buffer and its length are a live array's; nothing is set.
    let done = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if done < 0 {
        return String::new();
    }
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).trim().to_owned()
}

/// There are no pid namespaces: unknown.
pub(crate) const fn pid_namespace() -> u64 {
    0
}
