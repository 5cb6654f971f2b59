//! A project in a directory of its own, driven by the real `proc`, taken down when the test ends.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;
use tempfile::TempDir;

use crate::bin;

/// A scratch directory with a configuration, a state directory and the environment its verbs see.
pub struct Project {
    dir: TempDir,
    files: Vec<PathBuf>,
    env: Vec<(String, String)>,
}

/// What a verb answered.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; 128+n when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Project {
    /// Makes an empty scratch directory; other users may pass through it, as services of theirs must.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("proc-test-")
            .tempdir()
            .expect("a temp dir can be made");
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(dir.path(), open).expect("our own directory takes a mode");
        Self {
            dir,
            files: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Makes a project whose `proc.toml` is `config`.
    pub fn with(config: &str) -> Self {
        let project = Self::new();
        project.write("proc.toml", config);
        project
    }

    /// Returns the scratch directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the project's state directory.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Writes a file below the scratch directory and returns its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a parent"))
            .expect("directories can be made");
        std::fs::write(&path, text).expect("the scratch directory is writable");
        path
    }

    /// Makes a named pipe below the scratch directory and returns its path.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("the scratch directory is writable");
        path
    }

    /// Adds `-f FILE` to every verb.
    pub fn file(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.files.push(path.into());
        self
    }

    /// Sets an environment variable for every verb.
    pub fn env(&mut self, key: &str, value: impl ToString) -> &mut Self {
        self.env.push((key.to_owned(), value.to_string()));
        self
    }

    /// Prepares `proc` for this project: scrubbed environment, its own state directory, no stdin.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(bin("proc"));
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("NO_COLOR", "1");
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env("PATH", path)
            .envs(self.env.iter().map(|(k, v)| (k, v)));
        command.arg("--state-dir").arg(self.state());
        for file in &self.files {
            command.arg("-f").arg(file);
        }
        command
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        self.command(args)
            .output()
            .expect("proc can be started")
            .into()
    }

    /// Runs a verb that must succeed and returns its output.
    ///
    /// # Panics
    /// When it ends with another code than 0.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr> + std::fmt::Debug>(&self, args: &[S]) -> String {
        let outcome = self.run(args);
        assert_eq!(
            outcome.code, 0,
            "proc {args:?}: {}\n{}",
            outcome.stderr, outcome.stdout
        );
        outcome.stdout
    }

    /// Returns `status --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json"]))
            .expect("status prints one JSON document")
    }

    /// Returns every event in the journal.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let lines = self.ok(&["events", "--json"]);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("an event is a JSON line"))
            .collect()
    }

    /// Returns the number of the newest event, 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.events()
            .last()
            .and_then(|event| event["seq"].as_u64())
            .unwrap_or(0)
    }

    /// Returns one instance's part of `status --json`.
    #[track_caller]
    pub fn instance(&self, name: &str) -> Value {
        let status = self.status();
        let services = status["services"].as_array().into_iter().flatten();
        let mut instances = services.flat_map(|s| s["instances"].as_array().into_iter().flatten());
        let found = instances.find(|i| i["name"] == name).cloned();
        found.unwrap_or_else(|| panic!("no instance `{name}` in {status:#}"))
    }

    /// Returns the pid of a running instance.
    #[track_caller]
    pub fn pid(&self, name: &str) -> i32 {
        let pid = self.instance(name)["pid"]
            .as_i64()
            .expect("a running instance has a pid");
        i32::try_from(pid).expect("a pid fits")
    }
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let down = self.run(&["down"]);
        if !std::thread::panicking() {
            // 4: nothing was ever started.
            assert!(
                matches!(down.code, 0 | 4),
                "a test left something behind: {}",
                down.stderr
            );
            assert_eq!(self.left_behind(), Vec::<String>::new(), "still running");
        }
    }
}

impl Project {
    /// Returns the services of this project that still run, whoever keeps or has lost them.
    fn left_behind(&self) -> Vec<String> {
        let home = [b"HOME=", self.dir.path().as_os_str().as_bytes()].concat();
        let service = b"PROC_SERVICE=";
        let is_ours = |environment: &[u8]| {
            let variables = || environment.split(|byte| *byte == 0);
            variables().any(|variable| variable == home)
                && variables().any(|variable| variable.starts_with(service))
        };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter(|process| {
                std::fs::read(process.path().join("environ")).is_ok_and(|text| is_ours(&text))
            })
            .filter_map(|process| {
                let command = std::fs::read(process.path().join("cmdline")).ok()?;
                let command = String::from_utf8_lossy(&command).replace('\0', " ");
                Some(format!("{} {command}", process.file_name().display()))
            })
            .collect()
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let status = output.status;
        Self {
            code: status
                .code()
                .or(status.signal().map(|n| 128 + n))
                .expect("a process ends by code or signal"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Tells whether a process with this number lives and is no zombie.
pub fn alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next());
    !matches!(state, Some("Z" | "X") | None)
}
