//! A symbolic link of a moment, and kqueue(2).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use proc_core::Readiness;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketType};

/// Longest path that fits into a socket address, in bytes.
const LONGEST_ADDRESS: usize = 103;

/// Opens a directory to name what is in it.
pub(crate) fn open_directory(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, dir, flags, Mode::empty())?)
}

/// Calls with a path of `dir/name` that fits into a socket address: through a link in `/tmp` where it is too long.
pub(crate) fn with_address<T>(
    _handle: &OwnedFd,
    dir: &Path,
    name: &str,
    call: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let plain = dir.join(name);
    if plain.as_os_str().len() <= LONGEST_ADDRESS {
        return call(&plain);
    }
    let link = Link::to(&std::path::absolute(dir)?)?;
    call(&link.0.join(name))
}

/// A short name of a directory. Whoever is killed meanwhile leaves a dead link in `/tmp`.
struct Link(PathBuf);

impl Link {
    fn to(directory: &Path) -> io::Result<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let link = PathBuf::from(format!("/tmp/.proc-api-{}-{number}", std::process::id()));
            // `/tmp` is sticky: nobody else can take the link away or put another in its place.
            match std::os::unix::fs::symlink(directory, &link) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(link)),
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _dead_anyway = std::fs::remove_file(&self.0);
    }
}

/// Returns a socket that is not connected, and waits for nobody.
pub(crate) fn unconnected() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Tells when something appears in a directory, or is removed.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: Kqueue,
    ready: Readiness,
    /// Closing it would end the watch.
    _directory: File,
}

impl Watch {
    /// Begins to watch. Must be called within a tokio runtime.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let directory = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_EVTONLY | libc::O_DIRECTORY)
            .open(dir)?;
        let queue = Kqueue::new()?;
        rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
        let change = event(directory.as_raw_fd(), EvFlags::EV_ADD | EvFlags::EV_CLEAR)?;
        queue.kevent(&[change], &mut [], None)?;
        Ok(Self {
            ready: Readiness::new(queue.as_fd().try_clone_to_owned()?)?,
            queue,
            _directory: directory,
        })
    }

    /// Waits until something has appeared, or perhaps only gone.
    pub(crate) async fn news(&self) -> io::Result<()> {
        self.ready.read_with(|_| take(&self.queue)).await
    }
}

fn event(fd: i32, flags: EvFlags) -> io::Result<KEvent> {
    let fd = usize::try_from(fd).map_err(io::Error::other)?;
    let (filter, what) = (EventFilter::EVFILT_VNODE, FilterFlag::NOTE_WRITE);
    Ok(KEvent::new(fd, filter, flags, what, 0, 0))
}

/// Takes one event; `WouldBlock` when there is none.
fn take(queue: &Kqueue) -> io::Result<()> {
    let mut room = [event(0, EvFlags::empty())?];
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match queue.kevent(&[], &mut room, Some(at_once)) {
        Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
        // One that was interrupted is as good as news: the caller looks once more.
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
