//! A real systemd user manager for one test, and the backend on it.

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
}

impl Bed {
    /// Brings a manager up; `None`, loudly, where that is not possible.
    pub(crate) fn up() -> Option<Self> {
        let dir = tempfile::Builder::new()
            .prefix("proc-bed-")
            .tempdir()
            .expect("a temp dir can be made");
        let up = script("up", dir.path()).output().expect("bash can be run");
        if up.status.success() {
            return Some(Self {
                dir: dir.path().to_owned(),
                owned: Some(dir),
            });
        }
        let why = String::from_utf8_lossy(&up.stderr).trim().to_owned();
        let skip = up.status.code() == Some(77) && std::env::var_os("CI").is_none();
        assert!(skip, "no systemd user manager: {why}");
        eprintln!("SKIPPED: no systemd user manager can be brought up here: {why}");
        None
    }

    /// Uses the manager that another process brought up.
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { dir, owned: None }
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
            journalctl: self.path("bin/journalctl").display().to_string(),
            ..SystemctlOptions::new(self.path("state"), self.env())
        }
    }

    pub(crate) fn backend(&self) -> (SystemctlBackend, BackendEvents) {
        let backend = SystemctlBackend::new(self.options());
        let events = backend.events().expect("nobody took them yet");
        (backend, events)
    }

    /// Writes units that exist without us.
    pub(crate) fn units(&self, units: &[(&str, &str)]) {
        for (name, text) in units {
            let path = self.path("config/systemd/user").join(name);
            std::fs::write(path, text).expect("the bed is writable");
        }
        assert_eq!(self.systemctl(&["daemon-reload"]), 0);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("systemctl");
        command
            .arg("--user")
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
        let mut command = Command::new(self.path("bin/journalctl"));
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
        let Some(dir) = &self.owned else { return };
        let down = script("down", dir.path()).status();
        if !std::thread::panicking() {
            assert!(
                down.is_ok_and(|status| status.success()),
                "the testbed did not go down"
            );
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
    let mut pairs: Vec<(String, String)> = vec![("scope".into(), "user".into())];
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
