//! Credentials with every datagram (`SO_PASSCRED`), and names without a file.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use proc_core::Readiness;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SocketAddrUnix, SocketFlags, SocketType, bind, recvmsg, socket_with, sockopt,
};

use crate::notify::message::Message;
use crate::notify::socket::Notification;

/// The longest datagram that is taken; longer ones are dropped whole.
const MAX_DATAGRAM: usize = 16 * 1024;
/// The most descriptors the kernel passes with one message.
const MAX_FDS: usize = 253;
/// Returns an address in the abstract namespace.
pub(in crate::notify) fn abstract_address(name: &str) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
}

/// Makes a bound socket.
pub(in crate::notify) fn bound(address: &SocketAddrUnix) -> io::Result<Readiness> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    // Before bind: no message may arrive without its credentials.
    sockopt::set_socket_passcred(&socket, true)?;
    bind(&socket, address)?;
    Readiness::new(socket)
}

/// Takes one datagram; `None` is one without credentials or longer than allowed.
pub(in crate::notify) fn receive_now(socket: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
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
