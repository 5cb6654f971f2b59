//! Starting and talking to a shim, without a runtime.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proc_core::{Child, Spawn, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::channel::{Channel, Received};
use crate::codec::{decode_incoming, encode_request};
use crate::message::{Incoming, Notice, Reply, Request};
use crate::program::ShimProgram;
use crate::socket::connect_to;
use crate::wire::DecodeError;

/// Under which number a shim finds its first control connection.
pub(crate) const CONTROL_FD: i32 = 3;
/// The id of the first request on a connection, the greeting: a shim that cannot begin answers it.
pub const FIRST_ID: u32 = 1;

/// Where a shim keeps what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchOptions {
    /// The instance's name.
    pub instance: String,
    /// Its directory for records; created when missing. Absolute.
    pub dir: PathBuf,
    /// The socket for later supervisors; its directory must exist. Absolute.
    pub socket: PathBuf,
    /// The directory of the logs, unless a service's options name another. Absolute.
    pub log_dir: PathBuf,
    /// Whether the shim stays in the caller's session, so that its service can use the terminal.
    pub keep_session: bool,
    /// The caller's own directory, with all of the above in it, where nobody comes after the caller: a shim that has
    /// lost it ends with its run, and removes the directory. Absolute.
    pub scratch: Option<PathBuf>,
}

/// A shim that was just started.
#[derive(Debug)]
pub struct ShimProcess {
    /// The shim; reap it when it ends.
    pub child: Child,
    /// The control connection, open from the first moment, not yet greeted.
    pub socket: OwnedFd,
}

impl ShimProcess {
    /// Starts a shim. It is not known to work until it answered [`Request::Hello`].
    ///
    /// # Errors
    /// When the program cannot be executed or descriptors run out.
    pub fn launch(program: &ShimProgram, options: &LaunchOptions) -> io::Result<Self> {
        let (ours, theirs) = crate::sys::socket_pair()?;
        let mut args = program.args.clone();
        args.extend(arguments(options));
        let child = Spawn::new(&program.program)
            .args(args)
            .env_clear()
            .cwd("/")
            .group(false)
            .stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::Null)
            .fds(vec![(theirs, CONTROL_FD)])
            .spawn()
            .map_err(io::Error::other)?;
        Ok(Self {
            child,
            socket: ours,
        })
    }
}

fn arguments(options: &LaunchOptions) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["serve".into(), "--instance".into()];
    args.push(options.instance.clone().into());
    for (flag, path) in [
        ("--dir", &options.dir),
        ("--socket", &options.socket),
        ("--log", &options.log_dir),
    ] {
        args.push(flag.into());
        args.push(path.clone().into());
    }
    if options.keep_session {
        args.push("--keep-session".into());
    }
    if let Some(scratch) = &options.scratch {
        args.extend(["--scratch".into(), scratch.clone().into()]);
    }
    args
}

/// Reads what a shim sent from a channel. Of the descriptors of an answer the last are missing where this process had none
/// left for them.
///
/// # Errors
/// `InvalidData` when the stream makes no sense.
pub fn next_incoming(channel: &mut Channel) -> io::Result<Option<(Incoming, Vec<OwnedFd>)>> {
    while let Some(frame) = channel.next_frame()? {
        let incoming = match decode_incoming(&frame) {
            Ok(incoming) => incoming,
            // A notice that a newer shim knows: not for us.
            Err(DecodeError::UnknownKind(_)) if frame.id == 0 => continue,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        let fds = match &incoming {
            Incoming::Reply(_, Reply::Started { fds, .. } | Reply::Fds(fds)) => {
                channel.take_fds_that_fitted(fds.count())?
            }
            _ => Vec::new(),
        };
        return Ok(Some((incoming, fds)));
    }
    Ok(None)
}

/// A blocking client: one request at a time, notices in between are kept.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    channel: Channel,
    notices: VecDeque<Notice>,
    last_id: u32,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Client {
    /// Talks over an open connection; the first request has to be [`Request::Hello`].
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            channel: Channel::new(),
            notices: VecDeque::new(),
            last_id: 0,
        }
    }

    /// Connects to the socket of a shim.
    ///
    /// # Errors
    /// As [`connect_to`].
    pub fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self::new(connect_to(path)?))
    }

    /// Asks and waits for the answer, at most `timeout` (`None`: for ever).
    ///
    /// # Errors
    /// `TimedOut`, `UnexpectedEof` when the shim is gone, `InvalidData` when it talks nonsense.
    pub fn call(
        &mut self,
        request: &Request,
        fds: Vec<OwnedFd>,
        timeout: Option<Duration>,
    ) -> io::Result<(Reply, Vec<OwnedFd>)> {
        let id = self.send(request, fds)?;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            while let Some((incoming, fds)) = next_incoming(&mut self.channel)? {
                match incoming {
                    Incoming::Reply(of, reply) if of == id => return Ok((reply, fds)),
                    // The answer to a request whose caller gave up.
                    Incoming::Reply(..) => {}
                    Incoming::Notice(notice) => self.notices.push_back(notice),
                }
            }
            self.transfer(deadline)?;
        }
    }

    /// Sends a request without waiting for its answer; returns its id.
    ///
    /// # Errors
    /// As [`Channel::queue`] and [`Channel::flush`].
    pub fn send(&mut self, request: &Request, fds: Vec<OwnedFd>) -> io::Result<u32> {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.channel
            .queue(&encode_request(self.last_id, request), fds)?;
        self.channel.flush(&self.socket)?;
        Ok(self.last_id)
    }

    /// Waits for the next notice, at most `timeout` (`None`: for ever). Answers are thrown away.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn notice(&mut self, timeout: Option<Duration>) -> io::Result<Notice> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Ok(notice);
            }
            while let Some((incoming, _)) = next_incoming(&mut self.channel)? {
                if let Incoming::Notice(notice) = incoming {
                    self.notices.push_back(notice);
                }
            }
            if self.notices.is_empty() {
                self.transfer(deadline)?;
            }
        }
    }

    /// Waits until the socket can be used, and uses it.
    fn transfer(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let mut flags = PollFlags::IN;
        if self.channel.wants_write() {
            flags |= PollFlags::OUT;
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(&self.socket, flags)];
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.channel.flush(&self.socket)?;
        match self.channel.receive(&self.socket)? {
            Received::Closed => Err(io::ErrorKind::UnexpectedEof.into()),
            Received::Some | Received::Nothing => Ok(()),
        }
    }
}
