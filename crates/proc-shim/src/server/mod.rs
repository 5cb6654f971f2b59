//! The shim itself: one thread, one `poll`, no wake-up while nothing happens.

mod args;
mod control;
mod exec;
mod follow;
mod input;
mod life;
mod lock;
mod log;
mod pace;
mod recorder;
mod respawn;
mod service;
mod start;
mod stop;
mod streams;
mod tree;

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::time::{Duration, Instant};

use proc_core::Identity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::args::Args;
use self::control::Peers;
use self::recorder::Recorder;
use self::service::Service;
use self::stop::Stopping;
use self::streams::Streams;
use crate::channel::Channel;
use crate::codec::encode_reply;
use crate::message::{Failure, Reply};
use crate::{client, socket, sys};

/// The exit code of a shim that could not begin.
const FAILED: i32 = 125;

/// Runs a shim: `proc-shim serve …`, or the same arguments after `proc __shim`. Returns the
/// process's exit code.
///
/// It takes over descriptor 3 as its control connection, ignores the signals that end programs,
/// and becomes a session leader and, where there is such a thing, child subreaper, so it must be
/// the only thing that its process does.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    serve(args.into_iter().collect())
}

fn serve(args: Vec<OsString>) -> i32 {
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
    let mut shim = match Shim::new(args) {
        Ok(shim) => shim,
        Err(error) => {
            refuse(&error);
            return FAILED;
        }
    };
    run(&mut shim)
}

/// Keeps a service until it and the shim are no longer needed.
///
/// Whatever is merged into this function, or into one that calls it, holds stack for as long as the shim waits: so
/// nothing is.
#[inline(never)]
fn run(shim: &mut Shim) -> i32 {
    loop {
        shim.settle();
        if shim.done {
            break;
        }
        match shim.wait() {
            Ok(ready) => shim.handle(&ready),
            // Out of memory, perhaps for a moment. The service is worth another attempt.
            Err(_) => std::thread::yield_now(),
        }
    }
    shim.leave();
    0
}

/// Tells the starter why there is no shim: as the answer to its greeting, which has id 1.
#[inline(never)]
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

/// After this long without an event, which is longer than the pause of a trickle, the shim gives back memory that it does not need to wait.
const QUIET: Duration = Duration::from_millis(500);

/// Everything a shim is.
#[derive(Debug)]
struct Shim {
    args: Args,
    children: OwnedFd,
    listener: OwnedFd,
    /// Held for life: no second shim for this instance.
    _lock: OwnedFd,
    /// Who this is, once somebody wanted to know.
    identity: OnceCell<Option<Identity>>,
    /// Whether there is a record of who keeps the instance.
    introduced: bool,
    /// What a service starts with that names none.
    umask: u32,
    peers: Peers,
    recorder: Recorder,
    streams: Streams,
    service: Service,
    stopping: Option<Box<Stopping>>,
    /// Troubles that the supervisor was told of.
    told: [Option<String>; 2],
    /// When memory is given back unless something happens; `None` once it was.
    quiet_until: Option<Instant>,
    done: bool,
    /// Whether nobody is left to whom its directory belongs.
    abandoned: bool,
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
    Straggler,
    CgroupEvents,
    Stopping,
}

