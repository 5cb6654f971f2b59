//! Runs the command line program of a service manager: bounded in time and size, never prompting.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use proc_core::{Child, ProcessEnd, Signal, Spawn, SpawnError, Stdio};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use crate::manager::ManagerError;

/// The most bytes that are read of an answer.
const MOST: u64 = 8 << 20;

/// How long output may come after the program has ended: somebody else has the pipe then.
const AFTER_EXIT: Duration = Duration::from_millis(500);

/// A program with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) timeout: Duration,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A child that does not outlive whoever started it, and is always reaped.
#[derive(Debug)]
pub(crate) struct Owned(Option<Child>);

impl Owned {
    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it is taken in `drop` only")
    }

    pub(crate) fn kill(&self) {
        if let Some(child) = &self.0 {
            let _gone_already = child.handle().signal_group(Signal::KILL);
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
        if let Some(child) = self.0.take()
            && !matches!(child.try_wait(), Ok(Some(_)))
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let _reaped = child.exited().await;
            });
        }
    }
}

impl Call {
    /// Returns the program and its verb, for messages.
    pub(crate) fn name(&self) -> String {
        let program = self.program.rsplit('/').next().unwrap_or(&self.program);
        let verb = self.args.iter().find(|arg| !arg.starts_with('-'));
        verb.map_or_else(|| program.to_owned(), |verb| format!("{program} {verb}"))
    }

    /// Starts it with its output in pipes.
    pub(crate) fn start(&self, stdin: Stdio) -> Result<Owned, ManagerError> {
        let spawned = Spawn::new(&self.program)
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .env("LC_ALL", "C")
            .env("SYSTEMD_COLORS", "0")
            .env("SYSTEMD_PAGER", "")
            // ssh(1) must never ask at a terminal.
            .env("SSH_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(stdin)
            .stdout(Stdio::Pipe)
            .stderr(Stdio::Pipe)
            .spawn();
        match spawned {
            Ok(child) => Ok(Owned(Some(child))),
            Err(SpawnError::NotFound { program, .. }) => Err(ManagerError::NoProgram { program }),
            Err(error) => Err(ManagerError::Program {
                program: self.program.clone(),
                source: io::Error::other(error),
            }),
        }
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self) -> Result<Answer, ManagerError> {
        let mut owned = self.start(Stdio::Null)?;
        match tokio::time::timeout(self.timeout, collect(owned.child())).await {
            Ok(answer) => answer.map_err(|source| ManagerError::Program {
                program: self.program.clone(),
                source,
            }),
            Err(_) => Err(ManagerError::TimedOut {
                command: self.name(),
                after: self.timeout,
            }),
        }
    }
}

async fn collect(child: &mut Child) -> io::Result<Answer> {
    let stdout = reader(child.take_stdout());
    let stderr = reader(child.take_stderr());
    let reading = async { tokio::join!(stdout, stderr) };
    tokio::pin!(reading);
    let (mut read, mut end) = (None, None);
    while end.is_none() {
        tokio::select! {
            both = &mut reading, if read.is_none() => read = Some(both),
            ended = child.exited() => end = Some(ended?),
        }
    }
    let (stdout, stderr) = match read {
        Some(both) => both,
        None => tokio::time::timeout(AFTER_EXIT, reading)
            .await
            .unwrap_or_else(|_| (Ok(Vec::new()), Ok(Vec::new()))),
    };
    Ok(Answer {
        code: end.map_or(-1, ProcessEnd::shell_code),
        stdout: stdout?,
        stderr: String::from_utf8_lossy(&stderr?).into_owned(),
    })
}

async fn reader(pipe: Option<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let pipe = Receiver::from_owned_fd(pipe)?;
        pipe.take(MOST).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> Call {
        Call {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::new(),
            timeout,
        }
    }

    #[tokio::test]
    async fn an_answer_has_both_streams_and_the_code() {
        let call = sh("echo out; echo err >&2; exit 5", Duration::from_secs(30));
        let answer = call.run().await.unwrap();
        assert_eq!(
            (answer.code, &*answer.stdout, &*answer.stderr),
            (5, &b"out\n"[..], "err\n")
        );
    }

    #[tokio::test]
    async fn a_hanging_program_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let script = format!(
            "exec 9<>'{0}'; sleep 1000 & echo up >&9; sleep 1000",
            fifo.display()
        );
        let error = sh(&script, Duration::from_millis(300))
            .run()
            .await
            .unwrap_err();
        assert!(matches!(error, ManagerError::TimedOut { .. }), "{error}");
        // All holders of the FIFO are gone: a reader sees the end of the file.
        let read = tokio::task::spawn_blocking(move || {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&fifo)
                .unwrap();
            drop(file);
        });
        read.await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let call = Call {
            program: "/nonexistent/systemctl".into(),
            ..sh("", Duration::from_secs(1))
        };
        let error = call.run().await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/systemctl"));
    }
}
