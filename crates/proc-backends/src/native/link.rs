//! One connection to a shim, driven by the runtime.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use proc_core::{Child, ProcessHandle};
use proc_shim::{
    Channel, Incoming, Notice, Received, Reply, Request, encode_request, next_incoming,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::command::Pending;

/// A shim and what was asked of it.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    channel: Channel,
    pending: HashMap<u32, Pending>,
    last_id: u32,
    /// Since when somebody waits and nothing was heard.
    waiting: Option<Instant>,
    /// The shim as our child, to be reaped; `None` for one that an earlier supervisor started.
    child: Option<Child>,
    /// The shim itself.
    pub(super) shim: Option<ProcessHandle>,
}

/// Something that arrived.
#[derive(Debug)]
pub(super) enum Arrived {
    /// An answer, with who waits for it and the descriptors that came along.
    Reply(Pending, Reply, Vec<OwnedFd>),
    /// Something unasked.
    Notice(Notice),
}

impl Link {
    pub(super) fn new(socket: OwnedFd, child: Option<Child>) -> io::Result<Self> {
        let stream = StdStream::from(socket);
        stream.set_nonblocking(true)?;
        let shim = child
            .as_ref()
            .and_then(|child| child.handle().try_clone().ok());
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            channel: Channel::new(),
            pending: HashMap::new(),
            last_id: 0,
            waiting: None,
            child,
            shim,
        })
    }

    /// Sends a request. What cannot be sent shows as the loss of the connection.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        fds: Vec<OwnedFd>,
        pending: Pending,
    ) -> io::Result<()> {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.channel
            .queue(&encode_request(self.last_id, request), fds)?;
        self.pending.insert(self.last_id, pending);
        self.waiting.get_or_insert_with(Instant::now);
        // An error here is the end of the connection, and reading will say so after what the
        // shim had to say.
        let _read_tells = self.channel.flush(self.stream.as_fd());
        Ok(())
    }

    /// Returns since when somebody waits and nothing was heard.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting
    }

    /// Begins to wait anew, if anybody waits.
    pub(super) fn wait_anew(&mut self) {
        self.waiting = (!self.pending.is_empty()).then(Instant::now);
    }

    /// Waits for the next message; `None` when the shim is gone. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        loop {
            match next_incoming(&mut self.channel) {
                Ok(Some((Incoming::Notice(notice), _))) => {
                    self.wait_anew();
                    return Some(Arrived::Notice(notice));
                }
                Ok(Some((Incoming::Reply(id, reply), fds))) => {
                    if let Some(pending) = self.pending.remove(&id) {
                        self.wait_anew();
                        return Some(Arrived::Reply(pending, reply, fds));
                    }
                    continue;
                }
                Ok(None) => {}
                Err(_) => return None,
            }
            let mut interest = Interest::READABLE;
            if self.channel.wants_write() {
                interest = interest.add(Interest::WRITABLE);
            }
            let ready = self.stream.ready(interest).await.ok()?;
            let fd = self.stream.as_fd();
            if ready.is_writable() && self.channel.wants_write() {
                let channel = &mut self.channel;
                let sent = self.stream.try_io(Interest::WRITABLE, || {
                    channel.flush(fd)?;
                    if channel.wants_write() {
                        Err(io::ErrorKind::WouldBlock.into())
                    } else {
                        Ok(())
                    }
                });
                if sent.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
                    && !ready.is_readable()
                {
                    return None;
                }
            }
            if ready.is_readable() {
                let channel = &mut self.channel;
                let received =
                    self.stream
                        .try_io(Interest::READABLE, || match channel.receive(fd)? {
                            Received::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                            other => Ok(other),
                        });
                match received {
                    Ok(Received::Closed) => return None,
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return None,
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }

    /// Takes the connection apart: who still waits, and the shim.
    pub(super) fn into_parts(self) -> (Vec<Pending>, Option<Child>, Option<ProcessHandle>) {
        (self.pending.into_values().collect(), self.child, self.shim)
    }
}
