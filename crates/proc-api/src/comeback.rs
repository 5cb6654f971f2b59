//! Connecting to a supervisor that is on its way back: wait for its socket to appear, not for a while.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use proc_core::Readiness;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::UnixStream;

use crate::{CONTROL_SOCKET, socket};

/// Connects to the control socket in `runtime_dir`, waiting up to `patience` for one that listens.
///
/// # Errors
///
/// `NotFound` or `ConnectionRefused` when none came in time.
pub(crate) async fn connect_within(
    runtime_dir: &Path,
    patience: Duration,
) -> io::Result<UnixStream> {
    let first = connect(runtime_dir);
    match first {
        Err(error) if patience > Duration::ZERO && is_absence(&error) => {
            let waited = tokio::time::timeout(patience, appear(runtime_dir)).await;
            waited.unwrap_or(Err(error))
        }
        first => first,
    }
}

fn connect(runtime_dir: &Path) -> io::Result<UnixStream> {
    let stream = socket::connect(runtime_dir, CONTROL_SOCKET)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// Connects as soon as a listening socket is renamed into place.
///
/// The watch is there before the next attempt: a socket that appears in between is met by one or
/// announced by the other.
async fn appear(runtime_dir: &Path) -> io::Result<UnixStream> {
    let watch = Readiness::new(watch(runtime_dir)?)?;
    loop {
        match connect(runtime_dir) {
            Err(error) if is_absence(&error) => {}
            settled => return settled,
        }
        watch.read_with(announcement).await?;
    }
}

fn watch(dir: &Path) -> io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, dir, WatchFlags::MOVED_TO | WatchFlags::CREATE)?;
    Ok(watch)
}

/// Reads one announcement; only that something happened matters.
fn announcement(watch: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    inotify::Reader::new(watch, &mut buffer).next()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("runtime").block_on(future)
    }

    #[test]
    fn without_patience_absence_is_told_at_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let error = run(connect_within(dir.path(), Duration::ZERO)).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_socket_that_appears_is_met() {
        let dir = tempfile::tempdir().expect("temporary directory");
        run(async {
            let client = connect_within(dir.path(), Duration::from_secs(60));
            let server = async {
                // Lets the client look first and find nothing.
                tokio::task::yield_now().await;
                socket::listen(dir.path(), CONTROL_SOCKET)
            };
            let (client, server) = tokio::join!(client, server);
            server.expect("listens");
            client.expect("connects");
        });
    }
}
