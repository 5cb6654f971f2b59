//! The shim itself: one thread, one `poll`, no wake-up while nothing happens.

mod args;
mod control;
mod exec;
mod input;
mod life;
mod log;
mod recorder;
mod start;
mod stop;
mod streams;
mod tree;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::time::{Duration, Instant};

use proc_core::Identity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::args::Args;
use self::control::Peers;
use self::life::Service;
use self::recorder::{Record, Recorder};
use self::stop::Stopping;
use self::streams::Streams;
use crate::channel::Channel;
use crate::codec::encode_reply;
use crate::message::{Failure, Reply};
use crate::records::ShimRecord;
use crate::{client, socket, sys};

/// The exit code of a shim that could not begin.
const FAILED: i32 = 125;

/// Runs a shim: `proc-shim serve …`, or the same arguments after `proc __shim`. Returns the
/// process's exit code.
///
/// It takes over descriptor 3 as its control connection, ignores the signals that end programs,
/// and becomes a session leader and child subreaper, so it must be the only thing that its
/// process does.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let args = match Args::parse(args) {
        Ok(args) => args,
        Err(error) => {
            let _nobody_reads = rustix::io::write(
                rustix::stdio::stderr(),
                format!("error: {error}\n").as_bytes(),
            );
            return 2;
        }
    };
    match Shim::new(args) {
        Ok(mut shim) => shim.run(),
        Err(error) => {
            refuse(&error);
            FAILED
        }
    }
}

/// Tells the starter why there is no shim: as the answer to its greeting, which has id 1.
fn refuse(error: &io::Error) {
    let Ok(control) = sys::inherited(client::CONTROL_FD) else {
        return;
    };
    let value = error.to_string();
    let failure = Failure {
        value,
        ..Failure::os("shim", error)
    };
    let mut channel = Channel::new();
    let frame = encode_reply(client::FIRST_ID, &Reply::Failed(failure));
    let _nobody_listens = channel
        .queue(&frame, Vec::new())
        .and_then(|()| channel.flush(&control));
}

/// Everything a shim is.
#[derive(Debug)]
struct Shim {
    args: Args,
    children: OwnedFd,
    listener: OwnedFd,
    /// Held for life: no second shim for this instance.
    _lock: File,
    identity: Option<Identity>,
    /// What a service starts with that names none.
    umask: u32,
    peers: Peers,
    recorder: Recorder,
    streams: Streams,
    service: Service,
    stopping: Option<Stopping>,
    /// Troubles that the supervisor was told of.
    told: [Option<String>; 2],
    done: bool,
}

/// What a polled descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Children,
    Listener,
    Peer(usize),
    Output(usize),
    Report,
    Input,
    Leader,
    CgroupEvents,
    Stopping,
}

impl Shim {
    fn new(args: Args) -> io::Result<Self> {
        sys::close_from(client::CONTROL_FD + 1);
        let children = sys::prepare_signals()?;
        if !args.keep_session {
            // It fails for a group leader, which is then already apart from its starter's group.
            let _already_leader = rustix::process::setsid();
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        // Our own files are nobody else's; the service goes by the umask that we came with.
        let umask = rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&args.dir)?;
        let lock = File::create(args.dir.join("shim.lock"))?;
        lock.try_lock()
            .map_err(|_| io::Error::new(io::ErrorKind::AddrInUse, "this instance has a shim"))?;
        let listener = socket::bind_listener(&args.socket)?;
        let identity = Identity::current().ok();
        let mut recorder = Recorder::new(args.dir.clone());
        let service = Service::from_records(&args.dir);
        if let Some(identity) = &identity {
            let record = ShimRecord {
                identity: identity.clone(),
                socket: args.socket.clone(),
                replacement: false,
            };
            recorder.put(Record::Shim, record.encode());
        }
        Ok(Self {
            args,
            children,
            listener,
            _lock: lock,
            identity,
            umask: umask.as_raw_mode(),
            // Last, because until here `refuse` may need it.
            peers: Peers::new(sys::inherited(client::CONTROL_FD).ok())?,
            recorder,
            streams: Streams::default(),
            service,
            stopping: None,
            told: [None, None],
            done: false,
        })
    }

    fn run(&mut self) -> i32 {
        loop {
            self.settle();
            if self.done {
                break;
            }
            match self.wait() {
                Ok(ready) => self.handle(&ready),
                // Out of memory, perhaps for a moment. The service is worth another attempt.
                Err(_) => std::thread::yield_now(),
            }
        }
        self.streams.finish();
        let _gone = fs::remove_file(&self.args.socket);
        let _gone = fs::remove_file(self.args.dir.join("shim"));
        0
    }

    /// Does everything that is due and needs no descriptor, then tells what changed.
    fn settle(&mut self) {
        let now = Instant::now();
        self.advance_stop(now);
        self.advance_service(now);
        if self.streams.due().is_some_and(|at| at <= now) {
            self.streams.housekeep();
        }
        self.lose_supervisor();
        self.peers.flush();
        // Waiting for the disk comes last, when every answer is on its way.
        self.recorder.work(now);
        self.tell_troubles();
        self.peers.flush();
    }

    /// Waits for the next thing to happen.
    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Children, self.children.as_fd(), PollFlags::IN),
            (Source::Listener, self.listener.as_fd(), PollFlags::IN),
        ];
        for (at, (fd, flags)) in self.peers.fds().enumerate() {
            sources.push((Source::Peer(at), fd, flags));
        }
        for (at, fd) in self.streams.fds().enumerate() {
            sources.push((Source::Output(at), fd, PollFlags::IN));
        }
        sources.extend(self.service.fds());
        let stopping = self.stopping.iter().flat_map(Stopping::fds);
        sources.extend(stopping.map(|fd| (Source::Stopping, fd, PollFlags::IN)));
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let timeout = self.timeout();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = sources
            .iter()
            .zip(&fds)
            .map(|((source, ..), fd)| (*source, fd.revents()));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn timeout(&self) -> Option<Duration> {
        let due = [
            self.stopping.as_ref().and_then(Stopping::due),
            self.service.due(),
            self.streams.due(),
            self.recorder.due(),
        ];
        let first = due.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    fn handle(&mut self, ready: &[(Source, PollFlags)]) {
        let outputs: Vec<usize> = ready
            .iter()
            .filter_map(|(source, _)| {
                if let Source::Output(at) = source {
                    Some(*at)
                } else {
                    None
                }
            })
            .collect();
        self.streams.pump(&outputs);
        // Peers from the last to the first, because one that is gone is removed.
        for (source, _) in ready.iter().rev() {
            if let Source::Peer(at) = source {
                self.serve_peer(*at);
            }
        }
        for (source, _) in ready {
            match source {
                Source::Children => self.reap(),
                Source::Listener => self.peers.accept(&self.listener),
                Source::Report => self.read_report(),
                Source::Input => self.feed(),
                Source::Leader => self.leader_is_gone(),
                // Only a reason to look again, which `settle` does.
                Source::CgroupEvents => self.service.cgroup_changed(),
                Source::Peer(_) | Source::Output(_) | Source::Stopping => {}
            }
        }
    }
}
