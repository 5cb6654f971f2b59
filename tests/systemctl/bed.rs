//! A real systemd manager for one test, a user's or a machine's, and the backend on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proc_backends::{
    Backend as _, BackendEvent, BackendEventKind, BackendEvents, Exit, InstanceSpec, Started,
    StdinMode, SystemctlBackend, SystemctlOptions, UnitFacts,
};
use proc_core::{Attributes, StopSequence};
use proc_output::LogOptions;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A manager with its directories, taken down at the end.
pub(crate) struct Bed {
    dir: PathBuf,
    /// Whoever brought it up takes it down.
    owned: Option<TempDir>,
    /// The machine's manager instead of the user's: this process is inside its namespaces.
    machine: bool,
}

/// Names the bed whose machine this process is in.
const INSIDE: &str = "PROC_TEST_MACHINE";

/// A machine of its own: systemd as PID 1 of new namespaces. Tests are run inside.
pub(crate) struct Machine(TempDir);

impl Machine {
    /// Boots it; `None`, loudly, where that is not possible.
    pub(crate) fn up() -> Option<Self> {
        let dir = scratch();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/systemctl/testbed-system.sh");
        let mut command = Command::new("bash");
        let programs = std::env::current_exe().expect("a running program has a path");
        let programs = programs.parent().expect("it lies in a directory");
        command.arg(script).arg(dir.path()).stdin(Stdio::null());
        command.env("TESTBED_BIND", programs);
        came_up(&command.output().expect("bash can be run"), "machine").then_some(Self(dir))
    }

    /// Returns a path in its directory, which it shares.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs one test of this program inside.
    #[track_caller]
    pub(crate) fn test(&self, name: &str) {
        let mut command = Command::new(self.path("bin/enter"));
        command
            .arg(std::env::current_exe().expect("a running program has a path"))
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, self.0.path())
            .stdin(Stdio::null());
        let output = command.output().expect("the machine can be entered");
        let text = String::from_utf8_lossy(&output.stdout);
        let ran = output.status.success() && text.contains("1 passed");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(ran, "{name} on the machine's manager:\n{text}\n{err}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        take_down(self.0.path());
    }
}

fn scratch() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let dir = builder.prefix("proc-bed-").tempdir();
    dir.expect("a temp dir can be made")
}

/// Says whether it came up; a skip is loud, and of a user's manager a failure in CI.
fn came_up(up: &std::process::Output, what: &str) -> bool {
    if up.status.success() {
        return true;
    }
    let why = String::from_utf8_lossy(&up.stderr).trim().to_owned();
    // A machine within needs more than a user's manager does, also where the suites must run.
    let lenient = what == "machine" || std::env::var_os("CI").is_none();
    let skip = up.status.code() == Some(77) && lenient;
    assert!(skip, "no systemd {what}: {why}");
    eprintln!("SKIPPED: no systemd {what} can be brought up here: {why}");
    false
}

fn take_down(dir: &Path) {
    let down = script("down", dir).status();
    if !std::thread::panicking() {
        assert!(
            down.is_ok_and(|status| status.success()),
            "the testbed did not go down"
        );
    }
}

impl Bed {
    /// Brings a manager up; `None`, loudly, where that is not possible.
    pub(crate) fn up() -> Option<Self> {
        if let Some(dir) = std::env::var_os(INSIDE) {
            let bed = Self::at(dir.into());
            for dir in ["run", "home", "state"] {
                std::fs::create_dir_all(bed.path(dir)).expect("the bed is writable");
            }
            return Some(bed);
        }
        let dir = scratch();
        let up = script("up", dir.path()).output().expect("bash can be run");
        came_up(&up, "user manager").then(|| Self {
            dir: dir.path().to_owned(),
            owned: Some(dir),
            machine: false,
        })
    }

