//! kqueue(2) of the directory and of the file that is written to.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

/// A descriptor that is readable when something was made in a directory or written to its live file.
///
/// The kernel ends a watch when the descriptor that it names is closed.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: Kqueue,
    _directory: File,
    live: Option<File>,
}

impl Watch {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        let directory = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_EVTONLY | libc::O_DIRECTORY)
            .open(directory)?;
        let queue = Kqueue::new()?;
        rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
        add(&queue, &directory)?;
        Ok(Self {
            queue,
            _directory: directory,
            live: None,
        })
    }

    /// Names the file that is written to now. What was written to it before has to be read after this.
    pub(crate) fn set_live(&mut self, live: Option<&File>) -> io::Result<()> {
        self.live = live.map(File::try_clone).transpose()?;
        self.live.iter().try_for_each(|live| add(&self.queue, live))
    }

    /// Takes all events; what they say does not matter.
    pub(crate) fn drain(&self) -> io::Result<()> {
        let mut room = [event(0, EvFlags::empty())?; 8];
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        loop {
            match self.queue.kevent(&[], &mut room, Some(at_once)) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn add(queue: &Kqueue, file: &File) -> io::Result<()> {
    let change = event(file.as_raw_fd(), EvFlags::EV_ADD | EvFlags::EV_CLEAR)?;
    queue.kevent(&[change], &mut [], None)?;
    Ok(())
}

fn event(fd: i32, flags: EvFlags) -> io::Result<KEvent> {
    let fd = usize::try_from(fd).map_err(io::Error::other)?;
    let what = FilterFlag::NOTE_WRITE | FilterFlag::NOTE_EXTEND;
    Ok(KEvent::new(
        fd,
        EventFilter::EVFILT_VNODE,
        flags,
        what,
        0,
        0,
    ))
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}
