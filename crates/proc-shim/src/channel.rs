//! One end of a control connection: frames and descriptors over a Unix socket.
//!
//! The socket itself belongs to the caller, so that a poll loop and a runtime can both drive it.
//! Nothing here blocks, whatever the socket's mode is.
//!
//! Descriptors are attached to the first byte of their frame, so they have arrived by the time
//! the frame is complete; the frame says how many are its own.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage,
};

use crate::frame::{Frame, Framer};
use crate::sys;

/// The most descriptors in one frame.
pub(crate) const MAX_FDS: usize = 80;
/// The most bytes that wait for a peer who does not read.
const MAX_QUEUED: usize = 4 * 1024 * 1024;

/// What [`Channel::receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Something arrived, perhaps not a whole frame.
    Some,
    /// Nothing is there now.
    Nothing,
    /// The peer is gone.
    Closed,
}

/// The buffers of one connection.
#[derive(Debug, Default)]
pub struct Channel {
    framer: Framer,
    arrived: VecDeque<Arrived>,
    outgoing: VecDeque<Outgoing>,
    queued: usize,
}

/// The descriptors of one frame. The kernel ends a read after those of one message, so they never mix.
#[derive(Debug, Default)]
struct Arrived {
    fds: Vec<OwnedFd>,
    /// Whether the last were lost, because this process had no number left for them.
    cut_off: bool,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Channel {
    /// Returns a channel that has sent and received nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues a frame with its descriptors, to be sent by [`flush`](Self::flush).
    ///
    /// # Errors
    /// `OutOfMemory` when the peer has not read 4 MiB, `InvalidData` for a frame over the limit.
    pub fn queue(&mut self, frame: &Frame, fds: Vec<OwnedFd>) -> io::Result<()> {
        let bytes = frame
            .encode()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if self.queued + bytes.len() > MAX_QUEUED || fds.len() > MAX_FDS {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.queued += bytes.len();
        self.outgoing.push_back(Outgoing {
            bytes,
            sent: 0,
            fds,
        });
        Ok(())
    }

    /// Sends what the socket takes now; [`wants_write`](Self::wants_write) says whether all went.
    ///
    /// # Errors
    /// The socket's; `BrokenPipe` when the peer is gone.
    pub fn flush(&mut self, socket: impl AsFd) -> io::Result<()> {
        while let Some(next) = self.outgoing.front_mut() {
            let sent = match send_some(socket.as_fd(), &next.bytes[next.sent..], &next.fds) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            next.fds.clear();
            next.sent += sent;
            self.queued -= sent;
            if next.sent == next.bytes.len() {
                self.outgoing.pop_front();
            }
        }
        Ok(())
    }

    /// Returns whether bytes wait for the socket to become writable.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Reads once.
    ///
    /// # Errors
    /// The socket's, except that a reset peer is [`Received::Closed`].
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<Received> {
        let mut bytes = [0_u8; 4 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let (read, cut_off) = loop {
            let mut slices = [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&socket, &mut slices, &mut ancillary, sys::RECEIVE) {
                Ok(message) => {
                    break (message.bytes, message.flags.contains(ReturnFlags::CTRUNC));
                }
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Received::Closed),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                fds.extend(some.map(sys::arrived));
            }
        }
        if cut_off || !fds.is_empty() {
            self.arrived.push_back(Arrived { fds, cut_off });
        }
        // One that lost all of its descriptors counts too, or a peer could send such without end.
        let waiting = self.arrived.iter().map(|one| one.fds.len().max(1));
        if waiting.sum::<usize>() > 2 * MAX_FDS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "too many descriptors",
            ));
        }
        if read == 0 {
            return Ok(Received::Closed);
        }
        self.framer.push(&bytes[..read]);
        Ok(Received::Some)
    }

    /// Returns the next whole frame that was received.
    ///
    /// # Errors
    /// `InvalidData` when the stream makes no sense; the connection is of no use then.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        self.framer
            .take()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Returns the `count` descriptors of a frame; those of every frame have to be taken, in order.
    ///
    /// # Errors
    /// `InvalidData` when fewer came.
    pub fn take_fds(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        self.take(count, false)
    }

    /// Returns the first of the `count` descriptors of a frame: fewer than that where we had none left to receive them in,
    /// which the kernel says, and nobody else's fault.
    ///
    /// # Errors
    /// `InvalidData` when fewer came without that reason.
    pub fn take_fds_that_fitted(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        self.take(count, true)
    }

    fn take(&mut self, count: usize, that_fitted: bool) -> io::Result<Vec<OwnedFd>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let Arrived { mut fds, cut_off } = self.arrived.pop_front().unwrap_or_default();
        if fds.len() < count && !(cut_off && that_fitted) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "descriptors are missing",
            ));
        }
        // More than the frame says are nobody's.
        fds.truncate(count);
        Ok(fds)
    }
}

fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> Result<usize, Errno> {
    let slices = [IoSlice::new(bytes)];
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::NOMEM);
    }
    rustix::net::sendmsg(socket, &slices, &mut ancillary, sys::SEND)
}
