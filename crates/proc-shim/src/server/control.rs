//! Connections and what they ask for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use proc_core::{ProcessHandle, Signal};
use rustix::event::PollFlags;

use super::Shim;
use super::stop::Asker;
use super::tree::Tree;
use crate::channel::{Channel, Received};
use crate::codec::{decode_request, encode_notice, encode_reply};
use crate::frame::{Frame, VERSION};
use crate::message::{
    Failure, FailureKind, FdSet, Notice, Output, Reply, Request, Role, Snapshot, StartSpec, Stdin,
    Target,
};
use crate::socket;

/// How many connections a shim has at most; further ones are closed.
const MAX_PEERS: usize = 8;

/// The number of the connection that a shim begins with.
const STARTER: u64 = 1;

/// One connection.
#[derive(Debug)]
struct Peer {
    number: u64,
    socket: OwnedFd,
    channel: Channel,
    role: Option<Role>,
    gone: bool,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Peers {
    list: Vec<Peer>,
    last: u64,
    /// Whether there was a supervisor since the last time there was none.
    supervised: bool,
}

impl Peers {
    pub(super) fn new(first: Option<OwnedFd>) -> io::Result<Self> {
        let mut peers = Self {
            list: Vec::new(),
            last: 0,
            supervised: first.is_some(),
        };
        if let Some(socket) = first {
            peers.add(socket);
            // Its starter is the supervisor, greeted or not: if it dies now, the shim is alone.
            peers.list[0].role = Some(Role::Controller);
        }
        Ok(peers)
    }

    fn add(&mut self, socket: OwnedFd) {
        self.last += 1;
        self.list.push(Peer {
            number: self.last,
            socket,
            channel: Channel::new(),
            role: None,
            gone: false,
        });
    }

    pub(super) fn accept(&mut self, listener: &OwnedFd) {
        while let Ok(socket) = socket::accept(listener) {
            if self.list.len() < MAX_PEERS && socket::is_ours(&socket).unwrap_or(false) {
                self.add(socket);
            }
        }
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.list.iter().map(|peer| {
            let write = if peer.channel.wants_write() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            (peer.socket.as_fd(), PollFlags::IN | write)
        })
    }

    /// Sends what waits, and closes what is gone.
    pub(super) fn flush(&mut self) {
        for peer in &mut self.list {
            if peer.channel.wants_write() && peer.channel.flush(&peer.socket).is_err() {
                peer.gone = true;
            }
        }
        self.list.retain(|peer| !peer.gone);
    }

    pub(super) fn reply(&mut self, (number, id): Asker, reply: &Reply, fds: Vec<OwnedFd>) {
        if let Some(peer) = self.list.iter_mut().find(|peer| peer.number == number)
            && peer.channel.queue(&encode_reply(id, reply), fds).is_err()
        {
            peer.gone = true;
        }
    }

    /// Tells every supervisor.
    pub(super) fn notify(&mut self, notice: &Notice) {
        let frame = encode_notice(notice);
        for peer in self
            .list
            .iter_mut()
            .filter(|peer| peer.role == Some(Role::Controller))
        {
            if peer.channel.queue(&frame, Vec::new()).is_err() {
                peer.gone = true;
            }
        }
    }

    /// Returns `true` once when the last supervisor has gone.
    pub(super) fn became_alone(&mut self) -> bool {
        let supervised = self
            .list
            .iter()
            .any(|peer| !peer.gone && peer.role == Some(Role::Controller));
        std::mem::replace(&mut self.supervised, supervised) && !supervised
    }
}

impl Shim {
    /// Reads from a peer and does what it asks.
    pub(super) fn serve_peer(&mut self, at: usize) {
        let Some(peer) = self.peers.list.get_mut(at) else {
            return;
        };
        let number = peer.number;
        match peer.channel.receive(&peer.socket) {
            Ok(Received::Some | Received::Nothing) => {}
            Ok(Received::Closed) | Err(_) => peer.gone = true,
        }
        // What arrived before the end is still carried out.
        while let Some(peer) = self.peers.list.get_mut(at) {
            match peer.channel.next_frame() {
                Ok(Some(frame)) => self.serve_frame(at, number, &frame),
                Ok(None) => break,
                Err(_) => {
                    peer.gone = true;
                    break;
                }
            }
        }
    }

