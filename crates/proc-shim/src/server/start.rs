//! Starting a run: everything is prepared here, where an error can still be named.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use proc_core::{
    AttributeError, Attributes, Cgroup, Identity, ProcessEnd, ProcessHandle, Resource, SessionMode,
};
use proc_output::Stream;
use rustix::fs::{Mode, OFlags};

use super::exec::Plan;
use super::input::Input;
use super::recorder::Record;
use super::service::unix_ms;
use super::stop::Asker;
use super::streams::Streams;
use super::{Shim, exec};
use crate::message::{
    AdoptSpec, Failure, FailureKind, Notice, Output, Reply, Running, StartSpec, Stdin,
};
use crate::records::RunRecord;
use crate::sys::child::Embryo;
use crate::sys::{open_master, pipe};

/// The first number of a passed socket.
const LISTEN_FDS_START: RawFd = 3;

/// A run between fork and exec.
#[derive(Debug)]
pub(super) struct Starting {
    embryo: Embryo<Plan>,
    running: Running,
    handle: Option<ProcessHandle>,
    asker: Option<Asker>,
    /// Its end, if it was reaped before its report was read.
    pub(super) end: Option<ProcessEnd>,
}

impl Shim {
    /// Begins a run. The answer is sent when the program was executed, or was not.
    pub(super) fn start(
        &mut self,
        spec: StartSpec,
        fds: Vec<OwnedFd>,
        asker: Option<Asker>,
    ) -> Result<(), Failure> {
        if let Some(pid) = self.service.in_the_way(&self.tree()) {
            let value = pid.to_string();
            return Err(Failure {
                value,
                ..Failure::new(FailureKind::StillRunning, "start")
            });
        }
        let kept = spec.respawn.as_ref().map(|_| duplicate(&fds)).transpose();
        let kept = kept.map_err(|error| Failure::os("descriptor", &error))?;
        let begun = self.prepare(&spec, fds, asker);
        if let Err(failure) = begun {
            self.streams.abandon();
            self.service.input = Input::default();
            return Err(failure);
        }
        self.service.accept(spec, kept);
        Ok(())
    }

    fn prepare(
        &mut self,
        spec: &StartSpec,
        fds: Vec<OwnedFd>,
        asker: Option<Asker>,
    ) -> Result<(), Failure> {
        self.open_logs(&spec.log)?;
        let mut attributes = spec.attributes.clone();
        attributes.umask = attributes.umask.or(Some(self.umask));
        if spec.stdin == Stdin::Pty {
            // A controlling terminal needs a session of its own.
            attributes.session = SessionMode::Session;
        }
        let mut downgrades = Vec::new();
        self.service.cgroup = self.own_cgroup(&attributes, &mut downgrades)?;
        let attributes = attributes
            .resolve(self.service.cgroup.as_ref())
            .map_err(refused)?;
        downgrades.extend(attributes.downgrades().iter().map(ToString::to_string));
        let (child_fds, input) = wire(spec, fds, &mut self.streams)?;
        self.service.input = input;
        let run = self.service.last_run.max(spec.last_run) + 1;
        let embryo = Plan::new(spec, attributes)?.fork(child_fds)?;
        let pid = embryo.pid;
        self.service.last_run = run;
        let (identity, handle) = match known(pid) {
            Ok(known) => known,
            Err(failure) => {
                // It stands before the gate, which closes; it is reaped as every child.
                embryo.finish();
                return Err(failure);
            }
        };
        let running = Running {
            run,
            identity,
            pgid: pid,
            started_at: unix_ms(),
            downgrades,
        };
        self.put_run(&running, spec.detached, false);
        embryo.open_gate();
        let starting = Box::new(Starting {
            embryo,
            running,
            handle,
            asker,
            end: None,
        });
        self.service.begin(starting);
        Ok(())
    }

    fn open_logs(&mut self, options: &proc_output::LogOptions) -> Result<(), Failure> {
        self.streams
            .open(&self.args.log_dir, &self.args.instance, options)
            .map_err(|error| {
                let errno = std::error::Error::source(&error)
                    .and_then(|source| source.downcast_ref::<io::Error>())
                    .and_then(io::Error::raw_os_error)
                    .unwrap_or(0);
                let value = options
                    .dir
                    .as_deref()
                    .unwrap_or(&self.args.log_dir)
                    .display()
                    .to_string();
                Failure {
                    kind: FailureKind::Attribute,
                    what: "log".to_owned(),
                    value,
                    errno,
                }
            })
    }

