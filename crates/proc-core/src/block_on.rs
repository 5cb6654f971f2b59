//! Running a future in a program that has no runtime.

use std::future::Future;
use std::io;

/// Runs a future to its end on a runtime of its own, on this thread.
///
/// For programs that are not asynchronous otherwise; who has a runtime awaits instead.
///
/// # Errors
/// When the runtime cannot be set up: out of descriptors, most likely.
///
/// # Panics
/// Within a runtime.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}
