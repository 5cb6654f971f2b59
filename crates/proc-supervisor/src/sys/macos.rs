//! kqueue(2) of directories and of the files in them; what this system has not, it says.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use proc_core::{ProcessHandle, Readiness};

use crate::changes::Change;

/// The directories that are watched.
///
/// Each costs a descriptor, and so does each regular file in it: of a directory the kernel says only that its entries
/// changed. Closing a descriptor ends its watch.
#[derive(Debug)]
pub(crate) struct Changes {
    queue: Kqueue,
    ready: Readiness,
    directories: BTreeMap<i32, Directory>,
    /// Which directory the watch of a file belongs to, and under which name.
    files: HashMap<i32, (i32, OsString)>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    inode: u64,
    entries: HashMap<OsString, Entry>,
    _held: File,
}

#[derive(Debug)]
struct Entry {
    inode: u64,
    /// A regular file that may be opened.
    held: Option<File>,
}

impl Changes {
    /// Watches nothing yet. Must be called within a tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let queue = Kqueue::new()?;
        rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
        let ready = Readiness::new(queue.as_fd().try_clone_to_owned()?)?;
        Ok(Self {
            queue,
            ready,
            directories: BTreeMap::new(),
            files: HashMap::new(),
        })
    }

    /// Watches the entries of one directory; again is no harm.
    pub(crate) fn add(&mut self, directory: &Path) -> io::Result<()> {
        let held = open(directory, libc::O_DIRECTORY)?;
        let inode = held.metadata()?.ino();
        let is_known = |known: &Directory| known.path == directory && known.inode == inode;
        if self.directories.values().any(is_known) {
            return Ok(());
        }
        // Another of this name is gone, told or not.
        self.directories.retain(|_, known| known.path != directory);
        let directories = &self.directories;
        self.files.retain(|_, (of, _)| directories.contains_key(of));
        let id = held.as_raw_fd();
        watch(&self.queue, &held)?;
        let watched = Directory {
            path: directory.to_owned(),
            inode,
            entries: HashMap::new(),
            _held: held,
        };
        self.directories.insert(id, watched);
        // What is there now is no change.
        self.look(id, &mut Vec::new())
    }

    /// Returns how many directories are watched.
    pub(crate) fn len(&self) -> usize {
        self.directories.len()
    }

    /// Waits until something happens. Cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        while changes.is_empty() {
            let told = self.ready.read_with(|_| take(&self.queue)).await?;
            for id in told {
                self.look(id, &mut changes)?;
            }
        }
        Ok(changes)
    }

    /// Finds out what has changed about a file or a directory that was told of.
    fn look(&mut self, id: i32, changes: &mut Vec<Change>) -> io::Result<()> {
        if let Some((directory, name)) = self.files.get(&id) {
            if let Some(directory) = self.directories.get(directory) {
                changes.push(Change::Entry {
                    path: directory.path.join(name),
                    new_directory: false,
                });
            }
            return Ok(());
        }
        let Some(directory) = self.directories.get_mut(&id) else {
            return Ok(());
        };
        let Some(now) = entries_of(&directory.path)? else {
            let gone = self.directories.remove(&id);
            for (name, entry) in gone.iter().flat_map(|directory| &directory.entries) {
                forget(&mut self.files, entry);
                changes.extend(gone.as_ref().map(|gone| changed(&gone.path, name, false)));
            }
            return Ok(());
        };
        let path = &directory.path;
        directory.entries.retain(|name, entry| {
            let stays = now
                .get(name)
                .is_some_and(|(inode, _)| *inode == entry.inode);
            if !stays {
                forget(&mut self.files, entry);
                // One that was replaced is told as new below.
                if !now.contains_key(name) {
                    changes.push(changed(path, name, false));
                }
            }
            stays
        });
        for (name, (inode, kind)) in now {
            if directory.entries.contains_key(&name) {
                continue;
            }
            changes.push(changed(path, &name, kind.is_dir()));
            let held = match open(&path.join(&name), libc::O_NOFOLLOW) {
                _ if !kind.is_file() => None,
                Ok(file) => {
                    watch(&self.queue, &file)?;
                    self.files.insert(file.as_raw_fd(), (id, name.clone()));
                    Some(file)
                }
                // Gone again, or not ours to open: what is written to it is not told.
                Err(error) if is_its_own(&error) => None,
                Err(error) => return Err(too_many(&error)),
            };
            directory.entries.insert(name, Entry { inode, held });
        }
        Ok(())
    }
}

