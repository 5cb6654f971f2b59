//! What the whole-program suites share: a scratch project, the built binaries, and waiting for events.
//!
//! Nothing here sleeps: `proc wait`, `proc events -f` and `up -d` are the events a test waits for, each with a bound.

#![expect(clippy::print_stdout, reason = "a test prints its seed")]

mod events;
mod guard;
mod load;
mod project;
mod random;
mod servers;

pub use events::Events;
pub use guard::Guard;
pub use load::{Load, get};
pub use project::{Outcome, Project, alive};
pub use random::Random;
pub use servers::{APP, gunicorn, postgres_bin};

use std::net::TcpListener;
use std::path::PathBuf;

/// Returns the path of a binary built beside the running test program.
///
/// # Panics
/// When it was not built: `cargo xtask test-integration` builds it first.
pub fn bin(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests run from target/<profile>/deps");
    let path = profile.join(name);
    assert!(
        path.exists(),
        "`{}` is not built: run `cargo xtask test-integration`",
        path.display()
    );
    path
}

/// Returns the path of a program that pip has installed beside the tests.
///
/// # Panics
/// When it was not: `cargo xtask test-integration` does it first.
pub fn python(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let target = test.ancestors().nth(3);
    let target = target.expect("tests run from target/<profile>/deps");
    let path = target.join("python/bin").join(name);
    assert!(
        path.exists(),
        "`{}` is not there: run `cargo xtask test-integration`",
        path.display()
    );
    path
}

/// Returns the workspace root.
pub fn root() -> PathBuf {
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("tests/ lies in the workspace root")
        .to_path_buf()
}

/// Picks a loopback port that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// Tells whether the long sweeps are wanted (`--full`).
pub fn full() -> bool {
    std::env::var_os("PROC_TEST_FULL").is_some()
}

/// Tells whether we run as root.
pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}
