//! What stands for the file system behind pidfds: numbers that are never used twice. There are no file handles.

use std::convert::Infallible;
use std::io;

use super::pidfd::Pidfd;

/// A file handle of a process, of which there is none here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileHandle(Infallible);

impl FileHandle {
    /// There is nothing to write.
    pub(crate) const fn to_hex(&self) -> String {
        match self.0 {}
    }

    /// There is nothing to read: a record that has one was made elsewhere.
    pub(crate) const fn from_hex(_text: &str) -> Option<Self> {
        None
    }
}

/// Returns the kernel's unique number, which is never used twice until the next boot.
pub(crate) const fn inode(fd: &Pidfd) -> Option<u64> {
    Some(fd.unique())
}

/// Of what is opened by a handle, which nothing is.
pub(crate) const fn inode_of_opened(fd: &Pidfd) -> Option<u64> {
    inode(fd)
}

/// There is none.
pub(crate) const fn handle(_fd: &Pidfd) -> Option<FileHandle> {
    None
}

/// There is nothing to open.
pub(crate) const fn open(handle: &FileHandle) -> io::Result<Pidfd> {
    match handle.0 {}
}
