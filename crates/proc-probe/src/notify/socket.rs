//! The receiving end of `NOTIFY_SOCKET`: a Unix datagram socket that learns from the kernel who
//! sent each message.

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use proc_core::Readiness;
use rustix::fs::{Mode, chmod};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SocketAddrUnix, SocketFlags, SocketType, bind, recvmsg, socket_with, sockopt,
};
use thiserror::Error;

use crate::notify::message::Message;

/// The longest datagram that is taken; longer ones are dropped whole.
const MAX_DATAGRAM: usize = 16 * 1024;
/// The most descriptors the kernel passes with one message.
const MAX_FDS: usize = 253;
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
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .map_err(|errno| wrap(errno.into()))?;
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

fn bound(address: &SocketAddrUnix) -> io::Result<Readiness> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    // Before bind: no message may arrive without its credentials.
    sockopt::set_socket_passcred(&socket, true)?;
    bind(&socket, address)?;
    Readiness::new(socket)
}

/// Takes one datagram; `None` is one without credentials or longer than allowed.
fn receive_now(socket: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    let mut bytes = [0; MAX_DATAGRAM];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut slices, &mut control, flags)?;
    let mut fds = Vec::new();
    let mut sender = None;
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(passed) => fds.extend(passed),
            RecvAncillaryMessage::ScmCredentials(who) => sender = Some(who),
            _ => {}
        }
    }
    let Some(sender) = sender.filter(|_| !received.flags.contains(ReturnFlags::TRUNC)) else {
        return Ok(None);
    };
    Ok(Some(Notification {
        pid: sender.pid.as_raw_nonzero().get().unsigned_abs(),
        uid: sender.uid.as_raw(),
        message: Message::parse(&bytes[..received.bytes]),
        fds,
    }))
}

/// FNV-1a: stable over builds, which the standard hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
