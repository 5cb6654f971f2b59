//! Memory that an idle shim does not need: stack below the current frame, and pages of code that were for starting up.

use std::ptr;

use rustix::mm::Advice;

/// How far below the stack pointer unused stack is given back. Less than the gap that the kernel keeps free below a
/// main thread's stack, so that no other mapping can lie there.
const STACK: usize = 256 * 1024;
/// What may still be in use below a local variable: the red zone and the frame of `madvise` itself.
const MARGIN: usize = 256;

/// Gives back what comes back by itself when it is touched: clean pages of code and constants (the kernel maps them in
/// clusters, so a shim that ran a little of its code holds nearly all of it) and stack that nothing uses.
///
/// What it costs is a handful of page faults, without disk, at the next event.
pub(crate) fn release_idle_memory() {
    let mut found = Constants::default();
    // SAFETY: the callback has the type that is asked for, and gets the data that it expects.
    unsafe { libc::dl_iterate_phdr(Some(find_constants), (&raw mut found).cast()) };
    release_stack();
    for (begin, length) in found.list.into_iter().take(found.count) {
        // SAFETY: a private file mapping that nothing has written to: its pages come back from the file as they were.
        // No function is called from here on: what is called now stays in memory.
        let _unimportant = unsafe {
            rustix::mm::madvise(
                ptr::without_provenance_mut(begin),
                length,
                Advice::LinuxDontNeed,
            )
        };
    }
}

/// Gives the stack below this frame back, on the main thread: other threads' stacks have neighbours.
#[inline(never)]
fn release_stack() {
    let page = rustix::param::page_size();
    if rustix::thread::gettid() != rustix::process::getpid() {
        return;
    }
    let here = 0_u8;
    let top = ((&raw const here).addr() - MARGIN) & !(page - 1);
    let bottom = ptr::without_provenance_mut(top - STACK);
    // SAFETY: a main thread's stack is followed by at least 1 MiB of nothing, so the range is stack or unmapped; the stack
    // below the margin holds no live frame, and no signal handler is installed that could make one.
    let _unimportant = unsafe { rustix::mm::madvise(bottom, STACK, Advice::LinuxDontNeed) };
}

/// The segments that are never written to, as (begin, length), page by page.
#[derive(Default)]
struct Constants {
    list: [(usize, usize); 8],
    count: usize,
}

/// Notes the segments of one object.
unsafe extern "C" fn find_constants(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    found: *mut libc::c_void,
) -> libc::c_int {
    let page = rustix::param::page_size();
    // SAFETY: `dl_iterate_phdr` passes a valid object, whose table has this many entries, and our own `found`.
    let (base, headers, found) = unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum));
        (
            object.dlpi_addr as usize,
            headers,
            &mut *found.cast::<Constants>(),
        )
    };
    // Relocated constants lie in a segment that is writable here, and made read-only only afterwards.
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let begin = base + header.p_vaddr as usize;
        let first = begin & !(page - 1);
        if let Some(slot) = found.list.get_mut(found.count) {
            *slot = (first, begin + header.p_memsz as usize - first);
            found.count += 1;
        }
    }
    0
}