    /// Makes the service's cgroup, where it asks for one and one can be made.
    fn own_cgroup(
        &self,
        attributes: &Attributes,
        downgrades: &mut Vec<String>,
    ) -> Result<Option<Cgroup>, Failure> {
        let Some(mut spec) = attributes.cgroup.clone() else {
            return Ok(None);
        };
        for limit in &attributes.limits {
            match limit.resource {
                Resource::Memory => spec.memory_max = spec.memory_max.or(limit.hard),
                Resource::Pids => spec.pids_max = spec.pids_max.or(limit.hard),
                _ => {}
            }
        }
        let made = match &self.service.cgroup {
            Some(cgroup) => Ok(cgroup.clone()),
            None => Cgroup::create(&format!(
                "proc-{}-{}",
                self.args.instance,
                std::process::id()
            )),
        };
        let cgroup = match made {
            Ok(cgroup) => cgroup,
            Err(error) => {
                downgrades.push(format!("cgroup: none of its own ({error})"));
                return Ok(None);
            }
        };
        let missing = cgroup.limit(&spec).map_err(refused)?;
        downgrades.extend(missing.iter().map(ToString::to_string));
        Ok(Some(cgroup))
    }

    /// Writes the record of a run.
    pub(super) fn put_run(&mut self, running: &Running, detached: bool, failed: bool) {
        let cgroup = self
            .service
            .cgroup
            .as_ref()
            .map(|cgroup| cgroup.path().to_owned());
        let record = RunRecord {
            running: running.clone(),
            cgroup,
            detached,
            failed,
        };
        self.recorder.put(Record::Run, record.encode());
    }

    /// Reads what the child reports: nothing and the end means that the program was executed.
    pub(super) fn read_report(&mut self) {
        let Some(starting) = &mut self.service.starting else {
            return;
        };
        if !starting.embryo.is_over() {
            return;
        }
        let Some(starting) = self.service.starting.take() else {
            return;
        };
        let Starting {
            embryo,
            running,
            handle,
            asker,
            end,
        } = *starting;
        let pid = embryo.pid;
        let (plan, message) = embryo.finish();
        if message.is_empty() {
            self.started(running, handle, asker, end);
            return;
        }
        if end.is_none() {
            exec::bury(pid);
        }
        self.not_started(&running, &plan.explain(&message), asker);
    }

    fn started(
        &mut self,
        mut running: Running,
        handle: Option<ProcessHandle>,
        asker: Option<Asker>,
        end: Option<ProcessEnd>,
    ) {
        running.pgid = pgid_of(running.identity.pid).unwrap_or(running.pgid);
        self.streams
            .mark(&format!("run {} pid {}", running.run, running.identity.pid));
        self.service.run_began(running.clone(), handle);
        match asker {
            Some(asker) => {
                let (set, fds) = self.hand_fds().unwrap_or_default();
                self.peers
                    .reply(asker, &Reply::Started { running, fds: set }, fds);
            }
            None => self.peers.notify(&Notice::Respawned(running)),
        }
        if end.is_some() {
            self.leader_over(end, None);
            self.reap();
        }
    }

    fn not_started(&mut self, running: &Running, failure: &Failure, asker: Option<Asker>) {
        self.put_run(running, false, true);
        self.streams.abandon();
        self.service.run_failed();
        match asker {
            Some(asker) => {
                let failure = Reply::Failed(failure.clone());
                self.peers.reply(asker, &failure, Vec::new());
            }
            // Nobody asked: what hindered it may pass.
            None => self.plan_respawn(None, Duration::ZERO),
        }
        self.reap();
    }

    /// Takes over a service whose shim is gone.
    pub(super) fn adopt(&mut self, spec: AdoptSpec, fds: Vec<OwnedFd>) -> Result<(), Failure> {
        if self.service.is_busy() {
            return Err(Failure::new(FailureKind::StillRunning, "adopt"));
        }
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| if wanted { fds.next() } else { None };
        let pidfd = next(true);
        let (stdout, stderr, stdin) = (next(spec.stdout), next(spec.stderr), next(spec.stdin));
        let handle = pidfd.and_then(|fd| ProcessHandle::from_fd_of(fd, &spec.identity).ok());
        self.open_logs(&spec.terms.log)?;
        let first = if spec.terms.log.merge {
            Stream::Merged
        } else {
            Stream::Stdout
        };
        for (fd, stream) in [(stdout, first), (stderr, Stream::Stderr)] {
            if let Some(fd) = fd {
                self.streams.add(fd, stream);
            }
        }
        self.service.input = stdin.map_or_else(Input::default, |fd| Input::open(fd, spec.pty));
        self.service.cgroup = spec
            .cgroup
            .as_ref()
            .and_then(|path| Cgroup::open(path).ok());
        let running = Running {
            run: spec.run,
            identity: spec.identity.clone(),
            pgid: spec.pgid,
            started_at: spec.started_at,
            downgrades: Vec::new(),
        };
        self.put_run(&running, spec.terms.detached, false);
        self.put_shim(true);
        let gone = handle.is_none();
        self.service.take_over(spec, running, handle);
        if gone {
            self.leader_over(None, Some("it ended while no shim was there".to_owned()));
        }
        Ok(())
    }
}

fn refused(error: AttributeError) -> Failure {
    Failure {
        kind: FailureKind::Attribute,
        errno: error.errno().unwrap_or(libc::ENOENT),
        what: error.attribute,
        value: error.value,
    }
}

