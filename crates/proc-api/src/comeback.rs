//! Connecting to a supervisor that is on its way back: wait for its socket to appear, not for a while.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_core::ProcessHandle;
use tokio::net::UnixStream;

use crate::sys::Watch;
use crate::{CONTROL_SOCKET, socket};

/// Who can bring a supervisor back: without either of them waiting for one is in vain.
#[derive(Debug, Clone)]
pub struct Starters {
    /// The socket of the keeper that starts it again when it was killed.
    pub keeper: PathBuf,
    /// The file whose lock is held (flock) by whoever starts a supervisor.
    pub turn: PathBuf,
}

/// Somebody who can bring a supervisor back, as far as he can be watched.
#[derive(Debug)]
enum Starter {
    Keeper(ProcessHandle),
    Unwatched,
}

impl Starters {
    /// Returns who is there at this moment. Whoever cannot be looked at counts as there.
    fn find(&self) -> Option<Starter> {
        let (dir, name) = (self.keeper.parent()?, self.keeper.file_name()?.to_str()?);
        match socket::listener(dir, name) {
            Ok(Some(pid)) => {
                Some(ProcessHandle::of(pid).map_or(Starter::Unwatched, Starter::Keeper))
            }
            Err(error) if is_absence(&error) => self.is_turn_taken().then_some(Starter::Unwatched),
            Ok(None) | Err(_) => Some(Starter::Unwatched),
        }
    }

    fn is_turn_taken(&self) -> bool {
        // Shared, so that those who ask do not take each other for somebody who starts one.
        let asked = File::open(&self.turn).map(|file| file.try_lock_shared());
        matches!(asked, Ok(Err(TryLockError::WouldBlock)))
    }
}

impl Starter {
    /// Waits until he is gone, for ever where that cannot be seen.
    async fn gone(&self) {
        match self {
            Self::Keeper(keeper) if keeper.exited().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    }
}

/// Connects to the control socket in `runtime_dir`, waiting up to `patience` for one that listens, and no longer than
/// one of `starters` is there.
///
/// # Errors
///
/// `NotFound` or `ConnectionRefused` when none came in time.
pub(crate) async fn connect_within(
    runtime_dir: &Path,
    patience: Duration,
    starters: Option<&Starters>,
) -> io::Result<UnixStream> {
    let first = connect(runtime_dir);
    match first {
        Err(error) if patience > Duration::ZERO && is_absence(&error) => {
            let back = async {
                match starters {
                    Some(starters) => appear_from(runtime_dir, starters).await,
                    None => appear(runtime_dir).await,
                }
            };
            let waited = tokio::time::timeout(patience, back).await;
            waited.unwrap_or(Err(error))
        }
        first => first,
    }
}

/// Connects as soon as a socket listens, for as long as somebody is there who could make that come true.
async fn appear_from(runtime_dir: &Path, starters: &Starters) -> io::Result<UnixStream> {
    while let Some(starter) = starters.find() {
        tokio::select! {
            met = appear(runtime_dir) => return met,
            () = starter.gone() => {}
        }
    }
    // One may have come and lost its keeper before we looked for him.
    connect(runtime_dir)
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
    let watch = Watch::new(runtime_dir)?;
    loop {
        match connect(runtime_dir) {
            Err(error) if is_absence(&error) => {}
            settled => return settled,
        }
        watch.news().await?;
    }
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

    /// Far longer than anything takes; a test that needs it has failed.
    const LONG: Duration = Duration::from_secs(600);

    fn starters(dir: &Path) -> Starters {
        Starters {
            keeper: dir.join("keeper.sock"),
            turn: dir.join("turn"),
        }
    }

    #[test]
    fn without_patience_absence_is_told_at_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let absent = run(connect_within(dir.path(), Duration::ZERO, None));
        let error = absent.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn without_anybody_who_could_start_one_absence_is_told_at_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let starters = starters(dir.path());
        // What the dead leave: sockets that nobody listens on, a lock that nobody holds.
        for name in ["keeper.sock", CONTROL_SOCKET] {
            drop(socket::listen(dir.path(), name).expect("listens"));
        }
        File::create(&starters.turn).expect("a file");
        let absent = run(connect_within(dir.path(), LONG, Some(&starters)));
        let error = absent.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn one_that_a_keeper_or_a_turn_brings_is_met() {
        for kept in [true, false] {
            let dir = tempfile::tempdir().expect("temporary directory");
            let starters = starters(dir.path());
            let turn = File::create(&starters.turn).expect("a file");
            let keeper = kept.then(|| socket::listen(dir.path(), "keeper.sock").expect("listens"));
            if !kept {
                turn.lock().expect("nobody else has it");
            }
            run(async {
                let client = connect_within(dir.path(), LONG, Some(&starters));
                let server = async {
                    tokio::task::yield_now().await;
                    socket::listen(dir.path(), CONTROL_SOCKET)
                };
                let (client, server) = tokio::join!(client, server);
                server.expect("listens");
                client.expect("connects");
            });
            drop((keeper, turn));
        }
    }

    #[test]
    fn a_socket_that_appears_is_met() {
        let dir = tempfile::tempdir().expect("temporary directory");
        run(async {
            let client = connect_within(dir.path(), LONG, None);
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
