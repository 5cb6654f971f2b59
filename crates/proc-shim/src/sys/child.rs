//! A child between fork and exec, which borrows the memory of the shim until then.
//!
//! A plain fork copies page tables, and then every page that either side writes to: a third of what a start costs. This
//! child shares the memory (`CLONE_VM`) and has a stack of its own. Unlike after `vfork` the shim goes on meanwhile: it
//! writes the record for which the child waits at the *gate*. So the child makes nothing but raw system calls, which
//! leave `errno` alone, and touches nothing but its [`Errand`], which stays where it is until the *report* ends: then
//! the child has executed its program or is gone.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use libc::{c_char, c_int, c_void};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use syscalls::{Sysno, syscall};

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
    _stack: Vec<u128>,
}

/// Far more than the few frames of a child need, of which only what is touched is there.
const STACK: usize = 64 * 1024 / size_of::<u128>();

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
        let (report, report_in) = pipe_with(PipeFlags::CLOEXEC)?;
        let (gate_out, gate) = pipe_with(PipeFlags::CLOEXEC)?;
        let report_in = fcntl_dupfd_cloexec(&report_in, above)?;
        let gate_out = fcntl_dupfd_cloexec(&gate_out, above)?;
        let mut stack = vec![0_u128; STACK];
        let top = stack.as_mut_ptr_range().end;
        let shared = NonNull::from(Box::leak(Box::new(Shared {
            errand,
            gate: gate_out.as_raw_fd(),
            gate_in: gate.as_raw_fd(),
            report: report_in.as_raw_fd(),
            _stack: stack,
        })));
        let memory = if own_memory { 0 } else { libc::CLONE_VM };
        let before = block_all();
        // SAFETY: `run` gets what it expects, on the free end of a stack that lives as long as `shared`: until the
        // report has ended. It never returns or unwinds, and no handler runs in it: all signals are blocked.
        let pid = unsafe {
            libc::clone(
                run::<T>,
                top.cast(),
                memory | libc::SIGCHLD,
                shared.as_ptr().cast(),
            )
        };
        let error = io::Error::last_os_error();
        restore(before);
        if pid < 0 {
            // SAFETY: it came from a box, and there is no child that could touch it.
            drop(unsafe { Box::from_raw(shared.as_ptr()) });
            return Err(error);
        }
        Ok(Self {
            pid: pid.cast_unsigned(),
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

/// Makes a system call that leaves `errno` alone, which the shim has in the same place; `Err` is the error number.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {{
        // SAFETY: the arguments are numbers, or pointers to live values of the kernel's layout.
        let result = unsafe { syscall!(Sysno::$number $(, $argument)*) };
        result.map_err(|error| error.into_raw())
    }};
}

/// Puts `from` at the exact number `to`, kept open over exec.
pub(crate) fn dup(from: RawFd, to: RawFd) -> Result<(), i32> {
    let done = if from == to {
        call!(fcntl, to, libc::F_SETFD, 0)
    } else {
        call!(dup3, from, to, 0)
    };
    done.map(drop)
}

/// Makes the terminal at this number the controlling one of the session that this process leads.
pub(crate) fn control_terminal(fd: RawFd) -> Result<(), i32> {
    call!(ioctl, fd, libc::TIOCSCTTY, 0).map(drop)
}

/// Enters a directory.
pub(crate) fn enter(path: &CStr) -> Result<(), i32> {
    call!(chdir, path.as_ptr()).map(drop)
}

/// Returns the process's number, asked anew.
pub(crate) fn own_pid() -> u32 {
    call!(getpid).map_or(0, |pid| pid as u32)
}

/// Executes a program; returns only if that failed. Both arrays must end with null.
pub(crate) fn execute(program: &CStr, argv: &Pointers, envp: &Pointers) -> i32 {
    call!(execve, program.as_ptr(), argv.0.as_ptr(), envp.0.as_ptr())
        .map_or_else(|error| error, |_| 0)
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
}

/// Waits for one byte: `false` at the end of file.
fn wait(fd: RawFd) -> bool {
    let mut byte = 0_u8;
    loop {
        match call!(read, fd, &raw mut byte, 1) {
            Err(libc::EINTR) => {}
            read => return read == Ok(1),
        }
    }
}

/// Writes a short message whole: a pipe takes what is below PIPE_BUF in one piece.
fn write(fd: RawFd, bytes: &[u8]) {
    let _nobody_reads = call!(write, fd, bytes.as_ptr(), bytes.len());
}

fn close(fd: RawFd) {
    let _not_open = call!(close, fd);
}

/// Ends without running anybody's exit handlers.
fn leave() -> ! {
    loop {
        let _never_returns = call!(exit_group, 127);
    }
}

/// Blocks every signal, libc's own included, and returns the mask from before.
fn block_all() -> u64 {
    let (all, mut old) = (u64::MAX, 0_u64);
    let _valid = call!(
        rt_sigprocmask,
        libc::SIG_SETMASK,
        &raw const all,
        &raw mut old,
        8
    );
    old
}

fn restore(old: u64) {
    let none = std::ptr::null_mut::<u64>();
    let _valid = call!(rt_sigprocmask, libc::SIG_SETMASK, &raw const old, none, 8);
}
