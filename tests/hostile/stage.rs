//! A shim of our own, as a user and with the means of a tier, and the programs that run in it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proc_core::{
    Cgroup, CgroupSpec, Child, Mechanism, ProcessHandle, Signal, StopReport, StopSequence, list,
};
use proc_shim::{
    Client, LaunchOptions, Reply, Request, Role, Running, ShimProcess, ShimProgram, StartSpec,
};
use proc_tests::{bin, is_root};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

/// Far longer than anything takes; a test that needs it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// `nobody`.
pub(crate) const NOBODY: u32 = 65534;

/// Who the shim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Nobody,
}

/// One shim, in which programs run one after the other.
pub(crate) struct Stage {
    home: TempDir,
    shim: Child,
    client: Client,
    tier: Mechanism,
    delegated: Option<Cgroup>,
}

impl Stage {
    /// Starts a shim; `None`, said aloud, where this machine or our user has not what the tier needs.
    #[expect(clippy::print_stderr, reason = "a skip is said aloud")]
    pub(crate) fn new(user: User, tier: Mechanism) -> Option<Self> {
        if user == User::Root && !is_root() {
            eprintln!("SKIP {tier} as root: we are not");
            return None;
        }
        let as_other = user == User::Nobody && is_root();
        let home = tempfile::Builder::new()
            .prefix("proc-hostile-")
            .tempdir()
            .expect("a temp dir can be made");
        let program = install(&home, "proc-shim", 0o755);
        install(&home, "hostile-program", 0o755);
        if as_other {
            // Root's, with the set-user-id bit: for an unprivileged shim a child out of its reach.
            let copy = install(&home, "hostile-program-of-root", 0o4755);
            assert!(copy.exists());
            chown(home.path(), Some(NOBODY), Some(NOBODY)).expect("we are root");
        }
        let mut delegated = None;
        if tier == Mechanism::Cgroup {
            match Cgroup::create(&format!("proc-hostile-{}", std::process::id())) {
                Ok(cgroup) => delegated = Some(cgroup),
                Err(error) => {
                    eprintln!("SKIP {tier} as {user:?}: no writable cgroup2 ({error})");
                    return None;
                }
            }
        }
        let program = launcher(&program, as_other, delegated.as_ref());
        let options = LaunchOptions {
            instance: "web".to_owned(),
            dir: home.path().join("instance"),
            socket: home.path().join("web.sock"),
            log_dir: home.path().join("log"),
            keep_session: false,
            scratch: None,
        };
        let process = ShimProcess::launch(&program, &options).expect("the shim starts");
        let mut stage = Self {
            home,
            shim: process.child,
            client: Client::new(process.socket),
            tier,
            delegated,
        };
        let role = Role::Controller;
        match stage.ask(&Request::Hello { role }) {
            Reply::Snapshot(_) => Some(stage),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn shim_pid(&self) -> u32 {
        self.shim.pid()
    }

    /// Returns the set-user-id copy of the programs, where there is one.
    pub(crate) fn copy_of_root(&self) -> Option<PathBuf> {
        let copy = self.home.path().join("hostile-program-of-root");
        copy.exists().then_some(copy)
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Reply {
        let answer = self.client.call(request, Vec::new(), Some(LONG));
        answer.expect("the shim answers").0
    }

    /// Starts a program and waits until so many of its processes say that they are there.
    pub(crate) fn start(&mut self, words: &[&str], ready: usize) -> (Running, Witness) {
        let (pipe, theirs) = rustix::pipe::pipe_with(
            rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK,
        )
        .expect("descriptors are left");
        let program = self.home.path().join("hostile-program");
        let mut spec = StartSpec {
            argv: vec![program.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/".into(),
            extra_fd: Some(9),
            ..StartSpec::default()
        };
        spec.argv.extend(words.iter().map(Into::into));
        if self.tier == Mechanism::Cgroup {
            spec.attributes.cgroup = Some(CgroupSpec::default());
        }
        let request = Request::Start(Box::new(spec));
        let answer = self.client.call(&request, vec![theirs], Some(LONG));
        let (Reply::Started { running, .. }, _) = answer.as_ref().expect("the shim answers") else {
            panic!("{words:?}: {answer:?}");
        };
        let mut witness = Witness(File::from(pipe));
        witness.ready(ready, words);
        (running.clone(), witness)
    }

    /// Stops what runs, by this stage's tier.
    pub(crate) fn stop(&mut self, steps: &str) -> StopReport {
        let tier = self.tier;
        self.stop_by(steps, tier)
    }

    pub(crate) fn stop_by(&mut self, steps: &str, tier: Mechanism) -> StopReport {
        let sequence: StopSequence = steps.parse().expect("a sequence");
        let tier = Some(tier);
        match self.ask(&Request::Stop {
            sequence,
            tier,
            group: false,
        }) {
            Reply::Stopped(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Lists who is alive below the shim: it adopts whoever loses its parent, so nobody can be elsewhere.
    pub(crate) fn alive(&self) -> BTreeSet<u32> {
        let all = list::descendants(self.shim_pid()).expect("the shim lives");
        let dead = |state| matches!(state, list::State::Zombie | list::State::Dead);
        let alive = all.iter().filter(|info| !dead(info.state));
        alive.map(|info| info.pid).collect()
    }

    /// Ends what a best effort has left, by other means, as the one who runs this test.
    pub(crate) fn clear(&mut self, witness: &mut Witness) {
        for pid in self.alive() {
            if let Ok(handle) = ProcessHandle::of(pid) {
                let _gone = handle.signal(Signal::KILL);
            }
        }
        self.stop_by("KILL", Mechanism::Subreaper);
        assert!(
            witness.nobody_left(LONG),
            "{:?} cannot be ended",
            self.alive()
        );
    }
}

impl Drop for Stage {
    /// Nothing outlives a test, also when it fails.
    fn drop(&mut self) {
        let sequence = StopSequence::kill();
        let tier = Some(Mechanism::Subreaper);
        let bound = Some(Duration::from_secs(20));
        for request in [
            Request::Stop {
                sequence,
                tier,
                group: false,
            },
            Request::Exit,
        ] {
            let _gone = self.client.call(&request, Vec::new(), bound);
        }
        let _gone = self.shim.signal(Signal::KILL);
        let _reaped = self.shim.wait();
        if let Some(cgroup) = &self.delegated {
            let _gone = cgroup.kill();
            let _busy = cgroup.remove();
        }
    }
}

/// Copies a built binary to where every user may run it; `NAME-of-root` is a copy of `NAME`.
fn install(home: &TempDir, name: &str, mode: u32) -> PathBuf {
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(home.path(), open).expect("our own directory takes a mode");
    let path = home.path().join(name);
    let built = bin(name.strip_suffix("-of-root").unwrap_or(name));
    fs::copy(built, &path).expect("the temp dir is writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        .expect("our own file takes a mode");
    path
}

/// The shim, after it was moved to its cgroup and became its user.
fn launcher(shim: &Path, as_other: bool, delegated: Option<&Cgroup>) -> ShimProgram {
    let mut script = String::new();
    if let Some(cgroup) = delegated {
        let path = cgroup.path();
        if as_other {
            // What cgroups(7) calls delegation.
            for file in [
                "",
                "cgroup.procs",
                "cgroup.subtree_control",
                "cgroup.threads",
            ] {
                chown(path.join(file), Some(NOBODY), Some(NOBODY)).expect("we are root");
            }
        }
        script = format!("echo 0 > '{}' && ", path.join("cgroup.procs").display());
    }
    script.push_str("exec ");
    if as_other {
        script.push_str(&format!(
            "setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "
        ));
    }
    script.push_str(r#""$@""#);
    let mut program = ShimProgram::at("/bin/sh");
    program.args = ["-c", &script, "sh"].map(Into::into).to_vec();
    program.args.push(shim.into());
    program
}

/// The reading end of the pipe whose writing end every process of the tree holds.
pub(crate) struct Witness(File);

impl Witness {
    fn ready(&mut self, mut members: usize, words: &[&str]) {
        let deadline = Instant::now() + LONG;
        let mut bytes = [0; 4096];
        while members > 0 {
            assert!(self.readable(deadline), "{words:?}: {members} are missing");
            let most = members.min(bytes.len());
            match self.0.read(&mut bytes[..most]) {
                Ok(0) => panic!("{words:?}: all have ended, {members} were missing"),
                Ok(read) => members -= read,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    }

    /// Says whether everybody is gone, waiting for that at most a while.
    pub(crate) fn nobody_left(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.readable(deadline) {
            match self.0.read(&mut [0; 4096]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
        false
    }

    fn readable(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a short time");
        let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(ready) => ready > 0,
            Err(rustix::io::Errno::INTR) => true,
            Err(error) => panic!("{error}"),
        }
    }
}
