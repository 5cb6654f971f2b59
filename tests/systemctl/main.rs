//! The systemctl backend on a real systemd.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panicking, and a skip has to be loud"
)]

mod adopt;
mod bad_input;
mod bed;
mod boot;
mod foreign;
mod host;
mod machine;
mod own;
mod states;

/// Runs a test on a runtime of its own.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(test)
}
