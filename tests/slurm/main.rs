//! The slurm backend and pipelines on a real Slurm of two nodes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panicking, and a skip has to be loud"
)]

mod bed;
mod cluster;
mod pipeline;
mod services;
mod supervisor;

/// Runs a test on a runtime of its own.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(test)
}
