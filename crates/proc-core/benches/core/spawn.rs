//! Starting a program and waiting for it, against `posix_spawn`.

use std::ffi::CString;
use std::ptr;

use proc_core::{Attributes, Spawn};

use crate::{pair, row};

pub(crate) fn run() {
    spawn_and_wait();
    attributes();
}

/// The least that starts a program and waits for it.
fn raw_true() {
    let program = CString::new("/bin/true").unwrap();
    let argv = [program.as_ptr().cast_mut(), ptr::null_mut()];
    let mut pid = 0;
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
    }
    // SAFETY: NUL-terminated strings in null-terminated arrays; nobody changes the environment meanwhile.
    let started = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            ptr::null(),
            ptr::null(),
            argv.as_ptr(),
            environ,
        )
    };
    assert_eq!(started, 0);
    let mut status = 0;
    // SAFETY: `status` is writable; the pid is our child's.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
}

fn spawn_and_wait() {
    for mebibytes in [10, 1024] {
        let mut memory = vec![0u8; mebibytes << 20];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        let (raw, ours) = pair(300, raw_true, || {
            assert!(
                Spawn::new("/bin/true")
                    .spawn()
                    .unwrap()
                    .wait()
                    .unwrap()
                    .success()
            );
        });
        row(
            &format!("spawn and wait, {mebibytes} MiB of memory"),
            raw,
            ours,
            1.15,
        );
        drop(std::hint::black_box(memory));
    }
}

fn attributes() {
    let attributes = || Attributes {
        umask: Some(0o27),
        nice: Some(1),
        close_fds: true,
        ..Attributes::default()
    };
    let (raw, ours) = pair(300, raw_true, || {
        let resolved = attributes().resolve(None).unwrap();
        assert!(
            Spawn::new("/bin/true")
                .attributes(resolved)
                .spawn()
                .unwrap()
                .wait()
                .unwrap()
                .success()
        );
    });
    row("the same with attributes", raw, ours, 1.2);
}