    fn serve_frame(&mut self, at: usize, number: u64, frame: &Frame) {
        let asker = (number, frame.id);
        let request = match decode_request(frame) {
            Ok(request) if frame.version == VERSION => request,
            other => {
                let what = other.err().map_or_else(
                    || format!("version {} is not spoken here, {VERSION} is", frame.version),
                    |error| error.to_string(),
                );
                let failure = Failure::new(FailureKind::Malformed, &what);
                self.peers.reply(asker, &Reply::Failed(failure), Vec::new());
                // Descriptors that came with it would be taken for those of the next one.
                self.peers.list[at].gone = true;
                return;
            }
        };
        let fds = match self.peers.list[at].channel.take_fds(expected_fds(&request)) {
            Ok(fds) => fds,
            Err(_) => {
                self.peers.list[at].gone = true;
                return;
            }
        };
        if let Request::Hello { role } = request {
            self.peers.list[at].role = Some(role);
            self.peers.supervised |= role == Role::Controller;
        }
        if let Some((reply, fds)) = self.carry_out(request, fds, asker) {
            self.peers.reply(asker, &reply, fds);
        }
    }

    /// Carries a request out; `None` when the answer comes later.
    fn carry_out(
        &mut self,
        request: Request,
        fds: Vec<OwnedFd>,
        asker: Asker,
    ) -> Option<(Reply, Vec<OwnedFd>)> {
        let done = |result: Result<(), Failure>| {
            Some((
                result.map_or_else(Reply::Failed, |()| Reply::Done),
                Vec::new(),
            ))
        };
        match request {
            Request::Hello { .. } | Request::Status => {
                Some((Reply::Snapshot(Box::new(self.snapshot(asker))), Vec::new()))
            }
            Request::Start(spec) => match self.start(*spec, fds, Some(asker)) {
                Ok(()) => None,
                Err(failure) => done(Err(failure)),
            },
            Request::Signal { signal, target } => done(self.signal(signal, target)),
            Request::Stop {
                sequence,
                tier,
                group,
            } => {
                let target = self.service.target(tier, group);
                self.begin_stop(sequence, target, Some(asker));
                None
            }
            Request::StdinWrite(bytes) => match self.write_input(bytes, asker) {
                Ok(()) => None,
                Err(failure) => done(Err(failure)),
            },
            Request::StdinClose => done(self.close_input()),
            Request::RotateLog => done(
                self.streams
                    .rotate()
                    .map_err(|error| Failure::os("rotate", &error)),
            ),
            Request::HandFds => match self.hand_fds() {
                Ok((set, fds)) => Some((Reply::Fds(set), fds)),
                Err(error) => done(Err(Failure::os("descriptor", &error))),
            },
            Request::Adopt(spec) => done(self.adopt(*spec, fds)),
            Request::SetOptions {
                die_with_supervisor,
            } => {
                self.service.set_die_with_supervisor(die_with_supervisor);
                done(Ok(()))
            }
            Request::Acknowledge { run } => {
                self.service.acknowledge(run);
                done(Ok(()))
            }
            Request::Follow { run, pid } => match self.follow(run, pid) {
                Ok((reply, fds)) => Some((reply, fds)),
                Err(failure) => done(Err(failure)),
            },
            Request::Resize { rows, columns } => done(self.resize(rows, columns)),
            Request::Exit => done(self.exit()),
        }
    }

    fn exit(&mut self) -> Result<(), Failure> {
        if self.service.is_busy() {
            return Err(Failure::new(FailureKind::StillRunning, "exit"));
        }
        self.done = true;
        Ok(())
    }

    fn signal(&self, signal: Signal, target: Target) -> Result<(), Failure> {
        let nobody = || Failure::new(FailureKind::NotRunning, "signal");
        let failed = |error: proc_core::SignalError| match error {
            proc_core::SignalError::NoSuchProcess { .. } => nobody(),
            proc_core::SignalError::PermissionDenied { .. } => Failure {
                errno: libc::EPERM,
                ..Failure::new(FailureKind::Os, "signal")
            },
            proc_core::SignalError::System { source, .. } => Failure::os("signal", &source),
            other => Failure {
                value: other.to_string(),
                ..Failure::new(FailureKind::Os, "signal")
            },
        };
        let leader = self.service.handle.as_ref();
        match target {
            Target::Leader => leader.ok_or_else(nobody)?.signal(signal).map_err(failed),
            Target::Group => leader
                .ok_or_else(nobody)?
                .signal_group(signal)
                .map_err(failed),
            Target::Tree => {
                let members = self.tree().members(self.service.best_mechanism());
                let reached = members
                    .iter()
                    .filter(|m| m.handle.signal(signal).is_ok())
                    .count();
                if reached == 0 { Err(nobody()) } else { Ok(()) }
            }
        }
    }

    /// Returns what the tree is found by.
    pub(super) fn tree(&self) -> Tree<'_> {
        self.service.tree()
    }