impl Shim {
    #[inline(never)]
    fn new(args: Args) -> io::Result<Self> {
        sys::close_from(client::CONTROL_FD + 1);
        let children = sys::prepare_signals()?;
        if !args.keep_session {
            // It fails for a group leader, which is then already apart from its starter's group.
            let _already_leader = rustix::process::setsid();
        }
        if sys::ADOPTS_ORPHANS {
            sys::become_subreaper()?;
        }
        // Our own files are nobody else's; the service goes by the umask that we came with.
        let umask = rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&args.dir)?;
        let lock = lock::take(&args.dir)?;
        let listener = socket::bind_listener(&args.socket)?;
        let recorder = Recorder::new(args.dir.clone());
        let service = Service::from_records(&args.dir);
        Ok(Self {
            args,
            children,
            listener,
            _lock: lock,
            identity: OnceCell::new(),
            introduced: false,
            umask: sys::mode_number(umask),
            // Last, because until here `refuse` may need it.
            peers: Peers::new(sys::inherited(client::CONTROL_FD).ok())?,
            recorder,
            streams: Streams::default(),
            service,
            stopping: None,
            told: [None, None],
            quiet_until: None,
            done: false,
            abandoned: false,
        })
    }

    /// Ends what runs beside, and takes away what leads here.
    #[inline(never)]
    fn leave(&mut self) {
        self.streams.finish();
        self.recorder.sync();
        let _gone = fs::remove_file(&self.args.socket);
        let _gone = fs::remove_file(self.args.dir.join("shim"));
        if let Some(scratch) = self.args.scratch.as_ref().filter(|_| self.abandoned) {
            let _gone = fs::remove_dir_all(scratch);
        }
    }

    /// Does everything that is due and needs no descriptor, then tells what changed.
    #[inline(never)]
    fn settle(&mut self) {
        let now = Instant::now();
        self.advance_stop(now);
        self.advance_service(now);
        self.lose_supervisor();
        self.peers.flush();
        // Where the disk is waited for, that comes last: every answer is on its way.
        self.streams.keep_house(now);
        self.recorder.work(now);
        self.tell_troubles();
        self.peers.flush();
    }

    /// Waits for the next thing to happen.
    #[inline(never)]
    fn wait(&mut self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Children, self.children.as_fd(), PollFlags::IN),
            (Source::Listener, self.listener.as_fd(), PollFlags::IN),
        ];
        for (at, (fd, flags)) in self.peers.fds().enumerate() {
            sources.push((Source::Peer(at), fd, flags));
        }
        let now = Instant::now();
        for (at, fd) in self.streams.fds(now) {
            sources.push((Source::Output(at), fd, PollFlags::IN));
        }
        sources.extend(self.service.fds());
        let stopping = self.stopping.iter().flat_map(|stopping| stopping.fds());
        sources.extend(stopping.map(|fd| (Source::Stopping, fd, PollFlags::IN)));
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let quiet = self.quiet_until.is_some_and(|until| until <= now);
        let timeout = self.timeout(quiet, now);
        if quiet {
            sys::release_idle_memory();
        }
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
        let mut ready: Vec<_> = ready.filter(|(_, flags)| !flags.is_empty()).collect();
        let resumed = self.streams.resumed(now);
        ready.extend(resumed.map(|at| (Source::Output(at), PollFlags::IN)));
        if !ready.is_empty() {
            self.quiet_until = Some(Instant::now() + QUIET);
        } else if quiet {
            self.quiet_until = None;
        }
        Ok(ready)
    }

    fn timeout(&self, quiet: bool, now: Instant) -> Option<Duration> {
        let due = [
            self.stopping.as_ref().and_then(|stopping| stopping.due()),
            self.service.due(),
            self.streams.due(now),
            self.recorder.due(),
            self.quiet_until.filter(|_| !quiet),
        ];
        let first = due.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(now))
    }

    #[inline(never)]
    fn handle(&mut self, ready: &[(Source, PollFlags)]) {
        let mut outputs: Vec<usize> = ready
            .iter()
            .filter_map(|(source, _)| {
                if let Source::Output(at) = source {
                    Some(*at)
                } else {
                    None
                }
            })
            .collect();
        outputs.sort_unstable();
        self.streams.pump(&outputs);
        // Peers from the last to the first, because one that is gone is removed.
        for (source, _) in ready.iter().rev() {
            if let Source::Peer(at) = source {
                self.serve_peer(*at);
            }
        }
        for (source, _) in ready {
            match source {
                Source::Children | Source::Straggler => self.reap(),
                Source::Listener => self.peers.accept(&self.listener),
                Source::Report => self.read_report(),
                Source::Input => self.feed(),
                Source::Leader => self.leader_is_gone(),
                // Only a reason to look again, which `settle` does.
                Source::CgroupEvents => self.service.cgroup_changed(),
                Source::Peer(_) | Source::Output(_) | Source::Stopping => {}
            }
        }
        self.introduce();
    }

    /// Writes who keeps this instance, once, before the first answer that nothing is waited for with. While a program
    /// waits to begin, whoever looks for the shim finds it at its usual socket.
    fn introduce(&mut self) {
        if !self.introduced && self.service.starting.is_none() {
            self.put_shim(false);
        }
    }

    fn identity(&self) -> Option<&Identity> {
        let identity = self.identity.get_or_init(|| Identity::current().ok());
        identity.as_ref()
    }
}
