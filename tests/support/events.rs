//! The event stream as a test waits for it.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::Project;

/// A running `proc events -f`.
pub struct Events {
    follow: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Events {
    /// Follows what comes after event `since`.
    pub fn after(project: &Project, since: u64) -> Self {
        let mut command =
            project.command(&["events", "--json", "-f", "--since", &since.to_string()]);
        let mut follow = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("proc can be started");
        let lines = BufReader::new(follow.stdout.take().expect("stdout is a pipe")).lines();
        Self { follow, lines }
    }
}

impl Iterator for Events {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.ok()?;
        Some(serde_json::from_str(&line).expect("an event is a JSON line"))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Fails only when it already ended, which is as good.
        _ = self.follow.kill();
        _ = self.follow.wait();
    }
}
