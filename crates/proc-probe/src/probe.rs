//! What a probe is: plain data, as a config names it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::{Address, HttpUrl};
use crate::pattern::Pattern;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProbeKind {
    /// An HTTP GET with conditions on the answer.
    Http(HttpProbe),
    /// A connection that is accepted.
    Tcp(Address),
    /// A command, run by `/bin/sh -c`, that ends with code 0.
    Exec(String),
    /// A line of the service's output that matches; the caller feeds the lines.
    Log(Pattern),
    /// A file that exists; relative to the service's directory.
    File(PathBuf),
    /// A time that has passed since the start.
    Delay(Duration),
    /// `READY=1` on the notification socket; the caller reports it.
    Notify,
    /// A newline on this descriptor of the service; the caller reports it.
    NotifyFd(i32),
}

/// An HTTP GET and what its answer must look like; every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// What to ask for.
    pub url: HttpUrl,
    /// The status the answer must have; `None` takes any from 200 to 399.
    #[serde(default)]
    pub status: Option<u16>,
    /// Headers the answer must have, names in any case, and what their values must match.
    #[serde(default)]
    pub header: BTreeMap<String, Pattern>,
    /// What the body, its first 1 MiB, must match.
    #[serde(default)]
    pub body: Option<Pattern>,
    /// Headers to send, `Host` among them if it is to differ from the URL's.
    #[serde(default)]
    pub send: BTreeMap<String, String>,
}

impl HttpProbe {
    /// Returns a probe of `url` with no condition but a status from 200 to 399.
    #[must_use]
    pub fn new(url: HttpUrl) -> Self {
        let (header, send) = (BTreeMap::new(), BTreeMap::new());
        HttpProbe {
            url,
            status: None,
            header,
            body: None,
            send,
        }
    }
}

/// What the answers of a probe decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whether the service is ready: it may become so, and lose it, many times.
    Ready,
    /// Whether the service is alive: a failure is final, and a reason to end it.
    Alive,
    /// Whether the service has started: success is final, and the other probes begin.
    Startup,
}

impl Role {
    /// Returns the number of failures in a row that count when a config names none: 3, but 0
    /// (never) for [`Role::Startup`], which the service's start timeout bounds.
    #[must_use]
    pub fn default_failures(self) -> u32 {
        match self {
            Role::Ready | Role::Alive => 3,
            Role::Startup => 0,
        }
    }

    /// Returns the pause between two checks when a config names none: 1 s, but 10 s for
    /// [`Role::Alive`].
    #[must_use]
    pub fn default_interval(self) -> Duration {
        match self {
            Role::Ready | Role::Startup => Duration::from_secs(1),
            Role::Alive => Duration::from_secs(10),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Ready => "ready",
            Role::Alive => "alive",
            Role::Startup => "startup",
        })
    }
}

/// What is looked at, how often, and how many answers in a row count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What is looked at.
    pub kind: ProbeKind,
    /// The pause between the end of one check and the start of the next.
    pub interval: Duration,
    /// How long one check may take; the tree of a command is ended then. Never zero.
    pub timeout: Duration,
    /// How many successes in a row make it true; at least 1.
    pub successes: u32,
    /// How many failures in a row make it false; 0 is never.
    pub failures: u32,
    /// The pause before the first check.
    pub initial_delay: Duration,
}

impl Probe {
    /// Returns a probe for `role` with every default: a timeout of 1 s, one success, and the
    /// interval and failures of the role.
    #[must_use]
    pub fn new(role: Role, kind: ProbeKind) -> Self {
        Probe {
            kind,
            interval: role.default_interval(),
            timeout: Duration::from_secs(1),
            successes: 1,
            failures: role.default_failures(),
            initial_delay: Duration::ZERO,
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeKind::Http(http) => write!(f, "http {}", http.url),
            ProbeKind::Tcp(address) => write!(f, "tcp {address}"),
            ProbeKind::Exec(command) => write!(f, "exec {}", command.escape_debug()),
            ProbeKind::Log(pattern) => write!(f, "log /{}/", pattern.as_str().escape_debug()),
            ProbeKind::File(path) => write!(f, "file {}", path.display()),
            ProbeKind::Delay(delay) => write!(f, "delay {delay:?}"),
            ProbeKind::Notify => f.write_str("notify socket"),
            ProbeKind::NotifyFd(fd) => write!(f, "notify_fd {fd}"),
        }
    }
}
