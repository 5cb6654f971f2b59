//! `getgrouplist`, whose types differ.

use std::ffi::CStr;

/// Fills `groups` with the user's; says how many there are, and `false` if they did not fit.
pub(crate) fn list(user: &CStr, gid: u32, groups: &mut [u32]) -> (bool, usize) {
    let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `groups` has room for `count` numbers.
    let done =
        unsafe { libc::getgrouplist(user.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
    (done >= 0, count.max(0) as usize)
}
