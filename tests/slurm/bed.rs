//! A real Slurm for one test, and the backend on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use proc_backends::{
    Backend as _, BackendEvent, BackendEventKind, BackendEvents, Exit, InstanceSpec, SlurmBackend,
    SlurmOptions, StdinMode,
};
use proc_core::{Attributes, StopSequence};
use proc_output::LogOptions;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster of two nodes, taken down at the end.
pub(crate) struct Bed(TempDir);

impl Bed {
    /// Brings it up with nodes of two CPUs; `None`, loudly, where that is not possible.
    pub(crate) fn up() -> Option<Self> {
        Self::with_cpus(2)
    }

    /// Brings it up with nodes that pretend to have so many CPUs.
    pub(crate) fn with_cpus(cpus: u32) -> Option<Self> {
        let mut builder = tempfile::Builder::new();
        let bed = Self(
            builder
                .prefix("proc-bed-")
                .tempdir()
                .expect("a temp dir can be made"),
        );
        let ports = free_ports();
        let mut up = bed.script("up");
        up.args(ports.map(|port| port.to_string()));
        let up = up.env("NODE_CPUS", cpus.to_string()).output();
        let up = up.expect("bash can be run");
        if up.status.success() {
            return Some(bed);
        }
        let why = String::from_utf8_lossy(&up.stderr).trim().to_owned();
        let skip = up.status.code() == Some(77) && std::env::var_os("CI").is_none();
        assert!(skip, "no Slurm: {why}");
        eprintln!("SKIPPED: no Slurm can be brought up here: {why}");
        None
    }

    fn script(&self, verb: &str) -> Command {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/slurm/testbed.sh");
        let mut command = Command::new("bash");
        command.arg(script).arg(verb).arg(self.0.path());
        command.stdin(Stdio::null());
        command
    }

    /// Kills a daemon with everything that it started: of `slurmd-n1`, the sudden loss of that node.
    pub(crate) fn kill(&self, daemon: &str) {
        let killed = self.script("kill").arg(daemon).status();
        assert!(killed.expect("bash can be run").success(), "{daemon}");
    }

    /// Starts a daemon that was killed.
    pub(crate) fn start(&self, daemon: &str) {
        let started = self.script("start").arg(daemon).status();
        assert!(started.expect("bash can be run").success(), "{daemon}");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let conf = self.path("slurm.conf").display().to_string();
        [("PATH".to_owned(), path), ("SLURM_CONF".to_owned(), conf)].into()
    }

    pub(crate) fn options(&self) -> SlurmOptions {
        SlurmOptions {
            // The question is not how patient a test is.
            busy: Duration::from_millis(300),
            settled: Duration::from_secs(1),
            ..SlurmOptions::new(self.path("state"), self.env())
        }
    }

    pub(crate) fn backend(&self) -> (SlurmBackend, BackendEvents) {
        let backend = SlurmBackend::new(self.options());
        let events = backend.events().expect("nobody took them yet");
        (backend, events)
    }

    /// Runs one of Slurm's own programs.
    pub(crate) fn slurm(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(self.env());
        command
            .stdin(Stdio::null())
            .output()
            .expect("it can be run")
    }

    /// Returns what squeue says of all jobs that are not over.
    pub(crate) fn queue(&self) -> String {
        let output = self.slurm("squeue", &["--noheader", "--format=%i %T %N"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Asks squeue until nothing is left; each question is a process of its own, so this does not spin.
    #[track_caller]
    pub(crate) fn until_empty(&self) {
        let begun = Instant::now();
        while !self.queue().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "left: {}", self.queue());
        }
    }

    /// Waits until the controller has written down what it knows of a job, which it does seconds after a change.
    #[track_caller]
    pub(crate) fn until_saved(&self, job: u32) {
        let (begun, now) = (Instant::now(), std::time::SystemTime::now());
        let update = ["update", &format!("JobId={job}"), "Comment=saved"];
        assert!(self.slurm("scontrol", &update).status.success());
        let saved = || {
            self.path("ctl/job_state")
                .metadata()
                .and_then(|meta| meta.modified())
        };
        while saved().map_or(true, |at| at < now) {
            assert!(
                begun.elapsed() < PATIENCE,
                "the controller does not save its state"
            );
            self.queue();
        }
    }

    pub(crate) fn log(&self, instance: &str) -> String {
        let path = self.path("state/log").join(format!("{instance}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let down = self.script("down").status();
        if !std::thread::panicking() {
            assert!(
                down.is_ok_and(|status| status.success()),
                "it did not go down"
            );
        }
    }
}

/// Picks three loopback ports that are free now, all held until the last is known.
fn free_ports() -> [u16; 3] {
    let listen = || std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has ports");
    let held = [listen(), listen(), listen()];
    held.map(|held| held.local_addr().expect("it is bound").port())
}

pub(crate) fn spec(dir: &Path, instance: &str, script: &str) -> InstanceSpec {
    InstanceSpec {
        project: "shop".into(),
        service: instance.into(),
        instance: instance.into(),
        index: 1,
        argv: ["sh", "-c", script].map(Into::into).into(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: dir.to_owned(),
        attributes: Attributes::default(),
        stdin: StdinMode::Null,
        log: LogOptions {
            merge: true,
            ..LogOptions::default()
        },
        listen: Vec::new(),
        notify_fd: None,
        detached: false,
        die_with_supervisor: false,
        stop: StopSequence::default(),
        last_run: 0,
        foreign: Vec::new(),
    }
}

/// Waits for the next event, within [`PATIENCE`].
pub(crate) async fn event(events: &mut BackendEvents) -> BackendEvent {
    let next = tokio::time::timeout(PATIENCE, events.next()).await;
    next.expect("an event comes in time")
        .expect("the backend lives")
}

/// Waits for an exit; whatever comes before it is returned with it.
pub(crate) async fn exit(events: &mut BackendEvents) -> (Exit, Vec<BackendEventKind>) {
    let mut before = Vec::new();
    loop {
        match event(events).await.kind {
            BackendEventKind::Exited(exit) => return (exit, before),
            other => before.push(other),
        }
    }
}
