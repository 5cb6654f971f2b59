//! Children of the tests: this very test program, asked to run one of its ignored tests.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A child that is killed and reaped when dropped.
pub(crate) struct Helper {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Helper {
    /// Runs the ignored test `name` (with its module) of this program on `path`.
    pub(crate) fn run(name: &str, path: &std::path::Path) -> Self {
        let (_, name) = name
            .split_once("::")
            .expect("the program's name comes first");
        let mut child = Command::new(std::env::current_exe().expect("a test program"))
            .args([
                "--exact",
                name,
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("PROC_STORE_HELPER", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test program starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line that the helper says with [`say`]; `None` is its end.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("readable") == 0 {
                return None;
            }
            // The test harness writes `test NAME ... ` without a newline before us.
            if let Some((_, word)) = line.split_once("@@") {
                return Some(word.trim_end().to_owned());
            }
        }
    }

    /// Kills it with -9 and reaps it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Already reaped is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path that the parent gave, in a helper; `None` when somebody runs ignored tests by hand.
pub(crate) fn path() -> Option<std::path::PathBuf> {
    std::env::var_os("PROC_STORE_HELPER").map(Into::into)
}

/// Says a line to the parent.
#[expect(
    clippy::print_stdout,
    reason = "stdout is how a helper speaks to its parent"
)]
pub(crate) fn say(word: impl std::fmt::Display) {
    println!("@@{word}");
}

/// Blocks until the parent closes stdin or kills us.
pub(crate) fn stay() {
    let mut line = String::new();
    while std::io::stdin()
        .read_line(&mut line)
        .is_ok_and(|bytes| bytes > 0)
    {}
}
