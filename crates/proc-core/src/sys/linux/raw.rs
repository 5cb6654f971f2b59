//! System calls without `errno`.
//!
//! A child that shares its parent's memory (`CLONE_VM`) while that goes on has `errno` in the same place. libc's `syscall(3)`
//! would write into it what the parent is about to read.

use std::ffi::c_long;

/// Whether [`system_call`] leaves `errno` alone on this processor.
pub(crate) const LEAVES_ERRNO_ALONE: bool =
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// The kernel answers with `-MAX_ERROR` to -1 where a call failed (`MAX_ERRNO` of `linux/err.h`).
const MAX_ERROR: isize = 4095;

/// Makes a system call with up to six arguments, and returns what the kernel answers or the error number.
///
/// On x86-64 and 64-bit ARM it leaves `errno` alone; elsewhere it is `syscall(3)`, and
/// [`needs_own_memory`](crate::ResolvedAttributes::needs_own_memory) is always true.
///
/// # Errors
/// The error number.
///
/// # Safety
/// As the system call: pointers among the arguments must be what it expects.
pub unsafe fn system_call(number: c_long, arguments: &[usize]) -> Result<usize, i32> {
    let mut six = [0; 6];
    for (to, from) in six.iter_mut().zip(arguments) {
        *to = *from;
    }
    // SAFETY: the caller's.
    let answer = unsafe { enter(number, six) };
    if (-MAX_ERROR..0).contains(&answer) {
        Err(-answer as i32)
    } else {
        Ok(answer.cast_unsigned())
    }
}

/// Makes a system call that leaves `errno` alone; `Err` is the error number.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {{
        // SAFETY: the arguments are numbers, or pointers to live values of the kernel's layout.
        unsafe { $crate::sys::raw::system_call(libc::$number, &[$($argument as usize),*]) }
    }};
}
pub(crate) use call;

#[cfg(target_arch = "x86_64")]
unsafe fn enter(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the convention of syscall(2) for this processor; the caller answers for the call itself.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    answer
}

#[cfg(target_arch = "aarch64")]
unsafe fn enter(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the convention of syscall(2) for this processor; the caller answers for the call itself.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a.cast_signed() => answer,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack)
        );
    }
    answer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn enter(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    // SAFETY: the caller's.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer < 0 {
        let error = std::io::Error::last_os_error().raw_os_error();
        return -(error.unwrap_or(libc::EIO) as isize);
    }
    answer as isize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_and_an_error_are_told_apart_and_errno_stays() {
        // SAFETY: a plain number that is no descriptor.
        unsafe { libc::close(-1) };
        let before = std::io::Error::last_os_error().raw_os_error();
        // SAFETY: an empty path, which is NUL-terminated.
        let missing = unsafe { system_call(libc::SYS_chdir, &[c"".as_ptr() as usize]) };
        assert_eq!(missing, Err(libc::ENOENT));
        // SAFETY: takes nothing.
        let own = unsafe { system_call(libc::SYS_getpid, &[]) };
        assert_eq!(own, Ok(std::process::id() as usize));
        let after = std::io::Error::last_os_error().raw_os_error();
        assert!(!LEAVES_ERRNO_ALONE || (before, after) == (Some(libc::EBADF), Some(libc::EBADF)));
    }

    #[test]
    fn six_arguments_arrive_in_order() {
        let length = 4096;
        let (protection, flags) = (
            libc::PROT_READ as usize,
            (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize,
        );
        let arguments = [0, length, protection, flags, usize::MAX, 0];
        // SAFETY: a new mapping, which is taken away again and never touched.
        let mapped = unsafe { system_call(libc::SYS_mmap, &arguments) }.unwrap();
        // SAFETY: as above.
        let unmapped = unsafe { system_call(libc::SYS_munmap, &[mapped, length]) };
        assert_eq!(unmapped, Ok(0));
    }
}
