//! A shim of one's own in a temporary directory, and what tests ask of it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each suite uses its part; a test may panic"
)]

use std::ffi::OsString;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_core::{Child, Identity, StopReport, StopSequence};
use proc_shim::{
    Client, Exited, Failure, FdSet, LaunchOptions, Notice, Reply, Request, Role, Running,
    ShimProcess, ShimProgram, Snapshot, StartSpec,
};
use tempfile::TempDir;

/// Where the shim of `web` keeps what, below a directory.
pub(crate) fn options(home: &Path) -> LaunchOptions {
    LaunchOptions {
        instance: "web".to_owned(),
        dir: home.join("instances/web"),
        socket: home.join("web.sock"),
        log_dir: home.join("log"),
        keep_session: false,
        scratch: None,
    }
}

/// Far longer than anything takes; a test that needs it has failed.
pub(crate) const LONG: Option<Duration> = Some(Duration::from_secs(60));

pub(crate) struct Shim {
    pub(crate) home: TempDir,
    pub(crate) child: Child,
    pub(crate) client: Option<Client>,
    pub(crate) options: LaunchOptions,
}

impl Shim {
    pub(crate) fn new() -> Self {
        Self::named("web", &PathBuf::new())
    }

    /// Starts a shim; `below` lengthens its socket's path.
    pub(crate) fn named(instance: &str, below: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let sockets = home.path().join(below);
        std::fs::create_dir_all(&sockets).unwrap();
        let options = LaunchOptions {
            instance: instance.to_owned(),
            dir: home.path().join("instances").join(instance),
            socket: sockets.join(format!("{instance}.sock")),
            ..options(home.path())
        };
        Self::launch(home, options)
    }

    /// Starts another shim in the place of one that is gone.
    pub(crate) fn launch(home: TempDir, options: LaunchOptions) -> Self {
        let process = ShimProcess::launch(&program(), &options).unwrap();
        let mut shim = Self {
            home,
            child: process.child,
            client: Some(Client::new(process.socket)),
            options,
        };
        shim.hello();
        shim
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        self.client.as_mut().unwrap()
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Reply {
        self.client().call(request, Vec::new(), LONG).unwrap().0
    }

    pub(crate) fn hello(&mut self) -> Snapshot {
        match self.ask(&Request::Hello {
            role: Role::Controller,
        }) {
            Reply::Snapshot(snapshot) => *snapshot,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn status(&mut self) -> Snapshot {
        match self.ask(&Request::Status) {
            Reply::Snapshot(snapshot) => *snapshot,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn start(&mut self, spec: StartSpec) -> Running {
        self.start_fds(spec, Vec::new()).0
    }

    pub(crate) fn start_fds(
        &mut self,
        spec: StartSpec,
        fds: Vec<OwnedFd>,
    ) -> (Running, FdSet, Vec<OwnedFd>) {
        match self
            .client()
            .call(&Request::Start(Box::new(spec)), fds, LONG)
            .unwrap()
        {
            (Reply::Started { running, fds }, handed) => (running, fds, handed),
            (other, _) => panic!("{other:?}"),
        }
    }

    pub(crate) fn start_fails(&mut self, spec: StartSpec) -> Failure {
        match self.ask(&Request::Start(Box::new(spec))) {
            Reply::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stop(&mut self, steps: &str) -> StopReport {
        let sequence: StopSequence = steps.parse().unwrap();
        match self.ask(&Request::Stop {
            sequence,
            tier: None,
            group: false,
        }) {
            Reply::Stopped(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn exited(&mut self) -> Exited {
        loop {
            if let Notice::Exited(exited) = self.client().notice(LONG).unwrap() {
                return exited;
            }
        }
    }

    pub(crate) fn tree_empty(&mut self) -> u64 {
        loop {
            if let Notice::TreeEmpty { run } = self.client().notice(LONG).unwrap() {
                return run;
            }
        }
    }

    /// The supervisor dies.
    pub(crate) fn disconnect(&mut self) {
        self.client = None;
    }

    /// The next supervisor comes.
    pub(crate) fn reconnect(&mut self) -> Snapshot {
        self.client = Some(Client::connect(&self.options.socket).unwrap());
        self.hello()
    }

    pub(crate) fn log(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.options.log_dir.join(file)).unwrap_or_default()
    }
}

impl Drop for Shim {
    /// Nothing outlives a test: the tree is killed, then the shim ends.
    fn drop(&mut self) {
        if self.client.is_none() {
            self.client = Client::connect(&self.options.socket).ok();
        }
        if let Some(client) = &mut self.client {
            let bound = Some(Duration::from_secs(20));
            let _gone = client.call(
                &Request::Hello {
                    role: Role::Controller,
                },
                Vec::new(),
                bound,
            );
            let kill = Request::Stop {
                sequence: StopSequence::kill(),
                tier: None,
                group: false,
            };
            let _gone = client.call(&kill, Vec::new(), bound);
            let _gone = client.call(&Request::Exit, Vec::new(), bound);
        }
        let _gone = self.child.signal(proc_core::Signal::KILL);
        let _reaped = self.child.wait();
    }
}

pub(crate) fn program() -> ShimProgram {
    ShimProgram::at(env!("CARGO_BIN_EXE_proc-shim"))
}

/// A run of a shell script.
pub(crate) fn sh(script: &str) -> StartSpec {
    command(&["/bin/sh", "-c", script])
}

pub(crate) fn command(argv: &[&str]) -> StartSpec {
    StartSpec {
        argv: argv.iter().map(OsString::from).collect(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: "/".into(),
        ..StartSpec::default()
    }
}

/// Waits until a process is gone, whoever reaps it.
pub(crate) fn wait_gone(identity: &Identity) {
    if let Ok(handle) = identity.open() {
        assert!(handle.wait(LONG).unwrap(), "pid {} lives on", identity.pid);
    }
}

/// Waits for the one line that a process writes to a FIFO of the test.
pub(crate) fn read_fifo(path: &Path) -> String {
    let mut text = String::new();
    std::fs::File::open(path)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

pub(crate) fn make_fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}