    /// Returns everything that a supervisor asks for when it comes.
    fn snapshot(&self, asker: Asker) -> Snapshot {
        let service = &self.service;
        // Its starter knows its own child, and may wait for the first program to begin.
        let told = self.introduced || asker.0 != STARTER;
        Snapshot {
            shim: told.then(|| self.identity().cloned()).flatten(),
            instance: self.args.instance.clone(),
            last_run: service.last_run,
            running: service
                .is_running()
                .then(|| service.running.clone())
                .flatten(),
            exited: service.exited.clone(),
            acknowledged: service.acknowledged,
            tree_empty: service.tree_empty,
            replacement: service.replacement,
            cgroup: service
                .cgroup
                .as_ref()
                .map(|cgroup| cgroup.path().to_owned()),
            dropped_bytes: self.streams.dropped(),
            troubles: self.told.iter().flatten().cloned().collect(),
            respawns: service.respawns,
            terms: service.terms.clone(),
            unstored: service.unstored.clone(),
        }
    }

    /// Returns duplicates of everything that a replacement would need.
    pub(super) fn hand_fds(&self) -> io::Result<(FdSet, Vec<OwnedFd>)> {
        let process = self.service.handle.as_ref();
        let process = process.map(ProcessHandle::to_fd).transpose()?;
        let pidfd = process.is_some();
        let mut fds: Vec<OwnedFd> = process.into_iter().collect();
        let mut hand = |fd: Option<BorrowedFd<'_>>| -> io::Result<bool> {
            fds.extend(fd.map(|fd| fd.try_clone_to_owned()).transpose()?);
            Ok(fd.is_some())
        };
        let (stdout, stderr) = self.streams.current();
        let input = &self.service.input;
        let set = FdSet {
            pidfd,
            stdout: hand(stdout.map(AsFd::as_fd))?,
            stderr: hand(stderr.map(AsFd::as_fd))?,
            stdin: hand(input.fd().map(AsFd::as_fd))?,
            pty: input.is_terminal(),
        };
        Ok((set, fds))
    }

    fn write_input(&mut self, bytes: Vec<u8>, asker: Asker) -> Result<(), Failure> {
        let input = &mut self.service.input;
        if input.fd().is_none() {
            return Err(Failure::new(FailureKind::NoStdin, "stdin"));
        }
        if input.is_busy() {
            return Err(Failure::new(FailureKind::Busy, "stdin"));
        }
        input.begin(bytes, asker);
        self.feed();
        Ok(())
    }

    /// Goes on with a write to standard input.
    pub(super) fn feed(&mut self) {
        if let Some((asker, outcome)) = self.service.input.advance() {
            let reply = match outcome {
                Ok(()) => Reply::Done,
                Err(error) => Reply::Failed(Failure {
                    errno: error.raw_os_error().unwrap_or(libc::EPIPE),
                    ..Failure::new(FailureKind::NoStdin, "stdin")
                }),
            };
            self.peers.reply(asker, &reply, Vec::new());
        }
    }

    fn close_input(&mut self) -> Result<(), Failure> {
        if self.service.input.is_busy() {
            return Err(Failure::new(FailureKind::Busy, "stdin"));
        }
        if self.service.input.close() {
            Ok(())
        } else {
            Err(Failure::new(FailureKind::NoStdin, "stdin"))
        }
    }

    fn resize(&self, rows: u16, columns: u16) -> Result<(), Failure> {
        let input = &self.service.input;
        let Some(fd) = input.fd().filter(|_| input.is_terminal()) else {
            return Err(Failure::new(FailureKind::NoStdin, "pty"));
        };
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(fd, size).map_err(|error| Failure::os("pty", &error.into()))
    }

    /// Says what began and what ceased not to work.
    pub(super) fn tell_troubles(&mut self) {
        let now = [
            self.recorder
                .trouble()
                .map(|trouble| format!("state: {trouble}")),
            self.streams.trouble().map(|error| format!("log: {error}")),
        ];
        for (what, (told, now)) in ["state", "log"]
            .into_iter()
            .zip(self.told.iter_mut().zip(now))
        {
            if *told == now {
                continue;
            }
            let notice = match &now {
                Some(text) => {
                    let error = text
                        .split_once(": ")
                        .map_or("", |(_, error)| error)
                        .to_owned();
                    Notice::Trouble {
                        what: what.to_owned(),
                        error,
                    }
                }
                None => Notice::Healed {
                    what: what.to_owned(),
                },
            };
            self.peers.notify(&notice);
            *told = now;
        }
    }
}

/// Returns how many descriptors come with a request.
fn expected_fds(request: &Request) -> usize {
    match request {
        Request::Start(spec) => passed(spec),
        Request::Adopt(spec) => {
            1 + [spec.stdout, spec.stderr, spec.stdin]
                .into_iter()
                .filter(|set| *set)
                .count()
        }
        _ => 0,
    }
}

fn passed(spec: &StartSpec) -> usize {
    usize::from(spec.stdin == Stdin::Passed)
        + usize::from(spec.stdout == Output::Passed)
        + usize::from(spec.stderr == Output::Passed)
        + spec.listen.len()
        + usize::from(spec.extra_fd.is_some())
}
