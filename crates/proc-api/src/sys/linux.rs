//! `/proc/self/fd` and inotify(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use proc_core::Readiness;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Longest path that fits into a socket address, in bytes.
const LONGEST_ADDRESS: usize = 107;

/// Opens a directory to name what is in it.
pub(crate) fn open_directory(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, dir, flags, Mode::empty())?)
}

/// Calls with a path of `dir/name` that fits into a socket address; `handle` is the directory.
pub(crate) fn with_address<T>(
    handle: &OwnedFd,
    dir: &Path,
    name: &str,
    call: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let plain = dir.join(name);
    if plain.as_os_str().len() <= LONGEST_ADDRESS {
        return call(&plain);
    }
    let short = format!("/proc/self/fd/{}/{name}", handle.as_raw_fd());
    call(&PathBuf::from(short))
}

/// Returns a socket that is not connected, and waits for nobody.
pub(crate) fn unconnected() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    Ok(rustix::net::socket_with(family, kind, flags, None)?)
}

/// Tells when something appears in a directory.
#[derive(Debug)]
pub(crate) struct Watch(Readiness);

impl Watch {
    /// Begins to watch. Must be called within a tokio runtime.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, dir, WatchFlags::MOVED_TO | WatchFlags::CREATE)?;
        Ok(Self(Readiness::new(watch)?))
    }

    /// Waits until something has appeared.
    pub(crate) async fn news(&self) -> io::Result<()> {
        self.0.read_with(announcement).await
    }
}

/// Reads one announcement; only that something happened matters.
fn announcement(watch: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    inotify::Reader::new(watch, &mut buffer).next()?;
    Ok(())
}
