//! A child between fork and exec, which borrows the memory of the shim until then.
//!
//! A plain fork copies page tables, and then every page that either side writes to: a third of what a start costs. Where
//! the system can do it, this child shares the memory and has a stack of its own. Unlike after `vfork` the shim goes on
//! meanwhile: it writes the record for which the child waits at the *gate*. So the child makes nothing but system calls
//! that leave `errno` alone, and touches nothing but its [`Errand`], which stays where it is until the *report* ends:
//! then the child has executed its program or is gone.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use libc::{c_char, c_int, c_void};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::calls::{self, close, leave, wait, write};
pub(crate) use super::calls::{control_terminal, dup, enter, execute, own_pid};

/// What a child has to do, with the functions of this module and nothing that allocates, locks or panics.
pub(crate) trait Errand {
    /// Goes first. A message ends the child.
    fn before_gate(&mut self) -> Result<(), [u8; 9]>;
    /// Goes on once the gate is open, into another program; the message says why that failed.
    fn after_gate(&mut self) -> [u8; 9];
}

/// What the child may touch.
struct Shared<T> {
    errand: T,
    gate: RawFd,
    /// The other end of the gate, which must not keep it open if the shim dies.
    gate_in: RawFd,
    report: RawFd,
    _stack: Stack,
}

/// A child that may not have executed its program yet. What it may touch is leaked unless it is [finished](Self::finish).
#[derive(Debug)]
pub(crate) struct Embryo<T> {
    pub(crate) pid: u32,
    gate: Option<OwnedFd>,
    report: OwnedFd,
    message: Vec<u8>,
    over: bool,
    shared: NonNull<Shared<T>>,
}

impl<T: Errand> Embryo<T> {
    /// Begins a child. Its ends of gate and report get numbers from `above`.
    ///
    /// With `own_memory` it gets a copy of our memory: for what the kernel keeps with the memory, not the process.
    pub(crate) fn begin(errand: T, above: RawFd, own_memory: bool) -> io::Result<Self> {
        let (report, report_in) = super::pipe()?;
        let (gate_out, gate) = super::pipe()?;
        let report_in = fcntl_dupfd_cloexec(&report_in, above)?;
        let gate_out = fcntl_dupfd_cloexec(&gate_out, above)?;
        let stack = Stack::new()?;
        let top = stack.top();
        let shared = NonNull::from(Box::leak(Box::new(Shared {
            errand,
            gate: gate_out.as_raw_fd(),
            gate_in: gate.as_raw_fd(),
            report: report_in.as_raw_fd(),
            _stack: stack,
        })));
        // SAFETY: `run` gets what it expects, on the free end of a stack that lives as long as `shared`: until the
        // report has ended. It never returns or unwinds.
        let begun = unsafe { calls::begin(run::<T>, top, shared.as_ptr().cast(), own_memory) };
        let pid = begun.inspect_err(|_| {
            // SAFETY: it came from a box, and there is no child that could touch it.
            drop(unsafe { Box::from_raw(shared.as_ptr()) });
        })?;
        Ok(Self {
            pid,
            gate: Some(gate),
            report,
            message: Vec::new(),
            over: false,
            shared,
        })
    }

    /// Lets the child go on to its program.
    pub(crate) fn open_gate(&self) {
        // A child that failed before the gate is not there to read; its report says why.
        let _gone = self.gate.as_ref().map(|gate| rustix::io::write(gate, b"!"));
    }

    /// Returns what becomes readable when [`is_over`](Self::is_over) has something to read.
    pub(crate) fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// Reads what the child reports, and says whether it has executed its program or given up.
    pub(crate) fn is_over(&mut self) -> bool {
        let mut bytes = [0; 16];
        match rustix::io::read(&self.report, &mut bytes) {
            Ok(0) => self.over = true,
            Ok(read) => self.message.extend_from_slice(&bytes[..read]),
            Err(_interrupted) => {}
        }
        self.over
    }

    /// Waits until the child has no use for its errand, and returns that with the message that it left, if any. One
    /// that still stands before its gate finds it closed, and ends.
    pub(crate) fn finish(mut self) -> (T, Vec<u8>) {
        self.gate = None;
        while !self.over {
            self.is_over();
        }
        // SAFETY: it came from a box, and the child, whose end of the report is closed, does not use it any more.
        let shared = unsafe { Box::from_raw(self.shared.as_ptr()) };
        (shared.errand, self.message)
    }
}

extern "C" fn run<T: Errand>(shared: *mut c_void) -> c_int {
    // SAFETY: it is what `begin` passed, which nobody else touches while this child has not closed its report.
    let shared = unsafe { &mut *shared.cast::<Shared<T>>() };
    close(shared.gate_in);
    let message = match shared.errand.before_gate() {
        Err(message) => message,
        Ok(()) if wait(shared.gate) => shared.errand.after_gate(),
        // The shim died before it could write the record: nobody would ever know this process.
        Ok(()) => leave(),
    };
    write(shared.report, &message);
    leave()
}

/// What a child uses as its stack: pages of their own, gone as a whole when it does not need them any more.
struct Stack(NonNull<c_void>);

/// Far more than the few frames of a child need, of which only what is touched is there.
const STACK: usize = 64 * 1024;

impl Stack {
    fn new() -> io::Result<Self> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping at a place of the kernel's choice, which is nobody else's.
        let pages = unsafe { mmap_anonymous(std::ptr::null_mut(), STACK, access, flags) }?;
        Ok(Self(NonNull::new(pages).ok_or(io::ErrorKind::OutOfMemory)?))
    }

    /// Returns where it begins: at its end.
    fn top(&self) -> *mut c_void {
        self.0.as_ptr().wrapping_byte_add(STACK)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: our own mapping; who drops it knows that no child stands on it.
        let _unmapped = unsafe { munmap(self.0.as_ptr(), STACK) };
    }
}

/// The addresses of strings that end with NUL, ended by null, as `execve` takes them.
#[derive(Debug)]
pub(crate) struct Pointers(Vec<*const c_char>);

impl Pointers {
    /// The strings must stay where they are for as long as this is used.
    pub(crate) fn to<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Self {
        let end = std::iter::once(std::ptr::null());
        Self(
            strings
                .map(|text| text.as_ptr().cast())
                .chain(end)
                .collect(),
        )
    }

    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.0.as_ptr()
    }
}
