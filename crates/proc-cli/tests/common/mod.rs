//! A scratch project with the real `proc` on it. Nothing it started outlives it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A directory with a configuration and a state directory of its own.
pub(crate) struct TestProject {
    dir: tempfile::TempDir,
}

/// What a finished `proc` left: its code and what it wrote.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TestProject {
    /// Makes a project with this `proc.toml`.
    pub(crate) fn new(config: &str) -> TestProject {
        let project = TestProject::empty();
        project.write("proc.toml", config);
        project
    }

    /// Makes a project without a configuration.
    pub(crate) fn empty() -> TestProject {
        TestProject {
            dir: tempfile::Builder::new()
                .prefix("proc-cli-")
                .tempdir()
                .expect("temp dir"),
        }
    }

    /// Returns the project's directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the project's state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("write");
    }

    /// Returns a `proc` in this project that is yet to be run.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proc"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PROC_") || text.contains("COLOR") {
                command.env_remove(&name);
            }
        }
        command
            .arg("-C")
            .arg(self.path())
            .arg("--state-dir")
            .arg(self.state())
            .args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    pub(crate) fn proc(&self, args: &[&str]) -> Done {
        Done::from(self.command(args).output().expect("proc runs"))
    }

    /// Runs a verb that must end with code 0, and returns what it wrote to stdout.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let done = self.proc(args);
        assert_eq!(done.code, 0, "proc {args:?}: {done:?}");
        done.stdout
    }

    /// Starts a verb and leaves it running, its output captured.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("proc starts")
    }

    /// Returns `proc status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json"])).expect("status is JSON")
    }

    /// Returns one instance of `proc status --json`.
    #[track_caller]
    pub(crate) fn instance(&self, name: &str) -> Value {
        let status = self.status();
        let services = status["services"].as_array().expect("services").iter();
        let mut instances = services.flat_map(|s| s["instances"].as_array().expect("instances"));
        let found = instances.find(|instance| instance["name"] == name);
        found
            .unwrap_or_else(|| panic!("no `{name}` in {status}"))
            .clone()
    }

    /// Returns the pid of a running instance.
    #[track_caller]
    pub(crate) fn pid(&self, name: &str) -> u32 {
        let pid = self.instance(name)["pid"].as_u64().expect("a pid");
        u32::try_from(pid).expect("a pid fits")
    }

    /// Returns the processes that work in the project's directory.
    fn left_over(&self) -> Vec<String> {
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let here = std::fs::canonicalize(self.path()).expect("path");
        entries
            .filter(|entry| {
                std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&here))
            })
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for TestProject {
    fn drop(&mut self) {
        let down = self.state().exists().then(|| self.proc(&["down"]));
        let left = self.left_over();
        if !std::thread::panicking() {
            if let Some(down) = down {
                assert_eq!(down.code, 0, "the last `proc down`: {down:?}");
            }
            assert!(left.is_empty(), "processes outlived the test: {left:?}");
        }
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        Done {
            code: code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Returns an exit code as a shell shows it.
fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().expect("a code or a signal"))
}

/// Waits for a verb that was started with [`TestProject::spawn`].
pub(crate) fn wait(child: Child) -> Done {
    Done::from(child.wait_with_output().expect("proc ends"))
}

/// Sends a signal to a child that has not been waited for.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("the child is ours");
}