fn changed(directory: &Path, name: &OsString, new_directory: bool) -> Change {
    Change::Entry {
        path: directory.join(name),
        new_directory,
    }
}

fn forget(files: &mut HashMap<i32, (i32, OsString)>, entry: &Entry) {
    if let Some(file) = &entry.held {
        files.remove(&file.as_raw_fd());
    }
}

fn is_its_own(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | PermissionDenied) || error.raw_os_error() == Some(libc::ELOOP)
}

fn too_many(error: &io::Error) -> io::Error {
    let text =
        format!("{error}: each watched file takes a descriptor; leave some out with `ignore`");
    io::Error::new(error.kind(), text)
}

/// Opens for being told of changes alone, which keeps no volume from being unmounted.
fn open(path: &Path, more: i32) -> io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EVTONLY | libc::O_NONBLOCK | more)
        .open(path)
}

fn watch(queue: &Kqueue, file: &File) -> io::Result<()> {
    let change = KEvent::new(
        usize::try_from(file.as_raw_fd()).map_err(io::Error::other)?,
        EventFilter::EVFILT_VNODE,
        EvFlags::EV_ADD | EvFlags::EV_CLEAR,
        FilterFlag::NOTE_WRITE | FilterFlag::NOTE_EXTEND | FilterFlag::NOTE_DELETE,
        0,
        0,
    );
    queue.kevent(&[change], &mut [], None)?;
    Ok(())
}

/// Takes what was told; `WouldBlock` when there is nothing.
fn take(queue: &Kqueue) -> io::Result<Vec<i32>> {
    let none = KEvent::new(
        0,
        EventFilter::EVFILT_VNODE,
        EvFlags::empty(),
        FilterFlag::empty(),
        0,
        0,
    );
    let mut events = [none; 64];
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    loop {
        match queue.kevent(&[], &mut events, Some(at_once)) {
            Ok(0) => return Err(io::ErrorKind::WouldBlock.into()),
            Ok(taken) => {
                let ids = events[..taken].iter().map(KEvent::ident);
                return Ok(ids.filter_map(|id| i32::try_from(id).ok()).collect());
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

type Listing = HashMap<OsString, (u64, std::fs::FileType)>;

/// Returns inode and kind of a directory's entries by name; `None` once it is gone.
fn entries_of(path: &Path) -> io::Result<Option<Listing>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut listing = HashMap::new();
    for entry in entries {
        let entry = entry?;
        // One that is gone again is no entry.
        if let Ok(kind) = entry.file_type() {
            listing.insert(entry.file_name(), (entry.ino(), kind));
        }
    }
    Ok(Some(listing))
}

/// No process can take a descriptor of another: a supervisor that goes on opens its sockets anew.
pub(crate) const fn given(_process: &ProcessHandle, _number: i32) -> Option<OwnedFd> {
    None
}

/// The kernel does not say (`SO_ACCEPTCONN` is declared and not implemented).
pub(crate) const fn is_listening(_socket: &OwnedFd) -> Option<bool> {
    None
}

/// Every socket has a file.
///
/// # Errors
///
/// For a name that asks for none.
pub(crate) fn abstract_name(path: &Path) -> io::Result<Option<SocketAddr>> {
    if path.as_os_str().as_bytes().starts_with(b"@") {
        let text = "a socket without a file (`@name`) is not supported on macOS";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(None)
}
