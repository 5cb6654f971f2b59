//! Users and groups by name, from the system's own databases.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// A user of this system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// The largest entry we are ready to read; a group of a directory service may be long.
const LARGEST: usize = 1 << 20;

/// Calls a `get…_r` function with a buffer that grows until the entry fits. `Ok(None)`: no such entry.
fn with_buffer<T>(
    mut call: impl FnMut(&mut [libc::c_char]) -> (i32, Option<T>),
) -> io::Result<Option<T>> {
    let mut size = 4096;
    loop {
        let mut buffer = vec![0; size];
        match call(&mut buffer) {
            (0, found) => return Ok(found),
            (libc::ERANGE, _) if size < LARGEST => size *= 4,
            (libc::EINTR, _) => {}
            // Different databases say "not there" in different ways, as getpwnam(3) lists.
            (libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM, _) => return Ok(None),
            (errno, _) => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Copies a C string of an entry.
///
/// # Safety
/// `text` is null or points to a NUL-terminated string.
unsafe fn copy(text: *const libc::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and NUL-terminated as the caller promises.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// Finds a user by name, then by number.
pub(crate) fn account(name: &str) -> io::Result<Option<Account>> {
    let c_name = CString::new(name)?;
    let read = |entry: MaybeUninit<libc::passwd>, result: *mut libc::passwd| {
        if result.is_null() {
            return None;
        }
        // SAFETY: a non-null result says that the entry was filled in; its strings live in the caller's buffer.
        unsafe {
            let entry = entry.assume_init();
            Some(Account {
                name: copy(entry.pw_name),
                uid: entry.pw_uid,
                gid: entry.pw_gid,
                home: copy(entry.pw_dir),
                shell: copy(entry.pw_shell),
            })
        }
    };
    let by_name = with_buffer(|buffer| {
        let (mut entry, mut result) = (MaybeUninit::uninit(), ptr::null_mut());
        // SAFETY: all pointers are to live memory, and the buffer's length is its own.
        let code = unsafe {
            libc::getpwnam_r(
                c_name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut result,
            )
        };
        (code, read(entry, result))
    })?;
    let Ok(uid) = name.parse::<u32>() else {
        return Ok(by_name);
    };
    if by_name.is_some() {
        return Ok(by_name);
    }
    with_buffer(|buffer| {
        let (mut entry, mut result) = (MaybeUninit::uninit(), ptr::null_mut());
        // SAFETY: all pointers are to live memory, and the buffer's length is its own.
        let code = unsafe {
            libc::getpwuid_r(
                uid,
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut result,
            )
        };
        (code, read(entry, result))
    })
}

/// Finds a group's number by name; a number is itself.
pub(crate) fn group(name: &str) -> io::Result<Option<u32>> {
    let c_name = CString::new(name)?;
    let found = with_buffer(|buffer| {
        let (mut entry, mut result) = (MaybeUninit::<libc::group>::uninit(), ptr::null_mut());
        // SAFETY: all pointers are to live memory, and the buffer's length is its own.
        let code = unsafe {
            libc::getgrnam_r(
                c_name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut result,
            )
        };
        // SAFETY: a non-null result says that the entry was filled in.
        let gid = (!result.is_null()).then(|| unsafe { entry.assume_init() }.gr_gid);
        (code, gid)
    })?;
    Ok(found.or_else(|| name.parse().ok()))
}

/// Returns the supplementary groups of a user, `gid` among them.
pub(crate) fn groups_of(user: &str, gid: u32) -> io::Result<Vec<u32>> {
    let user = CString::new(user)?;
    let mut room = 64;
    loop {
        let mut groups = vec![0; room];
        let (complete, count) = super::groups::list(&user, gid, &mut groups);
        if complete {
            groups.truncate(count);
            return Ok(groups);
        }
        // It says how many there are; where it does not, more room is the only thing to try.
        room = count.max(room * 2);
        if room > 65536 {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
    }
}

/// Returns our own supplementary groups.
pub(crate) fn own_groups() -> io::Result<Vec<u32>> {
    Ok(rustix::process::getgroups()?
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect())
}

/// Returns our effective user.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns our effective group.
pub(crate) fn own_gid() -> u32 {
    rustix::process::getegid().as_raw()
}
