//! `proc_pidinfo`: what the kernel tells about a process by number.

use std::io;
use std::mem::MaybeUninit;

/// `PROC_PIDT_SHORTBSDINFO`, `PROC_PIDUNIQIDENTIFIERINFO` of `sys/proc_info.h`: both ask for no privilege.
const SHORT: libc::c_int = 13;
const UNIQUE: libc::c_int = 17;
/// As argument of those that know it: zombies too.
const ZOMBIES: u64 = 1;

/// `struct proc_uniqidentifierinfo`, 56 bytes.
#[repr(C)]
struct Unique {
    uuid: [u8; 16],
    unique: u64,
    parent: u64,
    version: i32,
    reserved: u32,
    more: [u64; 2],
}

/// `struct proc_bsdshortinfo`, 64 bytes.
#[repr(C)]
pub(super) struct Short {
    pub(super) pid: u32,
    pub(super) ppid: u32,
    pub(super) pgid: u32,
    pub(super) status: u32,
    pub(super) comm: [u8; 16],
    pub(super) flags: u32,
    pub(super) uid: u32,
    pub(super) rest: [u32; 6],
}

/// Asks for one flavour, whose answer has the size of `T`.
///
/// # Safety
/// `T` is the plain `#[repr(C)]` structure of that flavour.
unsafe fn ask<T>(pid: u32, flavour: libc::c_int, argument: u64) -> io::Result<T> {
    let pid = libc::c_int::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let size = size_of::<T>() as libc::c_int;
    let mut answer = MaybeUninit::<T>::zeroed();
    // SAFETY: the buffer is as long as it is said to be.
    let filled =
        unsafe { libc::proc_pidinfo(pid, flavour, argument, answer.as_mut_ptr().cast(), size) };
    if filled == size {
        // SAFETY: filled as a whole, and a plain structure as the caller promises.
        return Ok(unsafe { answer.assume_init() });
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
        error if filled == 0 => Err(error),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Returns the number that no other process of this boot has had or will have, also of a zombie.
pub(super) fn unique(pid: u32) -> io::Result<u64> {
    // SAFETY: the structure of this flavour.
    unsafe { ask::<Unique>(pid, UNIQUE, ZOMBIES) }.map(|info| info.unique)
}

/// Returns everything about a process of ours; the superuser's own may be anybody's.
pub(super) fn full(pid: u32) -> io::Result<libc::proc_bsdinfo> {
    // SAFETY: the structure of this flavour.
    unsafe { ask(pid, libc::PROC_PIDTBSDINFO, ZOMBIES) }
}

/// Returns the little that is told about anybody's.
pub(super) fn short(pid: u32) -> io::Result<Short> {
    // SAFETY: the structure of this flavour.
    unsafe { ask(pid, SHORT, ZOMBIES) }
}

/// Returns resident bytes, where that may be asked.
pub(super) fn resident(pid: u32) -> Option<u64> {
    // SAFETY: the structure of this flavour.
    let info = unsafe { ask::<libc::proc_taskinfo>(pid, libc::PROC_PIDTASKINFO, 0) };
    info.ok().map(|info| info.pti_resident_size)
}

/// Returns the working directory.
pub(super) fn directory(pid: u32) -> io::Result<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    // SAFETY: the structure of this flavour.
    let info: libc::proc_vnodepathinfo = unsafe { ask(pid, libc::PROC_PIDVNODEPATHINFO, 0) }?;
    let path = info.pvi_cdir.vip_path.as_flattened().iter();
    let path = path.map(|byte| *byte as u8).take_while(|byte| *byte != 0);
    Ok(std::ffi::OsString::from_vec(path.collect()).into())
}

/// Returns the path of the executable.
pub(super) fn path(pid: u32) -> io::Result<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = vec![0_u8; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    let pid = libc::c_int::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer and length are a live buffer's.
    let length = unsafe { libc::proc_pidpath(pid, bytes.as_mut_ptr().cast(), bytes.len() as u32) };
    if length <= 0 {
        return Err(io::Error::last_os_error());
    }
    bytes.truncate(length as usize);
    Ok(std::ffi::OsString::from_vec(bytes).into())
}

/// Returns the numbers of all processes.
pub(super) fn pids() -> io::Result<Vec<u32>> {
    let mut room = 1024_usize;
    loop {
        let mut pids = vec![0_i32; room];
        let bytes = libc::c_int::try_from(room * size_of::<i32>())
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: the pointer and length in bytes are a live buffer's.
        let count = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), bytes) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // A full buffer may be too short: what was born meanwhile has no place in it.
        if count < room {
            pids.truncate(count);
            let mut pids: Vec<u32> = pids
                .into_iter()
                .filter_map(|pid| u32::try_from(pid).ok().filter(|pid| *pid > 0))
                .collect();
            pids.sort_unstable();
            return Ok(pids);
        }
        room *= 2;
    }
}
