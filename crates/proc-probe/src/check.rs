//! One check: look, judge, and say what was seen.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::command::Command;
use crate::connect::connect;
use crate::evidence::{Evidence, Verdict};
use crate::http;
use crate::probe::{Probe, ProbeKind};

/// Where the checks of a service happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeContext {
    /// The service's working directory, for commands and relative paths.
    pub cwd: PathBuf,
    /// The whole environment of a command; nothing is inherited.
    pub env: BTreeMap<OsString, OsString>,
}

impl Probe {
    /// Looks once and says what was seen, at the latest after [`Probe::timeout`].
    ///
    /// Log, delay and notification probes cannot be looked at: they fail with a reason that says
    /// what they wait for, until a [`ProbeTask`](crate::ProbeTask) is told otherwise.
    pub async fn check(&self, context: &ProbeContext) -> Evidence {
        let begin = Instant::now();
        let verdict = match &self.kind {
            ProbeKind::Exec(command) => exec(command, context, self.timeout).await,
            ProbeKind::File(path) => file(&context.cwd.join(path)),
            ProbeKind::Http(probe) => self.bounded(http::check(probe)).await,
            ProbeKind::Tcp(address) => {
                self.bounded(async {
                    match connect(address).await {
                        Ok(_stream) => Verdict::pass("connected"),
                        Err(error) => Verdict::fail(format!("cannot connect: {error}")),
                    }
                })
                .await
            }
            ProbeKind::Log(_) => Verdict::fail("no line has matched yet"),
            ProbeKind::Delay(_) => Verdict::fail("the delay has not passed yet"),
            ProbeKind::Notify => Verdict::fail("no READY=1 has come yet"),
            ProbeKind::NotifyFd(_) => Verdict::fail("no newline has come yet"),
        };
        verdict.into_evidence(self.kind.to_string(), begin.elapsed())
    }

    async fn bounded(&self, look: impl Future<Output = Verdict>) -> Verdict {
        match timeout(self.timeout, look).await {
            Ok(verdict) => verdict,
            Err(_elapsed) => timed_out(self.timeout),
        }
    }
}

pub(crate) fn timed_out(after: Duration) -> Verdict {
    Verdict::fail(format!("timed out after {after:?}"))
}

fn file(path: &Path) -> Verdict {
    match std::fs::metadata(path) {
        Ok(_) => Verdict::pass("exists"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Verdict::fail("does not exist"),
        Err(error) => Verdict::fail(format!("cannot look: {error}")),
    }
}

/// Runs a command line and takes code 0 as a pass; its whole tree is ended at the timeout.
pub(crate) async fn exec(command: &str, context: &ProbeContext, limit: Duration) -> Verdict {
    let command = Command {
        line: command,
        cwd: &context.cwd,
        env: &context.env,
    };
    match command.run(limit).await {
        Err(error) => Verdict::fail(error.to_string()),
        Ok(ended) => match ended.end {
            None => timed_out(limit).quoting_end(&ended.output),
            Some(end) if end.success() => Verdict::pass("exited with code 0"),
            Some(end) => Verdict::fail(end.to_string()).quoting_end(&ended.output),
        },
    }
}