    /// Uses the manager that another process brought up.
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self {
            dir,
            owned: None,
            machine: std::env::var_os(INSIDE).is_some(),
        }
    }

    /// Returns a path in the bed.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let at = |name: &str| self.path(name).display().to_string();
        [
            ("PATH".to_owned(), path),
            ("XDG_RUNTIME_DIR".to_owned(), at("run")),
            ("XDG_CONFIG_HOME".to_owned(), at("config")),
            ("XDG_DATA_HOME".to_owned(), at("data")),
            ("HOME".to_owned(), at("home")),
        ]
        .into()
    }

    pub(crate) fn options(&self) -> SystemctlOptions {
        SystemctlOptions {
            journalctl: self.journalctl(),
            ..SystemctlOptions::new(self.path("state"), self.env())
        }
    }

    fn journalctl(&self) -> String {
        match self.machine {
            true => "journalctl".to_owned(),
            false => self.path("bin/journalctl").display().to_string(),
        }
    }

    /// Returns where a unit that exists is written.
    pub(crate) fn unit_file(&self, name: &str) -> PathBuf {
        let dir = if self.machine {
            "units"
        } else {
            "config/systemd/user"
        };
        self.path(dir).join(name)
    }

    /// Returns where a generated unit is written.
    pub(crate) fn own_unit(&self, name: &str) -> PathBuf {
        let dir = if self.machine {
            "units"
        } else {
            "run/systemd/user"
        };
        self.path(dir).join(name)
    }

    pub(crate) fn backend(&self) -> (SystemctlBackend, BackendEvents) {
        let backend = SystemctlBackend::new(self.options());
        let events = backend.events().expect("nobody took them yet");
        (backend, events)
    }

    /// Writes units that exist without us; `@RUN@` in them is a directory that the test sees.
    pub(crate) fn units(&self, units: &[(&str, &str)]) {
        for (name, text) in units {
            let text = text.replace("@RUN@", &self.path("run").display().to_string());
            std::fs::write(self.unit_file(name), text).expect("the bed is writable");
        }
        assert_eq!(self.systemctl(&["daemon-reload"]), 0);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("systemctl");
        command
            .arg(if self.machine { "--system" } else { "--user" })
            .args(args)
            .env_clear()
            .envs(self.env());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn systemctl(&self, args: &[&str]) -> i32 {
        let status = self.command(args).status().expect("systemctl can be run");
        status.code().unwrap_or(-1)
    }

    pub(crate) fn output(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("systemctl can be run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn facts(&self, unit: &str) -> UnitFacts {
        let shown = self.output(&["show", "--timestamp=us+utc", unit]);
        UnitFacts::parse(shown.as_bytes()).expect("systemctl show answers")
    }

    /// Returns the journal's lines of a unit of ours, for messages.
    pub(crate) fn journal(&self, unit: &str) -> String {
        let mut command = Command::new(self.journalctl());
        command
            .arg("-ojson")
            .arg(format!("SYSLOG_IDENTIFIER={unit}"));
        let output = command.output().expect("journalctl can be run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Asks until it holds; each question is a process of its own, so this does not spin.
    #[track_caller]
    pub(crate) fn until(&self, unit: &str, what: impl Fn(&UnitFacts) -> bool) -> UnitFacts {
        let begun = Instant::now();
        loop {
            let facts = self.facts(unit);
            if what(&facts) {
                return facts;
            }
            assert!(begun.elapsed() < PATIENCE, "it never came about: {facts:?}");
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(dir) = &self.owned {
            take_down(dir.path());
        }
    }
}

fn script(verb: &str, dir: &Path) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/systemctl/testbed.sh");
    let mut command = Command::new("bash");
    command.arg(script).arg(verb).arg(dir).stdin(Stdio::null());
    command
}

/// A spec of a unit of ours; without arguments, for a unit that exists.
pub(crate) fn spec(
    bed: &Bed,
    instance: &str,
    argv: &[&str],
    foreign: &[(&str, &str)],
) -> InstanceSpec {
    let mut pairs: Vec<(String, String)> = vec![(
        "scope".into(),
        if bed.machine { "system" } else { "user" }.into(),
    )];
    pairs.extend(
        foreign
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    InstanceSpec {
        project: "shop".into(),
        service: instance.into(),
        instance: instance.into(),
        index: 1,
        argv: argv.iter().map(Into::into).collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: bed.path("home"),
        attributes: Attributes::default(),
        stdin: StdinMode::Null,
        log: LogOptions::default(),
        listen: Vec::new(),
        notify_fd: None,
        detached: false,
        die_with_supervisor: false,
        stop: StopSequence::default(),
        last_run: 0,
        foreign: pairs,
    }
}

/// A spec of a unit that exists.
pub(crate) fn foreign(bed: &Bed, instance: &str, unit: &str) -> InstanceSpec {
    spec(bed, instance, &[], &[("unit", unit)])
}

/// Waits for the next event that counts, each within [`PATIENCE`].
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

/// Waits until the unit was restarted behind our back.
pub(crate) async fn recovered(events: &mut BackendEvents) -> Started {
    loop {
        if let BackendEventKind::Recovered { started } = event(events).await.kind {
            return started;
        }
    }
}