/// Makes the descriptors for both sides: those of the child by number, and our ends in `streams`
/// and the returned input.
fn wire(
    spec: &StartSpec,
    fds: Vec<OwnedFd>,
    streams: &mut Streams,
) -> Result<(Vec<(OwnedFd, RawFd)>, Input), Failure> {
    let os = |what| move |error: io::Error| Failure::os(what, &error);
    let mut passed = fds.into_iter();
    let mut next = || {
        passed
            .next()
            .ok_or_else(|| Failure::new(FailureKind::Malformed, "descriptor"))
    };
    let mut child = Vec::new();
    let mut input = Input::default();
    if spec.stdin == Stdin::Pty {
        let (master, slave) = terminal().map_err(os("pty"))?;
        for number in 0..3 {
            child.push((slave.try_clone().map_err(os("pty"))?, number));
        }
        streams.add(master.try_clone().map_err(os("pty"))?, Stream::Stdout);
        input = Input::open(master, true);
    } else {
        let stdin = match spec.stdin {
            Stdin::Passed => next()?,
            Stdin::Pipe => {
                let (read, write) = pipe().map_err(os("pipe"))?;
                rustix::io::ioctl_fionbio(&write, true)
                    .map_err(|error| Failure::os("pipe", &error.into()))?;
                input = Input::open(write, false);
                read
            }
            Stdin::Null | Stdin::Pty => null().map_err(os("/dev/null"))?,
        };
        child.push((stdin, 0));
        let (mut stdout, mut stderr) = (None, None);
        if spec.stdout == Output::Passed {
            stdout = Some(next()?);
        }
        if spec.stderr == Output::Passed {
            stderr = Some(next()?);
        }
        let merged = spec.log.merge && spec.stdout == Output::Log && spec.stderr == Output::Log;
        let stdout = match stdout {
            Some(fd) => fd,
            None => output(
                spec,
                spec.stdout,
                if merged {
                    Stream::Merged
                } else {
                    Stream::Stdout
                },
                streams,
            )?,
        };
        let stderr = match stderr {
            Some(fd) => fd,
            None if merged => stdout.try_clone().map_err(os("pipe"))?,
            None => output(spec, spec.stderr, Stream::Stderr, streams)?,
        };
        child.push((stdout, 1));
        child.push((stderr, 2));
    }
    for number in (LISTEN_FDS_START..).take(spec.listen.len()) {
        child.push((next()?, number));
    }
    if let Some(number) = spec.extra_fd {
        let taken = child.iter().any(|(_, other)| *other == number);
        if taken || !(LISTEN_FDS_START..1024).contains(&number) {
            let value = number.to_string();
            return Err(Failure {
                value,
                errno: libc::EBADF,
                ..Failure::new(FailureKind::Attribute, "notify_fd")
            });
        }
        child.push((next()?, number));
    }
    Ok((child, input))
}

fn output(
    spec: &StartSpec,
    wanted: Output,
    stream: Stream,
    streams: &mut Streams,
) -> Result<OwnedFd, Failure> {
    let os = |what| move |error: io::Error| Failure::os(what, &error);
    match wanted {
        Output::Null | Output::Passed => null().map_err(os("/dev/null")),
        Output::Log if spec.log.direct => streams.direct(stream).map_err(os("log")),
        Output::Log => {
            let (read, write) = pipe().map_err(os("pipe"))?;
            streams.add(read, stream);
            Ok(write)
        }
    }
}

fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Returns both sides of a new pseudo-terminal; ours does not block.
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pty::{grantpt, ptsname, unlockpt};
    let master = open_master()?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(
        name,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master, slave))
}

pub(super) fn duplicate(fds: &[OwnedFd]) -> io::Result<Vec<OwnedFd>> {
    fds.iter().map(OwnedFd::try_clone).collect()
}

/// Returns who a child of ours is, not reaped yet, and the handle on it where the kernel has such.
fn known(pid: u32) -> Result<(Identity, Option<ProcessHandle>), Failure> {
    if let Ok(handle) = ProcessHandle::of(pid) {
        return Ok((handle.identity().clone(), Some(handle)));
    }
    let identity = Identity::of(pid).map_err(|error| Failure {
        value: error.to_string(),
        ..Failure::new(FailureKind::Os, "identity")
    })?;
    Ok((identity, None))
}

fn pgid_of(pid: u32) -> Option<u32> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    let pgid = rustix::process::getpgid(Some(pid)).ok()?;
    u32::try_from(pgid.as_raw_nonzero().get()).ok()
}

impl Starting {
    pub(super) fn pid(&self) -> u32 {
        self.embryo.pid
    }

    pub(super) fn report(&self) -> BorrowedFd<'_> {
        self.embryo.report()
    }

    pub(super) fn handle(&self) -> Option<&ProcessHandle> {
        self.handle.as_ref()
    }
}
