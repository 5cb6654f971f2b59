//! The receiving end of `NOTIFY_SOCKET`: a Unix datagram socket that learns from the kernel who
//! sent each message.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use proc_core::Readiness;
use rustix::fs::{Mode, chmod};
use rustix::net::SocketAddrUnix;
use thiserror::Error;

use crate::notify::message::Message;
use crate::notify::sys::{abstract_address, bound, receive_now};

/// The longest path of a Unix socket.
const MAX_PATH: usize = 107;

/// A notification socket could not be made.
#[derive(Debug, Error)]
#[error("cannot listen for notifications on `{}`", path.display())]
pub struct NotifyError {
    /// Where it was to be.
    pub path: PathBuf,
    /// What failed.
    #[source]
    pub source: io::Error,
}

/// One message and its sender, as the kernel knows it.
///
/// Dropping it closes the descriptors that came along and were not taken: for a
/// [`Message::barrier`] that is the answer the sender waits for, so handle the message first.
#[derive(Debug)]
pub struct Notification {
    /// The sender's pid, seen from here.
    pub pid: u32,
    /// The sender's user id.
    pub uid: u32,
    /// What it said.
    pub message: Message,
    /// The descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// A bound notification socket.
#[derive(Debug)]
pub struct NotifySocket {
    socket: Readiness,
    path: Option<PathBuf>,
    variable: OsString,
}

impl NotifySocket {
    /// Binds a socket at `path`, replacing a socket that was left there; everybody who can reach
    /// the directory may send, since each message is judged by its sender.
    ///
    /// A path that is too long for a Unix socket becomes an abstract name derived from it, always
    /// the same one, so that a service finds it again when the receiver is replaced. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// Returns what the system said when the socket cannot be made or bound.
    pub fn bind(path: &Path) -> Result<Self, NotifyError> {
        let wrap = |source| NotifyError {
            path: path.to_owned(),
            source,
        };
        if path.as_os_str().len() > MAX_PATH {
            return Self::bind_abstract(path);
        }
        let stale = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if stale {
            std::fs::remove_file(path).map_err(wrap)?;
        }
        let address = SocketAddrUnix::new(path).map_err(|errno| wrap(errno.into()))?;
        let socket = bound(&address).map_err(wrap)?;
        let everybody = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        chmod(path, everybody).map_err(|errno| wrap(errno.into()))?;
        let variable = path.as_os_str().to_owned();
        Ok(NotifySocket {
            socket,
            path: Some(path.to_owned()),
            variable,
        })
    }

    /// Binds a socket in the abstract namespace under a name derived from `key`: for services
    /// whose user cannot reach our directories. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Returns what the system said; `AddrInUse` when another receiver has the same key.
    pub fn bind_abstract(key: &Path) -> Result<Self, NotifyError> {
        let wrap = |source| NotifyError {
            path: key.to_owned(),
            source,
        };
        let name = format!("proc-notify-{:016x}", fnv1a(key.as_os_str().as_bytes()));
        let address = abstract_address(&name).map_err(wrap)?;
        let socket = bound(&address).map_err(wrap)?;
        Ok(NotifySocket {
            socket,
            path: None,
            variable: OsString::from(format!("@{name}")),
        })
    }

    /// Returns the value for `NOTIFY_SOCKET`.
    #[must_use]
    pub fn variable(&self) -> &OsString {
        &self.variable
    }

    /// Waits for the next message of a sender that `accept` takes by its pid; others, and
    /// messages too long to be meant, are dropped with their descriptors.
    ///
    /// Cancel safe: a message is either returned or still in the socket.
    ///
    /// # Errors
    /// Returns what the system said when receiving fails.
    pub async fn receive(&self, mut accept: impl FnMut(u32) -> bool) -> io::Result<Notification> {
        loop {
            match self.socket.read_with(receive_now).await {
                Ok(Some(notification)) if accept(notification.pid) => return Ok(notification),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl NotifySocket {
    /// Takes the next message of a sender that `accept` takes, if one has come already.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_now(
        &self,
        mut accept: impl FnMut(u32) -> bool,
    ) -> io::Result<Option<Notification>> {
        loop {
            match receive_now(self.socket.as_fd()) {
                Ok(Some(notification)) if accept(notification.pid) => {
                    return Ok(Some(notification));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Gone already is as good as removed.
            let _ignored = std::fs::remove_file(path);
        }
    }
}

/// FNV-1a: stable over builds, which the standard hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
