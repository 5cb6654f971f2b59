//! What the supervisor says to the service manager that runs it: `sd_notify(3)`, the other end.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The variables by which a service manager talks to its service: no service of ours gets them.
const ITS_OWN: [&str; 5] = [
    "NOTIFY_SOCKET",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "MANAGERPID",
];

/// Whether a variable is between a service manager and its service.
pub(crate) fn is_between(name: &str) -> bool {
    ITS_OWN.contains(&name) || name.starts_with("WATCHDOG_") || name.starts_with("LISTEN_")
}

/// The service manager; nobody, where there is none.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that we live.
    pub(crate) watchdog: Option<Duration>,
}

impl Manager {
    /// Returns the one that the environment names.
    pub(crate) fn of_environment() -> Manager {
        let variable = |name: &str| std::env::var(name).ok();
        let for_us =
            variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").and_then(|micros| micros.parse().ok());
        Manager {
            socket: variable("NOTIFY_SOCKET").and_then(|name| connect(&name)),
            watchdog: micros
                .filter(|micros| for_us && *micros > 0)
                .map(|micros| Duration::from_micros(micros) / 2),
        }
    }

    /// Says something; whoever does not listen misses it.
    fn say(&self, text: &str) {
        if let Some((socket, to)) = &self.socket
            && let Err(error) = socket.send_to_addr(text.as_bytes(), to)
        {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }

    /// Says that the project has settled.
    pub(crate) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// Says what is going on.
    pub(crate) fn status(&self, status: &str) {
        self.say(&format!("STATUS={status}"));
    }

    /// Says that the configuration is being read again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Says that it ends.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Says that the supervisor lives.
    pub(crate) fn alive(&self) {
        self.say("WATCHDOG=1");
    }
}

fn connect(name: &str) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => crate::sys::abstract_address(name),
        None if name.starts_with('/') => SocketAddr::from_pathname(name),
        None => return None,
    };
    Some((UnixDatagram::unbound().ok()?, address.ok()?))
}
